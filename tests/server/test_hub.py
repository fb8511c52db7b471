import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
import websockets.frames
from websockets.protocol import Protocol, Side, State

from bus import open_bus
from bus.base import Bus
from market.announcements import DEMAND_TOPIC, Demand
from market.errors import Code, MarketError
from market.messages import Message
from market.streams import Market, StreamName
from market.symbols import Catalog, SymbolInfo
from server import hub as hub_module
from server.access.visitors import Visitor
from server.channels import Channel
from server.connections import Connection
from server.delivery import Delivery
from server.encodings import Encoding
from server.frames import Batch, Frame, text_frame
from server.groups import Pace
from server.hub import Hub
from tests.server.conftest import until

TRADES = StreamName.parse("btcusdt@trade")
TICKER = StreamName.parse("btcusdt@ticker")
EVERY = StreamName.parse("*@ticker")
BTC, ETH, BNB = TICKER, StreamName.parse("ethusdt@ticker"), StreamName.parse("bnbusdt@ticker")
LINGER_S, RESUME_S = 0.05, 0.3


def catalog(*trading: str) -> Catalog:
    """Spot, where these symbols trade and one does not."""
    symbols = {**dict.fromkeys(trading, "TRADING"), "OLDUSDT": "BREAK"}
    return Catalog(
        Market.SPOT, [SymbolInfo(name, status, name[:-4], "USDT", "1", "1") for name, status in symbols.items()]
    )


