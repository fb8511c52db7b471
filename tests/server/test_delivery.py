"""Delivery on its own: what one loop turn collects for each client, and in which pieces it leaves."""

import asyncio
import zlib
from typing import Any

import pytest

from market.messages import Message
from market.streams import StreamName
from server.delivery import HIGH_WATER_BYTES, Delivery, Outbox
from server.encodings import Encoding
from server.frames import COMPRESS_FROM_BYTES, Batch, Frame, text_frame
from tests.server.conftest import until

TRADES = StreamName.parse("btcusdt@trade")
LARGE = b"x" * COMPRESS_FROM_BYTES


class Plain(Encoding):
    """Writes the payload as it is."""

    def encode(self, message: Message) -> bytes:
        return message.payload

    def gap(self, stream: StreamName, missed: int, until: int) -> bytes:
        return f"gap {stream} {missed} {until}".encode()


PLAIN = Plain()


class Wire(asyncio.Transport):
    """The outermost edge: a socket, each write to which can be told from the others; or a full one."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.outbox: Outbox | None = None
        self.is_full = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002 # asyncio's signature
        assert high == HIGH_WATER_BYTES

    def write(self, data: Any) -> None:
        self.writes.append(data)
        if self.is_full and self.outbox:
            self.outbox.pause()  # as an event loop does, from within `write`

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture
def delivery() -> Delivery:
    return Delivery()


def client(delivery: Delivery, *, deflate: bool = False) -> tuple[Wire, Outbox]:
    wire = Wire()
    wire.outbox = Outbox(wire, delivery, lambda: None, deflate=deflate)
    return wire, wire.outbox


def batch(*bodies: bytes) -> Batch:
    return Batch([Frame(TRADES, number, PLAIN, body) for number, body in enumerate(bodies)])


def wired(*bodies: bytes) -> bytes:
    return b"".join(map(text_frame, bodies))


async def turn() -> None:
    """Let the loop turn, at the end of which everything leaves."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_everything_of_a_turn_leaves_in_one_write_per_client_in_order(delivery: Delivery) -> None:
    wire, outbox = client(delivery)
    outbox.write(text_frame(b"ack"))
    outbox.send(batch(b"1", b"2"))
    outbox.write(text_frame(b"ping"))
    outbox.send(batch(b"3"))
    assert wire.writes == []
    await turn()
    assert wire.writes == [wired(b"ack", b"1", b"2", b"ping", b"3")]
    outbox.send(batch(b"4"))
    await turn()
    assert wire.writes[1:] == [wired(b"4")]


async def test_one_batch_is_the_same_bytes_for_all_its_receivers(delivery: Delivery) -> None:
    clients = [client(delivery) for _ in range(3)]
    shared = batch(b"1", b"2")
    for _, outbox in clients:
        outbox.send(shared)
    await turn()
    assert all(wire.writes[0] is shared.plain for wire, _ in clients)


async def test_several_batches_are_joined_once_for_neighbours_that_get_the_same(delivery: Delivery) -> None:
    clients = [client(delivery) for _ in range(3)]
    first, second = batch(b"1"), batch(b"2")
    for part in (first, second):
        for _, outbox in clients:
            outbox.send(part)
    await turn()
    assert clients[0][0].writes == [wired(b"1", b"2")]
    assert all(wire.writes[0] is clients[0][0].writes[0] for wire, _ in clients)


async def test_neighbours_that_get_different_things_never_get_each_others(delivery: Delivery) -> None:
    clients = [client(delivery) for _ in range(5)]
    first, second = batch(b"1"), batch(b"2")
    wishes = [[first, second], [first], [second], [second, first], [first, second]]
    clients[1][1].write(text_frame(b"only yours"))
    for (_, outbox), wished in zip(clients, wishes, strict=True):
        for part in wished:
            outbox.send(part)
    await turn()
    assert [wire.writes for wire, _ in clients] == [
        [wired(b"1", b"2")],
        [wired(b"only yours", b"1")],
        [wired(b"2")],
        [wired(b"2", b"1")],
        [wired(b"1", b"2")],
    ]


async def test_a_client_that_negotiated_compression_gets_large_frames_compressed_beside_one_that_did_not(
    delivery: Delivery,
) -> None:
    (plain, plain_outbox), (packed, packed_outbox) = client(delivery), client(delivery, deflate=True)
    shared = batch(LARGE, b"small")
    plain_outbox.send(shared)
    packed_outbox.send(shared)
    await turn()
    assert plain.writes == [wired(LARGE, b"small")]
    [data] = packed.writes
    assert data.endswith(text_frame(b"small"))
    frame = data.removesuffix(text_frame(b"small"))
    assert frame[0] == 0xC1, "a whole text frame, compressed"
    assert zlib.decompressobj(-15).decompress(frame[2:]) == LARGE


async def test_who_is_closed_in_a_turn_is_sent_nothing_and_the_others_all(delivery: Delivery) -> None:
    clients = [client(delivery) for _ in range(3)]
    shared = batch(b"1")
    for _, outbox in clients:
        outbox.send(shared)
    clients[1][1].close()
    clients[1][1].send(shared)
    clients[1][1].write(b"late")
    await turn()
    assert [wire.writes for wire, _ in clients] == [[wired(b"1")], [], [wired(b"1")]]


async def test_what_was_flushed_early_is_not_written_again_at_the_end_of_the_turn(delivery: Delivery) -> None:
    wire, outbox = client(delivery)
    outbox.send(batch(b"1"))
    outbox.flush()
    outbox.send(batch(b"2"))
    await turn()
    assert wire.writes == [wired(b"1"), wired(b"2")]


async def test_writes_and_bytes_are_counted_for_each_client(delivery: Delivery) -> None:
    clients = [client(delivery) for _ in range(3)]
    shared = batch(b"1", b"2")
    for _, outbox in clients:
        outbox.send(shared)
    clients[2][1].close()
    await turn()
    assert (delivery.writes_total, delivery.bytes_total) == (2, 2 * len(shared.plain))


async def test_who_lags_in_the_middle_of_a_turn_is_owed_the_rest_and_nobody_else_is(delivery: Delivery) -> None:
    (slow, slow_outbox), (quick, quick_outbox) = client(delivery), client(delivery)
    slow.is_full = True
    for number in (b"1", b"2", b"3"):
        shared = batch(number)
        slow_outbox.send(shared)
        quick_outbox.send(shared)
        await turn()
    assert slow.writes == [wired(b"1")]
    assert quick.writes == [wired(b"1"), wired(b"2"), wired(b"3")]
    assert (slow_outbox.lags, quick_outbox.lags, delivery.lagging) == (True, False, 1)
    slow.is_full = False
    slow_outbox.resume()
    assert slow.writes == [wired(b"1"), wired(b"2", b"3")]
    assert (slow_outbox.lags, delivery.lagging) == (False, 0)


async def test_a_flush_interval_collects_the_turns_within_it() -> None:
    wire, outbox = client(Delivery(flush_interval_ms=20))
    for number in (b"1", b"2"):
        outbox.send(batch(number))
        await turn()
        assert wire.writes == []
    await until(lambda: wire.writes, "the interval's end")
    assert wire.writes == [wired(b"1", b"2")]
