"""What clients of every door see of each fault: nothing where a copy lives, and never a gap of which nobody speaks.

`make chaos` does the same with every fault, at random times and for longer.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bus.redis_cluster import cluster_of
from tests.system.chaos.faults import fault_of, node_lost
from tests.system.chaos.ground import Fault, Ground
from tests.system.chaos.links import Trouble
from tests.system.chaos.plan import Step, Upstream, What, Whole

SECONDS = 2.0
STEPS = (
    Step(What.FREEZE, "ingestor1", SECONDS),
    Step(What.LINK, "ingestors", SECONDS, Trouble.BLACKHOLE),
    Step(What.EXCHANGE, "exchange", SECONDS, Upstream.DROP),
    Step(What.CLUSTER, "cluster", SECONDS, Whole.FEEDLESS),
)
RARER = (
    Step(What.CLUSTER, "cluster", SECONDS, Whole.AHEAD),
    Step(What.FREEZE, "bus", SECONDS),
    Step(What.EXCHANGE, "exchange", SECONDS, Upstream.SILENCE),
    Step(What.EXCHANGE, "exchange", SECONDS, Upstream.STALL),
    Step(What.EXCHANGE, "exchange", SECONDS, Upstream.TOO_MANY),
    Step(What.EXCHANGE, "exchange", SECONDS, Upstream.NO_SUCCESSORS),
)
# The ground starts when the first of its tests does.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with Ground(tmp_path_factory.mktemp("chaos")) as ground:
        yield ground


async def undergo(ground: Ground, fault: Fault) -> None:
    verdict = await ground.undergo(fault)
    slow = [failure for failure in verdict.failures if "back after" in failure]
    # How fast clients return is for `make chaos` to say: this machine may be doing anything.
    assert [*verdict.failures, *verdict.losses] == slow, verdict.line


@pytest.mark.parametrize(
    "step", [*STEPS, *(pytest.param(step, marks=pytest.mark.long) for step in RARER)], ids=lambda step: step.name
)
async def test_no_client_misses_or_doubles_a_message_unannounced(ground: Ground, step: Step) -> None:
    await undergo(ground, fault_of(step))


@pytest.mark.long
async def test_a_restart_of_nats_costs_no_message(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with Ground(tmp_path_factory.mktemp("nats"), bus="nats") as ground:
        await undergo(ground, fault_of(Step(What.KILL, "bus", SECONDS)))


@pytest.mark.long
async def test_a_redis_cluster_s_lost_node_costs_no_message(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("redis-cluster")
    async with (
        cluster_of(directory) as nodes,
        Ground(directory / "ground", bus_url=nodes.url, nodes=nodes.nodes) as ground,
    ):
        await undergo(ground, node_lost(SECONDS))