class Plain(Encoding):
    """Writes the payload as it is; counts how often it had to."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, message: Message) -> bytes:
        self.encoded += 1
        if message.payload == b"bad":
            raise ValueError("not a payload")
        return message.payload

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes:
        return f"gap {stream} {missed} {until}{' upstream' if upstream else ''}".encode()


class Reader(Connection):
    """A connection that keeps what is sent to it."""

    def __init__(self) -> None:
        super().__init__(Visitor("127.0.0.1"))
        self.frames: list[Frame] = []
        self.forgotten: list[StreamName] = []

    def send(self, batch: Batch) -> None:
        self.frames.extend(batch.frames)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:  # noqa: ARG002 # Connection's signature
        self.forgotten.append(stream)

    @property
    def texts(self) -> list[bytes]:
        return [frame.body for frame in self.frames]

    def of(self, stream: StreamName) -> list[bytes]:
        """What came of one stream."""
        return [frame.body for frame in self.frames if frame.stream == stream]


class Setup:
    def __init__(self, hub: Hub, publisher: Bus) -> None:
        self.hub = hub
        self.publisher = publisher
        self.demand: list[Demand] = []
        self.cursors: Counter[StreamName] = Counter()
        publisher.listen(DEMAND_TOPIC, lambda body: self.demand.append(msgspec.json.decode(body, type=Demand)))

    async def join(
        self, connection: Connection, stream: StreamName, encoding: Encoding, pace: Pace | None = None
    ) -> Channel:
        await self.hub.prepare([stream])
        channel = self.hub.join(connection, stream, encoding, pace)
        self.hub.release([stream])
        return channel

    def made(self, stream: StreamName, *payloads: bytes) -> list[Message]:
        """Messages with the stream's next cursors, from 0 on."""
        first = self.cursors[stream]
        self.cursors[stream] += len(payloads)
        return [Message(stream, first + n, time.time_ns() // 1000, payload) for n, payload in enumerate(payloads)]

    async def publish(self, stream: StreamName, *payloads: bytes) -> list[Message]:
        messages = self.made(stream, *payloads)
        await self.publisher.publish(messages)
        await asyncio.sleep(0.001)  # the turn's end, at which the hub sends
        return messages


@pytest.fixture
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    url = f"memory://{request.node.nodeid}"
    bus, publisher = open_bus(url), open_bus(url)
    hub = Hub(bus, "r1", Delivery(), linger_s=LINGER_S, resume_s=RESUME_S)
    made = Setup(hub, publisher)
    await bus.start()
    await publisher.start()
    await hub.start()
    yield made
    await hub.close()
    await bus.close()
    await publisher.close()


async def test_a_message_is_encoded_once_and_its_frame_is_shared(setup: Setup) -> None:
    encoding, readers = Plain(), [Reader() for _ in range(100)]
    for reader in readers:
        await setup.join(reader, TRADES, encoding)
    await setup.publish(TRADES, b"1", b"2")
    assert encoding.encoded == 2
    assert all(reader.texts == [b"1", b"2"] for reader in readers)
    assert len({id(reader.frames[0]) for reader in readers}) == 1


async def test_each_encoding_gets_its_own_frame(setup: Setup) -> None:
    one, other, reader = Plain(), Plain(), Reader()
    await setup.join(reader, TRADES, one)
    await setup.join(reader, TRADES, other)
    await setup.publish(TRADES, b"1")
    assert (one.encoded, other.encoded, reader.texts) == (1, 1, [b"1", b"1"])


async def test_the_first_member_opens_the_stream_and_the_last_one_out_closes_it_after_a_while(setup: Setup) -> None:
    first, second, encoding = Reader(), Reader(), Plain()
    await setup.join(first, TRADES, encoding)
    await setup.join(second, TRADES, encoding)
    await until(lambda: setup.demand and setup.demand[-1].streams == [str(TRADES)], "demand announced")
    setup.hub.drop(first)
    setup.hub.drop(second)
    await setup.publish(TRADES, b"late")
    assert setup.hub.last(TRADES) is not None, "still open: it lingers"
    await until(lambda: setup.demand[-1].streams == [], "demand withdrawn")
    before = setup.hub.received_total
    await setup.publish(TRADES, b"unwanted")
    assert setup.hub.received_total == before


async def test_a_stream_that_is_wanted_again_in_time_stays_open(setup: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await setup.join(reader, TRADES, encoding)
    setup.hub.drop(reader)
    await setup.join(reader, TRADES, encoding)
    await asyncio.sleep(2 * LINGER_S)
    await setup.publish(TRADES, b"1")
    assert reader.texts == [b"1"]
    assert {tuple(demand.streams) for demand in setup.demand[1:]} <= {(str(TRADES),)}


async def test_the_last_value_of_the_cache_is_the_first_snapshot(setup: Setup) -> None:
    kept = Message(TICKER, 7, time.time_ns() // 1000, b"kept")
    await setup.publisher.put({TICKER.last_key: kept.encode()})
    assert (await setup.join(Reader(), TICKER, Plain())).last == kept


@pytest.mark.parametrize(
    ("name", "age_s", "is_shown"),
    [
        ("btcusdt@ticker", 9, True),
        ("btcusdt@ticker", 11, False),
        ("btcusdt@kline_1s", 11, False),
        ("btcusdt@kline_1m", 50, True),
        ("btcusdt@kline_1h", 61, False),
    ],
)
async def test_a_value_that_is_too_old_for_its_kind_is_not_shown_as_the_latest(
    setup: Setup, name: str, age_s: int, *, is_shown: bool
) -> None:
    stream = StreamName.parse(name)
    kept = Message(stream, 7, time.time_ns() // 1000 - age_s * 1_000_000, b"kept")
    await setup.publisher.put({stream.last_key: kept.encode()})
    assert (await setup.join(Reader(), stream, Plain())).snapshot == (kept if is_shown else None)


async def test_a_live_message_that_the_snapshot_already_was_is_not_repeated(setup: Setup) -> None:
    now = time.time_ns() // 1000
    older, same, newer = (Message(TICKER, n, now + n, b"%d" % n) for n in (1, 2, 3))
    await setup.publisher.put({TICKER.last_key: same.encode()})
    reader = Reader()
    assert (await setup.join(reader, TICKER, Plain())).last == same
    await setup.publisher.publish([older, same, newer])
    await asyncio.sleep(0.001)
    assert reader.texts == [b"3"]


async def test_a_payload_that_cannot_be_encoded_costs_its_own_message_only(setup: Setup) -> None:
    reader = Reader()
    await setup.join(reader, TRADES, Plain())
    await setup.publish(TRADES, b"1", b"bad", b"3")
    assert reader.texts == [b"1", b"3"]
    assert setup.hub.figures.encode_errors_total == 1


async def test_members_of_a_throttle_class_share_the_latest_value(setup: Setup) -> None:
    encoding, readers = Plain(), [Reader(), Reader()]
    for reader in readers:
        await setup.join(reader, TICKER, encoding, Pace(100))
    await setup.publish(TICKER, b"1", b"2", b"3")
    assert readers[0].texts == []
    await until(lambda: readers[0].texts, "the beat")
    assert [reader.texts for reader in readers] == [[b"3"], [b"3"]]
    assert encoding.encoded == 1
    await asyncio.sleep(0.25)
    assert readers[0].texts == [b"3"], "nothing new, nothing sent"


async def test_a_repeating_pace_sends_the_latest_value_again_but_never_an_old_one(setup: Setup) -> None:
    reader = Reader()
    await setup.join(reader, TICKER, Plain(), Pace(50, repeat=True, fresh_ms=200))
    await setup.publish(TICKER, b"1")
    await until(lambda: len(reader.texts) >= 3, "repeated")
    await asyncio.sleep(0.3)
    sent = len(reader.texts)
    await asyncio.sleep(0.15)
    assert len(reader.texts) == sent


async def test_an_ingestor_whose_clock_is_wrong_does_not_make_a_live_value_old(setup: Setup) -> None:
    reader = Reader()
    await setup.join(reader, TICKER, Plain(), Pace(50, repeat=True, fresh_ms=200))
    an_hour_ago_us = time.time_ns() // 1000 - 3_600_000_000
    await setup.publisher.publish([Message(TICKER, 1, an_hour_ago_us, b"1")])
    await until(lambda: reader.texts == [b"1", b"1"], "repeated")


async def test_a_newcomer_does_not_get_what_came_earlier_in_the_same_turn(setup: Setup) -> None:
    early, late, encoding = Reader(), Reader(), Plain()
    await setup.join(early, TRADES, encoding)
    await setup.hub.prepare([TRADES])
    setup.hub.deliver([Message(TRADES, 1, time.time_ns() // 1000, b"1")])
    channel = setup.hub.join(late, TRADES, encoding)
    assert channel.last is not None
    assert channel.last.payload == b"1"
    setup.hub.deliver([Message(TRADES, 2, time.time_ns() // 1000, b"2")])
    setup.hub.release([TRADES])
    await asyncio.sleep(0.001)
    assert (early.texts, late.texts) == ([b"1", b"2"], [b"2"])


async def test_since_tells_exactly_what_was_missed_or_that_it_cannot(setup: Setup) -> None:
    channel = await setup.join(Reader(), TRADES, Plain())
    sent = await setup.publish(TRADES, b"0", b"1", b"2", b"3")
    assert channel.since(1) == sent[2:]
    assert channel.since(3) == []
    assert channel.since(99) is None


async def test_a_value_older_than_what_the_client_has_seen_is_not_sent_to_it(setup: Setup) -> None:
    channel = await setup.join(Reader(), TICKER, Plain())
    sent = await setup.publish(TICKER, b"0", b"1")
    assert channel.since(0) == sent[1:]
    assert channel.since(1) == channel.since(2) == []


async def test_a_client_that_comes_from_a_quicker_replica_waits_until_this_one_has_caught_up(setup: Setup) -> None:
    channel = await setup.join(Reader(), TRADES, Plain())
    await setup.publish(TRADES, b"0", b"1")
    catching_up = asyncio.create_task(setup.hub.backfill({TRADES: 2}))
    await asyncio.sleep(0.01)
    assert not catching_up.done()
    await setup.publisher.publish([Message(TRADES, 2, time.time_ns() // 1000, b"2")])
    await catching_up
    assert channel.since(2) == []


async def test_leaving_what_one_has_not_joined_is_no_error(setup: Setup) -> None:
    assert setup.hub.leave(Reader(), TRADES, Plain()) is False


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 100_000])
async def test_a_text_frame_is_what_a_websocket_library_reads(length: int) -> None:
    text = b"x" * length
    reader = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    reader.receive_data(text_frame(text))
    (frame,) = reader.events_received()
    assert isinstance(frame, websockets.frames.Frame)
    assert (frame.opcode, frame.fin, frame.data) == (websockets.frames.Opcode.TEXT, True, text)


@pytest.fixture
def listed(setup: Setup) -> Setup:
    setup.hub.follow(catalog("BTCUSDT", "ETHUSDT"))
    return setup


async def test_all_is_one_membership_and_one_subscription_a_symbol(listed: Setup) -> None:
    first, second, encoding = Reader(), Reader(), Plain()
    await listed.join(first, EVERY, encoding)
    await listed.join(second, EVERY, encoding)
    assert list(first.groups) == [(EVERY, encoding)]
    assert listed.hub.member_counts() == {EVERY: 2}
    assert listed.hub.streams == [BTC, ETH]
    await until(lambda: listed.demand and listed.demand[-1].streams == [str(BTC), str(ETH)], "demand by symbol")


async def test_members_of_all_and_of_a_symbol_share_frames_that_carry_the_symbols_stream(listed: Setup) -> None:
    encoding, everybody, named = Plain(), [Reader() for _ in range(10)], Reader()
    for reader in everybody:
        await listed.join(reader, EVERY, encoding)
    await listed.join(named, BTC, encoding)
    await listed.publish(BTC, b"b")
    await listed.publish(ETH, b"e")
    assert encoding.encoded == 2
    assert all(
        [(frame.stream, frame.body) for frame in reader.frames] == [(BTC, b"b"), (ETH, b"e")] for reader in everybody
    )
    assert len({id(reader.frames[0]) for reader in [*everybody, named]}) == 1
    assert named.texts == [b"b"]


@pytest.mark.parametrize("joined", [(EVERY, BTC), (BTC, EVERY)], ids=["all first", "symbol first"])
@pytest.mark.parametrize("left", [EVERY, BTC], ids=["all left", "symbol left"])
async def test_who_wants_all_and_a_symbol_gets_each_message_once_and_can_leave_either(
    listed: Setup, joined: tuple[StreamName, ...], left: StreamName
) -> None:
    encoding, reader, other = Plain(), Reader(), Reader()
    await listed.join(other, EVERY, encoding)
    for stream in joined:
        await listed.join(reader, stream, encoding)
    listed.hub.deliver([message for stream in (BTC, ETH) for message in listed.made(stream, b"1")])
    assert listed.hub.leave(reader, left, encoding)  # in the turn in which the messages came
    await listed.publish(BTC, b"2", b"3")
    await listed.publish(ETH, b"2")
    assert reader.of(BTC) == [b"1", b"2", b"3"]
    assert reader.of(ETH) == ([b"1", b"2"] if left == BTC else [])
    assert (other.of(BTC), other.of(ETH)) == ([b"1", b"2", b"3"], [b"1", b"2"])
    assert BTC not in reader.forgotten
    assert (ETH in reader.forgotten) == (left == EVERY)
    listed.hub.drop(reader)
    await listed.join(reader, EVERY, encoding)
    await listed.publish(BTC, b"4")
    assert reader.of(BTC)[-1] == b"4"


async def test_who_adds_a_symbol_to_all_misses_nothing_that_came_in_the_same_turn(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    await listed.hub.prepare([BTC])
    listed.hub.deliver([Message(BTC, 1, 1, b"1")])
    listed.hub.join(reader, BTC, encoding)
    listed.hub.deliver([Message(BTC, 2, 2, b"2")])
    listed.hub.release([BTC])
    await asyncio.sleep(0.001)
    assert reader.texts == [b"1", b"2"]


async def test_the_pace_that_was_asked_for_by_name_wins(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    await listed.join(reader, BTC, encoding, Pace(100))
    await listed.publish(ETH, b"1", b"2")
    await listed.publish(BTC, b"1", b"2")
    assert (reader.of(BTC), reader.of(ETH)) == ([], [b"1", b"2"])
    await until(lambda: reader.of(BTC), "the beat")
    assert reader.of(BTC) == [b"2"]
    await listed.publish(BTC, b"3")
    listed.hub.leave(reader, BTC, encoding)
    assert reader.of(BTC) == [b"2", b"3"], "what the pace held back is not lost"
    await listed.publish(BTC, b"4")
    assert reader.of(BTC) == [b"2", b"3", b"4"]


async def test_a_pace_on_all_holds_for_each_symbol_by_itself(listed: Setup) -> None:
    encoding, readers = Plain(), [Reader(), Reader()]
    for reader in readers:
        await listed.join(reader, EVERY, encoding, Pace(100))
    await listed.publish(BTC, b"1", b"2", b"3")
    await listed.publish(ETH, b"1", b"2")
    await until(lambda: readers[0].texts, "the beat")
    assert [(reader.of(BTC), reader.of(ETH)) for reader in readers] == [([b"3"], [b"2"])] * 2
    assert encoding.encoded == 2
    await asyncio.sleep(0.15)
    assert len(readers[0].texts) == 2, "nothing new, nothing sent"


async def test_a_repeating_pace_on_all_repeats_each_symbols_latest(listed: Setup) -> None:
    reader, encoding = Reader(), Plain()
    await listed.join(Reader(), EVERY, encoding)
    await listed.publish(BTC, b"1")
    await listed.publish(ETH, b"1")
    await listed.join(reader, EVERY, encoding, Pace(50, repeat=True, fresh_ms=300))
    await until(lambda: len(reader.of(BTC)) >= 2 and len(reader.of(ETH)) >= 2, "repeated")
    await asyncio.sleep(0.35)
    sent = len(reader.texts)
    await asyncio.sleep(0.15)
    assert len(reader.texts) == sent, "old values are not passed off as live"


async def test_all_follows_the_catalog(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    listed.hub.follow(catalog("ETHUSDT", "BNBUSDT"))
    await until(lambda: listed.demand and listed.demand[-1].streams == [str(ETH), str(BNB)], "demand followed")
    for stream in (BTC, ETH, BNB):
        await listed.publish(stream, b"1")
    assert [frame.stream for frame in reader.frames] == [ETH, BNB]
    assert reader.forgotten == [BTC]


async def test_a_delisted_symbol_stays_with_whoever_wants_it_by_name(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    await listed.join(reader, BTC, encoding)
    listed.hub.follow(catalog("ETHUSDT"))
    await asyncio.sleep(2 * LINGER_S)
    await listed.publish(BTC, b"1")
    listed.hub.follow(catalog("ETHUSDT", "BTCUSDT"))
    await listed.publish(BTC, b"2")
    assert reader.of(BTC) == [b"1", b"2"]
    assert BTC not in reader.forgotten


async def test_all_is_accepted_before_the_catalog_comes(setup: Setup) -> None:
    reader = Reader()
    channel = await setup.join(reader, EVERY, Plain())
    assert list(channel.parts) == []
    setup.hub.follow(catalog("BTCUSDT"))
    await until(lambda: setup.demand and setup.demand[-1].streams == [str(BTC)], "demand")
    await setup.publish(BTC, b"1")
    assert reader.texts == [b"1"]


async def test_the_parts_of_all_have_last_values_from_the_cache_when_it_is_prepared(listed: Setup) -> None:
    kept = Message(ETH, 7, time.time_ns() // 1000, b"kept")
    await listed.publisher.put({ETH.last_key: kept.encode()})
    channel = await listed.join(Reader(), EVERY, Plain())
    assert [part.snapshot for part in channel.parts] == [None, kept]
    assert (channel.last, channel.snapshot, channel.since(7)) == (None, None, None)


async def test_the_last_one_to_leave_all_closes_every_symbol_that_nobody_wants_by_name(listed: Setup) -> None:
    encoding, one, named = Plain(), Reader(), Reader()
    await listed.join(one, EVERY, encoding)
    await listed.join(named, BTC, encoding)
    listed.hub.drop(one)
    assert listed.hub.streams == [BTC, ETH], "it lingers"
    await until(lambda: listed.hub.streams == [BTC], "closed")
    await until(lambda: listed.demand[-1].streams == [str(BTC)], "demand withdrawn")
    await listed.publish(BTC, b"1")
    await listed.publish(ETH, b"1")
    assert (one.texts, named.texts, listed.hub.unwanted_total) == ([], [b"1"], 0)
    assert listed.hub.member_counts() == {BTC: 1}


async def test_a_symbols_members_include_those_of_all_each_once(listed: Setup) -> None:
    encoding, both, everybody, named = Plain(), Reader(), Reader(), Reader()
    for reader, stream in ((both, EVERY), (both, BTC), (everybody, EVERY), (named, BTC)):
        await listed.join(reader, stream, encoding)
    assert listed.hub.members(BTC, encoding) == [both, named, everybody]
    assert listed.hub.members(EVERY, encoding) == [both, everybody]
    assert listed.hub.members(BTC, Plain()) == []


async def test_a_dropped_member_of_both_leaves_nothing_behind(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    await listed.join(reader, BTC, encoding)
    listed.hub.drop(reader)
    assert (reader.groups, listed.hub.member_counts()) == ({}, {})
    assert set(reader.forgotten) == {BTC, ETH}


async def test_what_ingestors_would_not_carry_is_refused(listed: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_STREAMS_PER_REPLICA", 2)
    await listed.join(Reader(), TRADES, Plain())
    with pytest.raises(MarketError) as refusal:
        await listed.hub.prepare([EVERY])
    assert refusal.value.code is Code.TOO_MANY_STREAMS
    assert listed.hub.streams == [TRADES]


async def test_binances_array_of_all_symbols_is_a_stream_of_its_own(listed: Setup) -> None:
    array, reader, encoding = StreamName.parse("!miniTicker@arr"), Reader(), Plain()
    await listed.join(reader, array, encoding)
    await listed.join(reader, StreamName.parse("*@miniTicker"), encoding)
    await listed.publish(array, b"[1]")
    assert [(frame.stream, frame.body) for frame in reader.frames] == [(array, b"[1]")]
