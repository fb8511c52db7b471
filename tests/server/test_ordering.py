"""The ordering promise under any interleaving, checked on the hub, the backlog and the outbox themselves.

Clients subscribe to symbols and to ALL of them, once or again, with `since` or without, leave either, stop reading,
read again, and return to another replica with `since`, while messages come. Of each symbol each must see a gapless,
ordered sequence without repetitions, or be told where it is not; behind an answer with `since` it begins there.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus import open_bus
from ingestor.memory import Memory
from market.announcements import RESUME_TOPIC, ResumeAsk, encode, resume_answers
from market.messages import Message
from market.streams import Market, StreamName
from market.symbols import Catalog, SymbolInfo
from server.access.visitors import Visitor
from server.connections import Connection
from server.delivery import HIGH_WATER_BYTES, Delivery, Outbox
from server.encodings import Encoding
from server.first_sight import Newcomer
from server.frames import Batch
from server.hub import Hub

BTC, ETH = STREAMS = (StreamName.parse("btcusdt@trade"), StreamName.parse("ethusdt@trade"))
EVERY = StreamName.parse("*@trade")
WISHES = (*STREAMS, EVERY)
SYMBOLS = Catalog(
    Market.SPOT, [SymbolInfo(name, "TRADING", name[:3], "USDT", "1", "1") for name in ("BTCUSDT", "ETHUSDT")]
)
BUFFER_BYTES = 40 * 1024
PAYLOAD = b'"' + b"x" * 16_000 + b'"'
REPLICAS = 3
EXAMPLES: Final = 500
_urls = itertools.count()

Operation: TypeAlias = tuple[str, int, int]
"""What happens, to which client, and to which of WISHES, how often, or how many turns of the loop later."""

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["publish", "publish at once"]), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.sampled_from(["subscribe", "subscribe since", "leave"]), st.integers(0, 1), st.integers(0, 2)),
        st.tuples(st.just("deliver"), st.just(0), st.integers(0, 4)),
        st.tuples(st.sampled_from(["stop reading", "read", "move", "settle"]), st.integers(0, 1), st.just(0)),
    ),
    min_size=10,
    max_size=40,
)


class Numbers(Encoding):
    """Writes stream and cursor, padded; a gap as what it leaves out."""

    def encode(self, message: Message) -> bytes:
        return b"m%d %d " % (STREAMS.index(message.stream), message.cursor) + message.payload

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes:
        assert not upstream
        return b"g%d %d %d" % (STREAMS.index(stream), missed, until)


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


class Client(Connection):
    """A client that checks what it sees: the oracle of this test."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(Visitor("127.0.0.1"))
        self.wire = Wire()
        self.outbox = Outbox(self.wire, delivery, lambda: None, deflate=False)
        self.wire.outbox = self.outbox
        self.last: dict[StreamName, int] = {}
        self.may_jump: set[StreamName] = set()
        """Streams of which it was told that some of the past is lost: they begin anew."""
        self.wishes: set[StreamName] = set()

    def send(self, batch: Batch) -> None:
        self.outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        self.outbox.forget(stream, encoding)

    def cursors(self, wish: StreamName) -> dict[StreamName, int]:
        """The last cursors of the streams of `wish`."""
        return {stream: self.last[stream] for stream in (STREAMS if wish == EVERY else (wish,)) if stream in self.last}

    def new_cursors(self, wish: StreamName) -> dict[StreamName, int]:
        """The same of what it would get anew with `wish`."""
        held = {stream for stream in STREAMS if self.groups.keys() & {(stream, NUMBERS), (EVERY, NUMBERS)}}
        return {stream: cursor for stream, cursor in self.cursors(wish).items() if stream not in held}

    def note_subscribed(self, wish: StreamName, since: dict[StreamName, int]) -> None:
        """The acknowledgement, as a frame in the stream of bytes, so that it keeps its place.

        What follows the cursors of `since` comes behind it; of one that is 0 some is lost.
        """
        pairs = [(STREAMS.index(stream), cursor) for stream, cursor in since.items()]
        self._note(b"a", WISHES.index(wish), *itertools.chain.from_iterable(pairs))

    def note_left(self, wish: StreamName) -> None:
        """The acknowledgement of leaving."""
        self._note(b"u", WISHES.index(wish))

    def _note(self, kind: bytes, *numbers: int) -> None:
        text = kind + " ".join(map(str, numbers)).encode()
        self.outbox.write(bytes((0x81, len(text))) + text)

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
        kind, numbers = text[:1], [int(word) for word in text[1:].split(b" ") if word.isdigit()]
        if kind in b"au":
            wish = WISHES[numbers[0]]
            (self.wishes.add if kind == b"a" else self.wishes.discard)(wish)
            for which, cursor in zip(numbers[1::2], numbers[2::2], strict=True):
                if cursor:
                    self.last[STREAMS[which]] = cursor
                else:
                    self.may_jump.add(STREAMS[which])
            return
        stream, number = STREAMS[numbers[0]], numbers[1]
        assert self.wishes & {stream, EVERY}, "nothing comes after leaving"
        last = self.last.get(stream)
        if kind == b"g":
            # A client that lagged when it subscribed may have missed the stream's first message.
            assert last is None or numbers[2] == last + number, "the notice counts exactly what is missing"
            self.last[stream] = numbers[2]
            return
        expected = last is None or number == last + 1 or (stream in self.may_jump and number > last)
        assert expected, f"{stream}: {number} after {last}"
        self.last[stream] = number
        self.may_jump.discard(stream)


