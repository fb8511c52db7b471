"""The ordering promise under any interleaving, checked on the hub, the backlog and the outbox themselves.

Clients subscribe, leave, stop reading, read again, and return to another replica with `since`, while
messages come. Each must see a gapless, ordered sequence without repetitions, or be told where it is not.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import open_bus
from ingestor.memory import Memory
from market.announcements import RESUME_TOPIC, ResumeAsk, encode, resume_answers
from market.messages import Message
from market.streams import StreamName
from server.connections import Connection
from server.delivery import HIGH_WATER_BYTES, Delivery, Outbox
from server.encodings import Encoding
from server.frames import Batch
from server.groups import frame_of
from server.hub import Hub

STREAM = StreamName.parse("btcusdt@trade")
BUFFER_BYTES = 40 * 1024
PAYLOAD = b"x" * 16_000
_urls = itertools.count()

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["publish", "publish at once"]), st.integers(1, 12)),
        st.tuples(st.sampled_from(["subscribe", "leave", "stop reading", "read", "move"]), st.integers(0, 1)),
    ),
    min_size=10,
    max_size=40,
)


class Numbers(Encoding):
    """Writes the cursor, padded; a gap as what it leaves out."""

    def encode(self, message: Message) -> bytes:
        return b"m%d " % message.cursor + message.payload

    def gap(self, stream: StreamName, missed: int, until: int) -> bytes:  # noqa: ARG002 # there is one stream
        return b"g%d %d" % (missed, until)


NUMBERS = Numbers()


class Wire(asyncio.Transport):
    """The outermost edge: a socket whose other end reads, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: Outbox | None = None
        self.reading = True
        self.unread = bytearray()
        self.received = bytearray()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002 # asyncio's signature
        assert high == HIGH_WATER_BYTES

    def write(self, data: Any) -> None:
        (self.received if self.reading else self.unread).extend(data)
        if self.outbox and len(self.unread) > HIGH_WATER_BYTES:
            self.outbox.pause()

    def read(self) -> None:
        """The other end reads again, everything."""
        self.reading = True
        while self.unread and self.outbox:
            self.received += self.unread
            self.unread.clear()
            self.outbox.resume()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Client(Connection):
    """A client that checks what it sees: the oracle of this test."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self.wire = Wire()
        self.outbox = Outbox(self.wire, delivery, lambda: None, deflate=False)
        self.wire.outbox = self.outbox
        self.last: int | None = None
        self.may_jump = True
        self.subscribed = False

    def send(self, batch: Batch) -> None:
        self.outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        self.outbox.forget(stream, encoding)

    def note_subscribed(self, *, recovered: bool) -> None:
        """The acknowledgement, as a frame in the stream of bytes, so that it keeps its place."""
        text = b"a%d" % recovered
        self.outbox.write(bytes((0x81, len(text))) + text)

    def note_left(self) -> None:
        """The acknowledgement of leaving."""
        self.outbox.write(b"\x81\x02u0")

    def check(self) -> None:
        """Follow everything received so far."""
        data, self.wire.received = bytes(self.wire.received), bytearray()
        at = 0
        while at < len(data):
            length, at = data[at + 1], at + 2
            if length == 126:
                length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
            self._follow(data[at : at + length])
            at += length

    def _follow(self, text: bytes) -> None:
        kind, words = text[:1], text[1:].split(b" ")
        number = int(words[0])
        if kind in b"au":
            self.subscribed = kind == b"a"
            self.may_jump = not number
            return
        assert self.subscribed, "nothing comes after leaving"
        if kind == b"g":
            assert self.last is not None
            assert int(words[1]) == self.last + number, "the notice counts exactly what is missing"
            self.last = int(words[1])
        else:
            expected = self.last is None or number == self.last + 1 or (self.may_jump and number > self.last)
            assert expected, f"{number} after {self.last}"
            self.last, self.may_jump = number, False


class Replica:
    """The parts of a replica between bus and transports."""

    def __init__(self, url: str, name: str) -> None:
        self.bus = open_bus(url)
        self.delivery = Delivery(buffer_bytes=BUFFER_BYTES)
        self.hub = Hub(self.bus, name, self.delivery, linger_s=0.0)


class World:
    """Two replicas, an ingestor's memory, two clients."""

    def __init__(self) -> None:
        url = f"memory://ordering-{next(_urls)}"
        self.replicas = [Replica(url, "r0"), Replica(url, "r1")]
        self.publisher = open_bus(url)
        self.publisher.listen(RESUME_TOPIC, self._answer)
        self.memory = Memory()
        self.homes = [0, 1]
        self.clients = [Client(self.replicas[home].delivery) for home in self.homes]
        self.cursor = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def _answer(self, body: bytes) -> None:
        ask = msgspec.json.decode(body, type=ResumeAsk)
        self._spawn(self.publisher.announce(resume_answers(ask.replica), encode(self.memory.answer(ask))))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, operations: list[tuple[str, int]]) -> None:
        for part in (*(replica.bus for replica in self.replicas), self.publisher):
            await part.start()
        for replica in self.replicas:
            await replica.hub.start()
        for name, number in operations:
            if name == "publish":
                self._spawn(self.publish(number))
            elif name == "publish at once":
                await self.publish(number)
                await self._settle()
            elif name == "subscribe":
                self._spawn(self.subscribe(number))
            else:
                getattr(self, name.replace(" ", "_"))(number)
            await asyncio.sleep(0)
        await self._settle()
        for client in self.clients:
            client.wire.read()
        await asyncio.sleep(0.002)
        for client in self.clients:
            client.wire.read()
            client.check()
        for replica in self.replicas:
            await replica.hub.close()
            await replica.bus.close()
        await self.publisher.close()

    async def _settle(self) -> None:
        while self.tasks:
            await asyncio.gather(*self.tasks)

    async def publish(self, count: int) -> None:
        for _ in range(count):
            self.cursor += 1
            message = Message(STREAM, self.cursor, 1_000_000 + self.cursor, PAYLOAD)
            self.memory.keep(message)  # as the ingestor does, some turns before its batch is out
            self._spawn(self._publish_later(message))
            await asyncio.sleep(0)

    async def _publish_later(self, message: Message) -> None:
        for _ in range(12):
            await asyncio.sleep(0)
        await self.publisher.publish([message])

    async def subscribe(self, number: int) -> None:
        """What the Socket.IO door does, in the same order."""
        client, hub = self.clients[number], self.replicas[self.homes[number]].hub
        client.check()
        since = client.last
        await hub.prepare([STREAM])
        if since is not None:
            await hub.backfill({STREAM: since})
        if client is self.clients[number] and client.last == since and (STREAM, NUMBERS) not in client.groups:
            channel = hub.join(client, STREAM, NUMBERS)
            missed = None if since is None else channel.since(since)
            client.note_subscribed(recovered=missed is not None)
            if missed:
                client.send(Batch([frame_of(message, NUMBERS) for message in missed]))
        hub.release([STREAM])

    def leave(self, number: int) -> None:
        client = self.clients[number]
        if self.replicas[self.homes[number]].hub.leave(client, STREAM, NUMBERS):
            client.note_left()
        # What was on its way still arrives before the acknowledgement; what is owed never does.
        client.outbox.flush()
        client.wire.read()
        client.check()

    def stop_reading(self, number: int) -> None:
        self.clients[number].wire.reading = False

    def read(self, number: int) -> None:
        self.clients[number].wire.read()

    def move(self, number: int) -> None:
        """The connection breaks and the client returns to the other replica, knowing its last cursor."""
        old = self.clients[number]
        old.check()
        self.replicas[self.homes[number]].hub.drop(old)
        old.outbox.close()
        self.homes[number] = 1 - self.homes[number]
        new = self.clients[number] = Client(self.replicas[self.homes[number]].delivery)
        new.last = old.last
        self._spawn(self.subscribe(number))


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_any_interleaving_gives_each_client_a_gapless_sequence_or_tells_it_of_the_gap(
    operations: list[tuple[str, int]],
) -> None:
    asyncio.run(World().run(operations))
