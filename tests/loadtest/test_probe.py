"""The probe at every door of a real replica finds what is missing, and how late the rest is."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from loadtest.probe.clients import STREAMS, SocketIoClient
from loadtest.probe.probe import Door, Probe, ProbeError
from market.messages import Message
from market.streams import StreamName
from tests.server.conftest import Served, exchange, served, until

CLIENTS = 2
TRADES = "spot:btcusdt@trade"
LATE_MS = 700

__all__ = ["exchange", "served"]


def payload(kind: str, number: int, event_ms: int) -> dict[str, object]:
    """One message, as far as anybody reads it."""
    kinds: dict[str, dict[str, object]] = {
        "trade": {"e": "trade", "E": event_ms, "t": number},
        "aggTrade": {"e": "aggTrade", "E": event_ms, "a": number, "f": number, "l": number},
        "bookTicker": {"u": number},
        "kline": {"e": "kline", "E": event_ms, "k": {"t": number * 1000, "x": True}},
    }
    return kinds[kind]


class Feed:
    """Publishes one message of every stream at a time, as an ingestor would."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.number = 1
        self.leave_out = False
        """Whether the next trade is left out."""

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            now_ms = time.time_ns() // 1_000_000
            await self._served.publisher.publish(list(self._messages(now_ms)))
            self.number += 1
            self.leave_out = False
            await asyncio.sleep(0.02)

    def _messages(self, now_ms: int) -> list[Message]:
        found = []
        for name in STREAMS:
            stream = StreamName.parse(name)
            kind = str(stream.kind)
            body = msgspec.json.encode(payload(kind, self.number, now_ms - LATE_MS))
            cursor = now_ms - LATE_MS if kind == "kline" else self.number
            if not (self.leave_out and name == TRADES):
                found.append(Message(stream, cursor, now_ms * 1000, body))
        return found


@pytest.fixture
async def feed(served: Served) -> AsyncIterator[Feed]:
    feed = Feed(served)
    running = asyncio.create_task(feed.run())
    yield feed
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on its way for long here."""
    monkeypatch.setattr("loadtest.probe.probe.SETTLE_S", 0.5)


async def until_all_have(probe: Probe, number: int) -> None:
    """Wait until every client has had this trade, or a later one."""

    def have() -> bool:
        return all((client.checker.sequences[TRADES].last or 0) >= number for client in probe._everybody)

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
        await until(lambda: feed.number > 50, "some time passes")
    found = probe.findings()
    assert found.missed > 0
    assert any(failure.startswith("JSON 1: spot:btcusdt@trade") for failure in found.failures)


async def test_without_any_messages_the_probe_does_not_begin(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.probe.probe.START_LIMIT_S", 0.5)
    with pytest.raises(ProbeError, match="hears nothing"):
        async with Probe(served.url, CLIENTS):
            pass
