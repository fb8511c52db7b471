import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from ingestor import demand as demand_module
from ingestor.groups import groups_of
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, FEED_TOPIC, Demand, FeedStatus, Source, encode
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import WireServer, until

TRADE = StreamName.parse("btcusdt@trade")


class Replica:
    """The far end of the bus: wants streams, keeps what comes."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(broker)
        self.messages: list[Message] = []
        self.statuses: list[FeedStatus] = []
        self.bus.on_messages(self.messages.extend)
        self.bus.listen(FEED_TOPIC, lambda body: self.statuses.append(msgspec.json.decode(body, type=FeedStatus)))

    async def want(self, *texts: str) -> None:
        await self.bus.announce(DEMAND_TOPIC, encode(Demand("replica", list(texts))))


@pytest.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    made = Replica(broker)
    await made.bus.start()
    yield made
    await made.bus.close()


@pytest.fixture
async def ingestor(wire: WireServer, bus: MemoryBus, replica: Replica) -> AsyncIterator[Ingestor]:
    settings = IngestorSettings.model_validate(
        {"default_symbols": ["ADAUSDT"], "symbols_per_worker": 10, "instance": "one"}
    )
    made = Ingestor(settings, bus, stand_in(f"http://127.0.0.1:{wire.port}"))
    await bus.start()
    await made.start()
    yield made
    await made.close()


async def test_the_default_symbols_tickers_are_streamed_unasked(wire: WireServer, ingestor: Ingestor) -> None:
    await until(lambda: wire.names == {"adausdt@ticker"}, "subscribed")


async def test_what_a_replica_wants_is_subscribed_on_the_right_routes_and_published(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.bus.subscribe([TRADE])
    await replica.want(str(TRADE), "futures:btcusdt@depth", "btcusdt@markPrice")
    await until(lambda: len(wire.names) == 4, "all subscribed")
    assert {client.path: client.names for client in wire.live} == {
        "/stream": {"adausdt@ticker", "btcusdt@trade"},
        "/public/stream": {"btcusdt@depth"},
        "/market/stream": {"btcusdt@markPrice"},
    }
    wire.send("btcusdt@trade", b'{"t":7}')
    await until(lambda: replica.messages, "a message")
    (message,) = replica.messages
    assert (message.stream, message.cursor, message.payload) == (TRADE, 7, b'{"t":7}')


async def test_a_stream_that_nobody_wants_any_more_is_unsubscribed(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(str(TRADE), "futures:btcusdt@depth")
    await until(lambda: len(wire.names) == 3, "subscribed")
    await replica.want()
    await until(lambda: wire.names == {"adausdt@ticker"}, "unsubscribed")
    await until(lambda: len(wire.live) == 1, "the futures connection closed")


async def test_a_replica_that_falls_silent_loses_its_lease(
    wire: WireServer, ingestor: Ingestor, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: wire.names, "it carries its default")
    monkeypatch.setattr(demand_module, "LEASE_S", 0.5)
    await replica.want(str(TRADE))
    await until(lambda: "btcusdt@trade" in wire.names, "subscribed")
    await until(lambda: wire.names == {"adausdt@ticker"}, "unsubscribed")


async def test_leases_outlive_a_bus_that_is_away(
    wire: WireServer, ingestor: Ingestor, replica: Replica, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: wire.names, "it carries its default")
    monkeypatch.setattr(demand_module, "LEASE_S", 0.6)
    await replica.want(str(TRADE))
    await until(lambda: "btcusdt@trade" in wire.names, "subscribed")
    await bus.close()
    await asyncio.sleep(1.2)
    assert "btcusdt@trade" in wire.names
    await bus.start()
    await until(lambda: wire.names == {"adausdt@ticker"}, "the lease ended after all")


async def test_symbols_are_spread_over_workers(wire: WireServer, ingestor: Ingestor, replica: Replica) -> None:
    wanted = [f"s{i}usdt@trade" for i in range(40)]
    await replica.want(*wanted)
    await until(lambda: wire.names == {*wanted, "adausdt@ticker"}, "all subscribed")
    loads = [len({name.partition("@")[0] for name in client.names}) for client in wire.live]
    assert sum(loads) == 41
    assert max(loads) <= 10


async def test_more_streams_than_a_connection_carries_are_spread_over_several(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    intervals = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
    kinds = [f"kline_{interval}{zone}" for interval in intervals for zone in ("", "@+08:00")]
    kinds += [f"depth{levels}{speed}" for levels in ("", "5", "10", "20") for speed in ("", "@100ms", "@1000ms")]
    kinds += ["trade", "aggTrade", "bookTicker", "miniTicker", "ticker"]
    await until(lambda: wire.names, "joined")
    ingestor.feed.carry(groups_of([StreamName.parse(f"s{i}@{kind}") for i in range(25) for kind in kinds], 25))
    await until(lambda: len(wire.names) == 25 * len(kinds) > 1_024, "all subscribed")
    assert max(len(client.names) for client in wire.live) <= 1_024


async def test_the_feeds_state_is_announced_as_it_changes(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    await until(lambda: replica.statuses and replica.statuses[-1].connected, "up")
    status = replica.statuses[-1]
    assert (status.ingestor, status.source, status.streams) == ("one", Source.SIMULATED, 1)
    await wire.stop()
    await until(lambda: not replica.statuses[-1].connected, "down")
    await wire.start()
    await until(lambda: replica.statuses[-1].connected, "up again")
    wire.send("adausdt@ticker", b'{"E":1}')
    await until(lambda: wire.send("adausdt@ticker", b'{"E":1}') and ingestor.status.last_message_ms, "data seen")


async def test_an_exchange_away_at_the_start_is_found_when_it_comes(
    wire: WireServer, bus: MemoryBus, replica: Replica
) -> None:
    await wire.stop()
    ingestor = Ingestor(IngestorSettings.model_validate({}), bus, stand_in(f"http://127.0.0.1:{wire.port}"))
    await bus.start()
    await ingestor.start()
    await until(lambda: replica.statuses, "a first status")
    assert not replica.statuses[-1].connected
    await wire.start()
    await until(lambda: len(wire.names) == 5, "the defaults subscribed")
    await ingestor.close()


async def test_malformed_demand_is_counted_and_harms_nothing(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    for body in (b"{", b"[]", b"\xff", json.dumps({"replica": 1, "streams": []}).encode(), b" " * 3_000_000):
        await replica.bus.announce(DEMAND_TOPIC, body)
    await replica.want("nonsense", str(TRADE))
    await until(lambda: "btcusdt@trade" in wire.names, "the good one subscribed")
    assert ingestor.malformed_demands_total == 5
    assert ingestor.leases.ignored_streams_total == 1


async def test_a_closed_ingestor_hears_nothing_any_more(wire: WireServer, ingestor: Ingestor, replica: Replica) -> None:
    await until(lambda: wire.names, "subscribed")
    await ingestor.close()
    await replica.want(str(TRADE))
    await asyncio.sleep(0.1)
    await until(lambda: not wire.live, "the exchange alone")


async def test_a_connection_that_is_opened_for_new_streams_is_no_disconnection(
    wire: WireServer, ingestor: Ingestor, replica: Replica
) -> None:
    await until(lambda: replica.statuses and replica.statuses[-1].connected, "up")
    del replica.statuses[:-1]
    for number, market in enumerate(("futures", "spot", "futures")):
        await replica.want(*(f"{market}:s{one}usdt@trade" for one in range(20 * (number + 1))))
        names = 20 * (number + 1) + 1
        await until(lambda names=names: len(wire.names) == names, "subscribed")  # type: ignore[misc] # the loop's value
    assert all(status.connected for status in replica.statuses)
