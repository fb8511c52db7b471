"""Ingestors as processes that come, go, die and stand still: no trade is lost, and only what must moves."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ingestor.fleet import Fleet
from tests.support.processes import Process, free_port, tickcast


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Process]:
    env = {"SIM_SYMBOLS": "10", "SIM_TRADES_PER_SECOND": "20"}
    with tickcast("exchange", free_port(), tmp_path, env) as process:
        yield process


@pytest.fixture(params=[2])
def copies(request: pytest.FixtureRequest) -> int:
    """How many ingestors carry each group."""
    return int(request.param)


@pytest.fixture(params=["redis"])
def bus_url(request: pytest.FixtureRequest) -> str:
    """Where a real bus of the test's own is."""
    server: Process = request.getfixturevalue(request.param)
    return f"{request.param}://127.0.0.1:{server.port}"


@pytest.fixture
async def fleet(bus_url: str, exchange: Process, tmp_path: Path, copies: int) -> AsyncIterator[Fleet]:
    """A far end that wants its trades, and no ingestor yet."""
    async with Fleet(tmp_path, bus_url, exchange, copies) as made:
        await made.want_trades()
        yield made


@pytest.mark.parametrize("bus_url", ["redis", pytest.param("nats", marks=pytest.mark.long)], indirect=True)
async def test_a_killed_one_loses_nothing_and_only_its_groups_move(fleet: Fleet) -> None:
    await fleet.start("one", "two", "three")
    before = await fleet.agree(copies=2)
    await fleet.flows()
    fleet.watch()
    assert await fleet.most_copies() == 2
    await fleet.kill("one")
    after = await fleet.agree(copies=2)
    for name in ("two", "three"):
        assert after[name] >= before[name]
        assert after[name] - before[name] <= before["one"]
    await fleet.flows()
    assert (fleet.missing(), fleet.unserved) == ({}, set())
    await fleet.start("one")  # and takes no more than it had
    assert (await fleet.agree(copies=2))["one"] == before["one"]
    assert (fleet.missing(), fleet.unserved) == ({}, set())


@pytest.mark.long
async def test_one_that_stands_still_loses_nothing_and_gets_its_groups_back(fleet: Fleet) -> None:
    await fleet.start("one", "two", "three")
    before = await fleet.agree(copies=2)
    await fleet.flows()
    fleet.watch()
    with fleet.standing_still("two"):
        after = await fleet.agree(copies=2)
        assert all(after[name] >= before[name] for name in after)
        await fleet.flows()
    assert await fleet.agree(copies=2) == before
    assert (fleet.missing(), fleet.unserved) == ({}, set())


@pytest.mark.long
@pytest.mark.parametrize("copies", [1], indirect=True)
async def test_one_that_leaves_or_joins_loses_nothing_though_there_is_but_one_copy(fleet: Fleet) -> None:
    await fleet.start("one")
    assert len(await fleet.agree(copies=1)) == 1
    await fleet.flows()
    fleet.watch()
    await fleet.start("two", "three")  # at the same moment
    shared = await fleet.agree(copies=1)
    assert all(shared.values())
    await fleet.stop("one")
    left = await fleet.agree(copies=1)
    assert all(left[name] >= shared[name] for name in left)
    await fleet.stop("two")
    await fleet.agree(copies=1)
    await fleet.flows()
    assert (fleet.missing(), fleet.unserved) == ({}, set())
    assert all(len(ids) > 10 for ids in fleet.ids.values())
