"""The probe at every door of a real replica finds what is missing, and how late the rest is."""

import pytest

from loadtest.probe.clients import STREAMS, SocketIoClient
from loadtest.probe.probe import Door, Probe, ProbeError
from tests.loadtest.feed import LATE_MS, TRADES, Feed
from tests.server.conftest import Served, until

CLIENTS = 2
AGGREGATES = "futures:btcusdt@aggTrade"


async def until_all_have(probe: Probe, number: int, but: str = "") -> None:
    """Wait until every client, `but` one perhaps, has had this trade, or a later one."""
    clients = [client.checker for client in probe._everybody if client.checker.name != but]

    def have() -> bool:
        return all((client.sequences[TRADES].last or 0) >= number for client in clients)

    await until(have, f"everybody has the trade {number}")


async def test_whatever_comes_at_every_door_is_checked_and_its_lateness_known(served: Served, feed: Feed) -> None:
    async with Probe(served.url, CLIENTS) as probe:
        await until_all_have(probe, feed.number + 20)
    found = probe.findings()
    assert found.failures == ()
    assert (found.missed, found.clients) == (0, CLIENTS * len(Door))
    for door in found.doors:
        assert door.exchange.messages >= 20 * 2 * CLIENTS, door
        assert door.exchange.p50_ms >= LATE_MS - 1, door
        assert door.course
        assert (door.tally.doubled, door.tally.disordered, door.disconnects) == (0, 0, 0), door
    ingest = {door.door: door.ingest for door in found.doors}
    assert 0 < ingest[Door.SOCKETIO].p50_ms < LATE_MS
    assert ingest[Door.BINANCE].messages == 0, "it does not tell when the ingestor received a message"


async def test_a_trade_that_nobody_has_is_missed_by_every_client(served: Served, feed: Feed) -> None:
    async with Probe(served.url, CLIENTS) as probe:
        feed.leave_out = True
        await until_all_have(probe, feed.number + 20)
    found = probe.findings()
    assert found.missed == CLIENTS * len(Door)
    assert found.failures == (), "it was announced, where the protocol has words for that"


async def test_a_client_that_is_cut_off_comes_back_and_misses_nothing(served: Served, feed: Feed) -> None:
    async with Probe(served.url, CLIENTS) as probe:
        client = probe._clients[Door.SOCKETIO][0]
        assert isinstance(client, SocketIoClient)
        client.abort()
        await until(lambda: client.checker.disconnects == 1, "it is cut off")
        await until_all_have(probe, feed.number + 20)
    found = probe.findings()
    assert (found.missed, found.failures) == (0, ())
    assert found.doors[0].disconnects == 1


async def test_a_client_that_stops_hearing_what_others_hear_has_missed_it(served: Served, feed: Feed) -> None:
    async with Probe(served.url, CLIENTS) as probe:
        # As if its connection had died unnoticed.
        next(task for task in probe._tasks if task.get_name() == "JSON 1").cancel()
        await until_all_have(probe, feed.number + 50, but="JSON 1")
    found = probe.findings()
    assert found.missed > 0
    assert any(failure.startswith("JSON 1: spot:btcusdt@trade") for failure in found.failures)


async def test_a_stream_that_reaches_nobody_is_a_failure_of_each_of_its_clients(served: Served, feed: Feed) -> None:
    feed.silent.add(AGGREGATES)
    async with Probe(served.url, CLIENTS) as probe:
        await until_all_have(probe, feed.number + 20)
    found = probe.findings()
    doors = [door for door in Door if door is not Door.BINANCE]  # which is spot's, and does not ask for it
    everybody = [f"{door} {number}" for door in doors for number in range(1, CLIENTS + 1)]
    assert found.failures == tuple(f"{name}: {AGGREGATES}: nothing came" for name in everybody)


async def test_a_feed_that_stops_for_everybody_is_a_failure_though_no_id_is_missing(
    served: Served, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.probe.probe.BACK_S", 0.5)  # much less than everybody listens after that
    async with Probe(served.url, CLIENTS) as probe:
        await until_all_have(probe, feed.number + 20)
        feed.silent.update(STREAMS)
    found = probe.findings()
    assert found.missed == 0
    for stream in STREAMS:
        assert any(f": {stream}: nothing came for " in failure for failure in found.failures)


async def test_without_any_messages_the_probe_does_not_begin(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.probe.probe.START_LIMIT_S", 0.5)
    with pytest.raises(ProbeError, match="hears nothing"):
        async with Probe(served.url, CLIENTS):
            pass
