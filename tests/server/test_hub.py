import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import websockets.frames
from websockets.protocol import Protocol, Side, State

from bus import open_bus
from bus.base import Bus
from market.announcements import DEMAND_TOPIC, Demand
from market.messages import Message
from market.streams import StreamName
from server.connections import Connection
from server.delivery import Delivery, Outbox
from server.encodings import Encoding
from server.frames import Frame
from server.hub import Hub
from tests.server.conftest import until

TRADES = StreamName.parse("btcusdt@trade")
TICKER = StreamName.parse("btcusdt@ticker")
LINGER_S = 0.05


class Plain(Encoding):
    """Writes the payload as it is; counts how often it had to."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, message: Message) -> bytes:
        self.encoded += 1
        if message.payload == b"bad":
            raise ValueError("not a payload")
        return message.payload


class Paced(Plain):
    paced = True


class Reader(Connection):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    @property
    def texts(self) -> list[bytes]:
        return [frame.text for frame in self.frames]


class Setup:
    def __init__(self, hub: Hub, publisher: Bus) -> None:
        self.hub = hub
        self.publisher = publisher
        self.demand: list[Demand] = []
        publisher.listen(DEMAND_TOPIC, lambda body: self.demand.append(msgspec.json.decode(body, type=Demand)))

    async def join(self, connection: Connection, stream: StreamName, encoding: Encoding) -> Message | None:
        await self.hub.prepare([stream])
        last = self.hub.join(connection, stream, encoding)
        self.hub.release([stream])
        return last

    async def publish(self, stream: StreamName, *payloads: bytes) -> list[Message]:
        messages = [Message(stream, n, time.time_ns() // 1000, payload) for n, payload in enumerate(payloads)]
        await self.publisher.publish(messages)
        await asyncio.sleep(0)
        return messages


@pytest.fixture
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    url = f"memory://{request.node.nodeid}"
    bus, publisher = open_bus(url), open_bus(url)
    hub = Hub(bus, "r1", linger_s=LINGER_S)
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
    kept = Message(TICKER, 7, 1_000, b"kept")
    await setup.publisher.put({TICKER.last_key: kept.encode()})
    assert await setup.join(Reader(), TICKER, Plain()) == kept


async def test_a_live_message_that_the_snapshot_already_was_is_not_repeated(setup: Setup) -> None:
    now = time.time_ns() // 1000
    older, same, newer = (Message(TICKER, n, now + n, b"%d" % n) for n in (1, 2, 3))
    await setup.publisher.put({TICKER.last_key: same.encode()})
    reader = Reader()
    assert await setup.join(reader, TICKER, Plain()) == same
    await setup.publisher.publish([older, same, newer])
    assert reader.texts == [b"3"]


async def test_a_payload_that_cannot_be_encoded_costs_its_own_message_only(setup: Setup) -> None:
    reader = Reader()
    await setup.join(reader, TRADES, Plain())
    await setup.publish(TRADES, b"1", b"bad", b"3")
    assert reader.texts == [b"1", b"3"]
    assert setup.hub.encode_errors_total == 1


async def test_paced_members_get_the_latest_message_at_the_pace(setup: Setup) -> None:
    reader, encoding = Reader(), Paced()
    await setup.join(reader, TICKER, encoding)
    sent = await setup.publish(TICKER, b"1", b"2")
    assert reader.texts == []
    setup.hub.pace(encoding, newer_than_us=0)
    assert reader.texts == [b"2"]
    setup.hub.pace(encoding, newer_than_us=sent[-1].received_us + 1)
    assert reader.texts == [b"2"], "an old price is not passed off as live"


async def test_leaving_what_one_has_not_joined_is_no_error(setup: Setup) -> None:
    assert setup.hub.leave(Reader(), TRADES, Plain()) is False


class Transport(asyncio.WriteTransport):
    """The outermost edge of a process: counts writes, and pretends that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes))


async def test_everything_of_one_turn_leaves_in_one_write() -> None:
    transport = Transport()
    outbox = Outbox(transport, Delivery(), on_overflow=lambda: None)
    for part in (b"a", b"b", b"c"):
        outbox.write(part)
    assert transport.writes == []
    await asyncio.sleep(0)
    outbox.write(b"d")
    await asyncio.sleep(0)
    assert transport.writes == [b"abc", b"d"]


async def test_a_client_that_leaves_too_much_unread_is_reported_once_and_written_to_no_more() -> None:
    transport, reported = Transport(), []
    outbox = Outbox(transport, Delivery(), on_overflow=lambda: reported.append(1))
    for _ in range(5):
        outbox.write(b"x" * 600_000)
        await asyncio.sleep(0)
    assert (len(transport.writes), reported) == (2, [1])


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 100_000])
async def test_a_text_frame_is_what_a_websocket_library_reads(length: int) -> None:
    text = b"x" * length
    reader = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    reader.receive_data(Frame(text).websocket)
    (frame,) = reader.events_received()
    assert isinstance(frame, websockets.frames.Frame)
    assert (frame.opcode, frame.fin, frame.data) == (websockets.frames.Opcode.TEXT, True, text)