class Replica:
    """The parts of a replica between bus and transports."""

    def __init__(self, url: str, name: str) -> None:
        self.bus = open_bus(url)
        self.delivery = Delivery(buffer_bytes=BUFFER_BYTES)
        self.hub = Hub(self.bus, name, self.delivery, linger_s=0.0, resume_s=0.0)
        self.hub.follow(SYMBOLS)


class World:
    """Three replicas, an ingestor and its memory, two clients."""

    def __init__(self) -> None:
        url = f"memory://ordering-{next(_urls)}"
        self.replicas = [Replica(url, f"r{number}") for number in range(REPLICAS)]
        self.publisher = open_bus(url)
        self.publisher.listen(RESUME_TOPIC, self._answer)
        self.memory = Memory()
        self.homes = [0, 1]
        self.clients = [Client(self.replicas[home].delivery) for home in self.homes]
        self.cursors = dict.fromkeys(STREAMS, 0)
        self.on_the_way: list[Message] = []
        self.bus_order = asyncio.Lock()
        self.tasks: set[asyncio.Task[None]] = set()

    def _answer(self, body: bytes) -> None:
        ask = msgspec.json.decode(body, type=ResumeAsk)
        self._spawn(self.publisher.announce(resume_answers(ask.replica), encode(self.memory.answer(ask))))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, operations: list[Operation]) -> None:
        for part in (*(replica.bus for replica in self.replicas), self.publisher):
            await part.start()
        for replica in self.replicas:
            await replica.hub.start()
        for name, *numbers in operations:
            await getattr(self, name.replace(" ", "_"))(*numbers)
            await asyncio.sleep(0)
        await self.settle()
        for number in range(len(STREAMS)):
            await self.publish_at_once(number, 1)  # whatever was lost before is missing now
        await self.settle()
        for client in self.clients:
            client.wire.read()
        await asyncio.sleep(0.002)
        for client in self.clients:
            client.wire.read()
            client.check()
            for stream in STREAMS:
                assert not client.wishes & {stream, EVERY} or client.last[stream] == self.cursors[stream]
        for replica in self.replicas:
            await replica.hub.close()
            await replica.bus.close()
        await self.publisher.close()

    async def settle(self, *_: int) -> None:
        """Nothing happens until nothing is under way but messages."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    async def publish(self, which: int, count: int) -> None:
        """The ingestor receives and remembers messages; they are on their way until `deliver`."""
        for _ in range(count):
            stream = STREAMS[which]
            self.cursors[stream] += 1
            message = Message(stream, self.cursors[stream], 1_000_000 + sum(self.cursors.values()), PAYLOAD)
            self.memory.keep(message)
            self.on_the_way.append(message)

    async def deliver(self, _: int, turns: int) -> None:
        """What is on its way arrives after so many turns of the loop, amid whatever else happens in that turn."""
        messages, self.on_the_way = self.on_the_way, []
        self._spawn(self._deliver(messages, turns))

    async def _deliver(self, messages: list[Message], turns: int) -> None:
        async with self.bus_order:
            for _ in range(turns):
                await asyncio.sleep(0)
            await self.publisher.publish(messages)

    async def publish_at_once(self, which: int, count: int) -> None:
        await self.publish(which, count)
        await self.deliver(0, 0)

    async def subscribe(self, number: int, wish: int) -> None:
        """Subscribe, perhaps again; with the cursors of what the client does not have, but has had."""
        self.clients[number].check()
        await self._subscribe(number, WISHES[wish], self.clients[number].new_cursors(WISHES[wish]))

    async def subscribe_since(self, number: int, wish: int) -> None:
        """Subscribe, perhaps again, and ask for everything anew that follows what has been read."""
        self.clients[number].check()
        await self._subscribe(number, WISHES[wish], self.clients[number].cursors(WISHES[wish]))

    async def _subscribe(self, number: int, wish: StreamName, since: dict[StreamName, int]) -> None:
        """What the Socket.IO door does, in the same order."""
        hub = self.replicas[self.homes[number]].hub
        if not since and hub.is_ready([wish]):
            self._join(self.clients[number], hub, wish, since)
        else:
            self._spawn(self._prepare_and_join(number, wish, since))

    async def _prepare_and_join(self, number: int, wish: StreamName, since: dict[StreamName, int]) -> None:
        client, hub = self.clients[number], self.replicas[self.homes[number]].hub
        await hub.prepare([wish])
        await hub.backfill(since)
        client.check()
        # Who left something meanwhile asked without a cursor for what would be new now.
        if client is self.clients[number] and client.new_cursors(wish).keys() <= since.keys():
            self._join(client, hub, wish, since)
        hub.release([wish])

    @staticmethod
    def _join(client: Client, hub: Hub, wish: StreamName, since: dict[StreamName, int]) -> None:
        channel = hub.channel(wish)
        sight = Newcomer(client, since, snapshot=True).first_sight(channel, NUMBERS)
        hub.join(client, wish, NUMBERS, shown=sight.shown)
        parts = {part.stream for part in channel.parts}
        client.note_subscribed(wish, {s: since[s] if s in sight.shown else 0 for s in since if s in parts})
        frames = [client.groups[wish, NUMBERS].encode(message) for message in sight.missed]
        if frames:
            client.send(Batch(list(filter(None, frames))))

    async def leave(self, number: int, wish: int) -> None:
        client = self.clients[number]
        if self.replicas[self.homes[number]].hub.leave(client, WISHES[wish], NUMBERS):
            client.note_left(WISHES[wish])
        # What was on its way still arrives before the acknowledgement; what is owed never does.
        client.outbox.flush()
        client.wire.read()
        client.check()

    async def stop_reading(self, number: int, _: int) -> None:
        self.clients[number].wire.reading = False

    async def read(self, number: int, _: int) -> None:
        self.clients[number].wire.read()

    async def move(self, number: int, _: int) -> None:
        """The connection breaks and the client returns to the next replica, knowing its last cursors."""
        old = self.clients[number]
        old.check()
        self.replicas[self.homes[number]].hub.drop(old)
        old.outbox.close()
        self.homes[number] = (self.homes[number] + 1) % REPLICAS
        new = self.clients[number] = Client(self.replicas[self.homes[number]].delivery)
        new.last = old.last
        for wish in WISHES:
            if wish in old.wishes:
                await self._subscribe(number, wish, new.new_cursors(wish))


@settings(max_examples=EXAMPLES, deadline=None)
@given(OPERATIONS)
@example(  # the ingestor tells a replica of messages that are still on their way there
    [
        ("subscribe", 0, 0), ("settle", 0, 0), ("publish at once", 0, 1), ("publish", 0, 2),
        ("move", 0, 0), ("settle", 0, 0), ("deliver", 0, 0),
    ]
)  # fmt: skip
@example(  # a client comes from a replica that was quicker than the one it comes to
    [
        ("subscribe", 0, 0), ("subscribe", 1, 0), ("settle", 0, 0), ("publish at once", 0, 1), ("settle", 0, 0),
        ("publish", 0, 2), ("move", 0, 0), ("settle", 0, 0), ("move", 0, 0), ("move", 0, 0), ("deliver", 0, 0),
    ]
)  # fmt: skip
@example(  # a client joins in the turn of a message, behind it: it is among what was missed, and still to be sent
    [
        ("subscribe", 0, 0), ("settle", 0, 0), ("subscribe", 1, 0), ("settle", 0, 0), ("publish at once", 0, 1),
        ("settle", 0, 0), ("move", 1, 0), ("settle", 0, 0), ("publish", 0, 1), ("deliver", 0, 3), ("move", 1, 0),
    ]
)  # fmt: skip
@example(  # a client leaves while it is owed messages
    [
        ("subscribe", 0, 0), ("settle", 0, 0), ("stop reading", 0, 0),
        ("publish at once", 0, 6), ("publish at once", 0, 1), ("settle", 0, 0), ("settle", 0, 0), ("leave", 0, 0),
    ]
)  # fmt: skip
@example(  # a client leaves what it also gets through ALL, in the turn of a message
    [("subscribe", 0, 2), ("subscribe", 0, 0), ("settle", 0, 0), ("publish at once", 0, 2), ("leave", 0, 0)]
)
@example(  # the same, while it is owed messages
    [
        ("subscribe", 0, 2), ("subscribe", 0, 0), ("settle", 0, 0), ("stop reading", 0, 0),
        ("publish at once", 0, 6), ("publish at once", 0, 1), ("leave", 0, 0),
    ]
)  # fmt: skip
@example(  # a client joins again in the turn of a message
    [("subscribe", 0, 0), ("settle", 0, 0), ("publish", 0, 2), ("deliver", 0, 0), ("subscribe", 0, 0)]
)
@example(  # the same, of ALL
    [("subscribe", 0, 2), ("settle", 0, 0), ("publish", 0, 2), ("deliver", 0, 0), ("subscribe", 0, 2)]
)
@example(  # a client joins again while it is owed messages, and then once more with its cursor
    [
        ("subscribe", 0, 0), ("settle", 0, 0), ("stop reading", 0, 0), ("publish at once", 0, 6),
        ("publish at once", 0, 1), ("settle", 0, 0), ("subscribe", 0, 0), ("subscribe since", 0, 0),
    ]
)  # fmt: skip
def test_any_interleaving_gives_each_client_a_gapless_sequence_or_tells_it_of_the_gap(
    operations: list[Operation],
) -> None:
    asyncio.run(World().run(operations))
