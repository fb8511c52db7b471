import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from bus.base import VALUE_TTL_S
from bus.memory import MemoryBroker, MemoryBus
from ingestor.backlog import MESSAGE_BYTES, Backlog
from ingestor.memory import Memory
from ingestor.publisher import Publisher
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until

TRADE = StreamName.parse("btcusdt@trade")
BOOK = StreamName.parse("btcusdt@bookTicker")
TICKER = StreamName.parse("btcusdt@ticker")
MARKS = StreamName.parse("!markPrice@arr")
LIQUIDATIONS = StreamName.parse("!forceOrder@arr")
TICKER_PAYLOAD = (
    b'{"e":"24hrTicker","E":1723161255208,"s":"BTCUSDT","p":"1.0","P":"0.5","c":"60000.0","o":"1","h":"2","l":"1",'
    b'"v":"3","q":"4","b":"1","a":"2"}'
)


class GatedBus(MemoryBus):
    """A memory bus whose publishes wait for a gate, as a slow network would make them; keeps what passes."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[list[Message]] = []
        self.puts: list[Mapping[str, bytes]] = []
        self.broken = False

    async def publish(self, messages: Sequence[Message]) -> None:
        self.batches.append(list(messages))
        await self.gate.wait()
        if self.broken:
            raise RuntimeError("broken")
        await super().publish(messages)

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        self.puts.append(values)
        await super().put(values, ttl_s)


@pytest.fixture
async def gated(broker: MemoryBroker) -> AsyncIterator[GatedBus]:
    bus = GatedBus(broker)
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def publisher(gated: GatedBus) -> AsyncIterator[Publisher]:
    made = Publisher(gated, Memory())
    made.start()
    yield made
    await made.close()


async def test_what_arrives_in_one_turn_leaves_as_one_batch_in_order(
    broker: MemoryBroker, gated: GatedBus, publisher: Publisher
) -> None:
    received: list[Message] = []
    replica = MemoryBus(broker)
    replica.on_messages(received.extend)
    await replica.start()
    await replica.subscribe([TRADE])
    for i in range(10):
        publisher.take(TRADE, b'{"t":%d}' % i, 5)
    await until(lambda: publisher.published_total == 10, "published")
    assert len(gated.batches) == 1
    assert received == [Message(TRADE, i, 5, b'{"t":%d}' % i) for i in range(10)]
    assert publisher.take_max_lag_ms() > 0
    assert publisher.take_max_lag_ms() == 0
    await replica.close()


async def test_while_a_batch_is_on_its_way_the_next_one_collects(gated: GatedBus, publisher: Publisher) -> None:
    gated.gate.clear()
    publisher.take(TRADE, b'{"t":1}', 5)
    await until(lambda: gated.batches, "the first batch under way")
    publisher.take(TRADE, b'{"t":2}', 5)
    publisher.take(BOOK, b'{"u":3}', 5)
    await asyncio.sleep(0.01)
    assert len(gated.batches) == 1
    gated.gate.set()
    await until(lambda: publisher.published_total == 3, "all published")
    assert [message.cursor for message in gated.batches[1]] == [2, 3]


async def test_a_batch_that_fails_does_not_end_publishing(gated: GatedBus, publisher: Publisher) -> None:
    gated.broken = True
    publisher.take(TRADE, b'{"t":1}', 5)
    await until(lambda: gated.batches, "the failing batch")
    await asyncio.sleep(0)
    gated.broken = False
    publisher.take(TRADE, b'{"t":2}', 5)
    await until(lambda: publisher.published_total == 1, "the next batch")


async def test_last_values_of_state_streams_are_kept_and_thinned(gated: GatedBus, publisher: Publisher) -> None:
    for i in range(100):
        publisher.take(BOOK, b'{"u":%d}' % i, 7)
        publisher.take(TRADE, b'{"t":%d}' % i, 7)
    await until(lambda: gated.puts, "a write")
    assert gated.puts == [{BOOK.last_key: b'99 7 {"u":99}'}]
    assert await gated.get([BOOK.last_key, TRADE.last_key]) == [b'99 7 {"u":99}', None]


async def test_prices_of_document_002_are_kept_for_spot_tickers_alone(gated: GatedBus, publisher: Publisher) -> None:
    publisher.take(TICKER, TICKER_PAYLOAD, 7)
    publisher.take(StreamName.parse("futures:ethusdt@ticker"), TICKER_PAYLOAD, 7)
    await until(lambda: gated.puts, "a write")
    (price,) = await gated.get(["prices:BTCUSDT"])
    assert price is not None
    assert json.loads(price) == {
        "symbol": "BTCUSDT",
        "price": 60000.0,
        "volume": 3.0,
        "high": 2.0,
        "low": 1.0,
        "change": 1.0,
        "changePercent": 0.5,
        "timestamp": "2024-08-08T23:54:15.208",
    }
    assert await gated.get(["prices:ETHUSDT"]) == [None]


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"E":1}', b"[1]", b'{"t":"x"}', b"\xff", b'{"t":1}}'])
async def test_payloads_without_a_cursor_are_counted_and_dropped(
    gated: GatedBus, publisher: Publisher, payload: bytes
) -> None:
    publisher.take(TRADE, payload, 5)
    publisher.take(TRADE, b'{"t":1}', 5)
    await until(lambda: publisher.published_total, "the good one")
    assert publisher.malformed_total == 1
    assert [message.payload for batch in gated.batches for message in batch] == [b'{"t":1}']


async def test_a_ticker_without_a_price_is_counted_and_still_kept(gated: GatedBus, publisher: Publisher) -> None:
    publisher.take(TICKER, b'{"E":1,"s":"BTCUSDT"}', 5)
    await until(lambda: gated.puts, "a write")
    assert publisher.malformed_total == 1
    assert gated.puts == [{TICKER.last_key: b'1 5 {"E":1,"s":"BTCUSDT"}'}]


async def test_all_market_messages_keep_their_form_under_the_streams_own_name(
    gated: GatedBus, publisher: Publisher
) -> None:
    array = b'[{"e":"markPriceUpdate","E":11,"s":"A"},{"e":"markPriceUpdate","E":12,"s":"B"}]'
    single = b'{"e":"forceOrder","E":13,"o":{}}'
    publisher.take(MARKS, array, 5)
    publisher.take(LIQUIDATIONS, single, 5)
    await until(lambda: publisher.published_total == 2, "published")
    assert gated.batches == [[Message(MARKS, 11, 5, array), Message(LIQUIDATIONS, 13, 5, single)]]


async def test_a_bus_that_is_away_holds_nothing_up(bus: MemoryBus) -> None:
    publisher = Publisher(bus, Memory())
    publisher.start()
    publisher.take(TRADE, b'{"t":1}', 5)
    await until(lambda: bus.dropped_total == 1, "dropped by the bus")
    assert not len(publisher.backlog)
    await publisher.close()


def _message(stream: StreamName, cursor: int) -> Message:
    return Message(stream, cursor, 0, b"{}")


def test_a_backlog_within_its_limit_loses_nothing() -> None:
    backlog = Backlog()
    messages = [_message(stream, i) for i in range(50) for stream in (TRADE, BOOK)]
    for message in messages:
        backlog.add(message)
    assert len(backlog) == 100
    assert backlog.take() == messages
    assert not backlog.take()
    assert (backlog.conflated_total, backlog.dropped_total) == (0, 0)


def test_past_its_limit_a_backlog_keeps_the_latest_state_and_drops_events() -> None:
    backlog = Backlog(limit_bytes=2 * (MESSAGE_BYTES + 2))
    for i in range(5):
        backlog.add(_message(TRADE, i))
        backlog.add(_message(BOOK, i))
    assert [(message.stream, message.cursor) for message in backlog.take()] == [(TRADE, 0), (BOOK, 0), (BOOK, 4)]
    assert (backlog.conflated_total, backlog.dropped_total) == (3, 4)
    backlog.add(_message(TRADE, 9))
    assert [message.cursor for message in backlog.take()] == [9]
