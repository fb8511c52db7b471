"""What clients of every door see of each fault: nothing where a copy lives, and never a gap of which nobody speaks.

`make faults` does the same for longer, together with the faults that other system tests bring about.
"""

from collections.abc import Iterator

import pytest

from tests.system.chaos import scenarios
from tests.system.chaos.ground import Fault, Ground, cluster_ground

SECONDS = 2.0
FAULTS = (
    scenarios.BOTH_KILLED,
    scenarios.INGESTOR_FROZEN,
    scenarios.BUS_FROZEN,
    scenarios.DROPPED,
    scenarios.SILENT,
    scenarios.STALLED,
    scenarios.REFUSED,
    scenarios.SUCCESSORS_REFUSED,
    scenarios.CLOCKS_APART_AND_REPLICA_KILLED,
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground(tmp_path_factory.mktemp("faults")) as ground:
        yield ground


def undergo(ground: Ground, fault: Fault) -> None:
    verdict = ground.undergo(fault, SECONDS)
    assert verdict.failures == [], verdict.line


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_client_misses_or_doubles_a_message_unannounced(ground: Ground, fault: Fault) -> None:
    undergo(ground, fault)


def test_a_restart_of_nats_costs_no_message(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Ground(tmp_path_factory.mktemp("nats"), bus="nats") as ground:
        undergo(ground, scenarios.BUS_RESTARTED)


def test_a_redis_cluster_s_lost_node_costs_no_message(tmp_path_factory: pytest.TempPathFactory) -> None:
    with cluster_ground(tmp_path_factory.mktemp("cluster") / "faults") as ground:
        undergo(ground, scenarios.NODE_LOST)
