"""The hub: who wants what on this replica, what was last said, and the way of a message to its members.

A stream is a symbol's, or ALL (server/every.py): `spot:*@kline_1m` is prepared, joined and left like
any other, and what its members get are the messages of each symbol's stream, as these.

Ordering a client can rely on: `prepare` first (it may wait for the bus), then, without an await in
between, `join` and the door's reply. Whatever arrives later is sent after the reply.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from bus.base import Bus
from market.announcements import DEMAND_TOPIC, MAX_STREAMS_PER_REPLICA, REPEAT_S, Demand, encode
from market.errors import Code, MarketError
from market.messages import Message
from market.ring import RESUME_S
from market.streams import Kind, Market, StreamName
from market.symbols import Catalog
from server.arbiter import Figures as ArbitrationFigures
from server.books import BookChannel, Books
from server.channels import ArbitratedChannel, Channel
from server.connections import Connection
from server.delivery import Delivery
from server.encodings import Encoding
from server.every import EveryChannel, every_with, is_every, withhold
from server.frames import Frame
from server.groups import Beats, Figures, Group, Pace
from server.lingering import LINGER_S, Lingering
from server.repairs import Repairs
from server.resume import Resume

CATCH_UP_S: Final = 0.5
"""How far one replica may be behind another for a client to move without a message coming twice, in s."""
_CATCH_UP_STEP_S: Final = 0.02

log = structlog.get_logger(__name__)


class Hub:
    """All channels of one replica. `deliver` is the bus's handler."""

    def __init__(
        self,
        bus: Bus,
        replica: str,
        delivery: Delivery,
        always: Iterable[StreamName] = (),
        *,
        linger_s: float = LINGER_S,
        resume_s: float = RESUME_S,
    ) -> None:
        self._bus = bus
        self._replica = replica
        self._delivery = delivery
        self._journeys = delivery.journeys
        self._always = tuple(always)
        self._lingering = Lingering(self._close_if_unwanted, linger_s, resume_s)
        self._channels: dict[StreamName, Channel] = {}
        self._trading: dict[Market, tuple[str, ...]] = {}
        self._beats = Beats()
        self.resume = Resume(bus, replica)
        self.books = Books(bus, self.resume, self._channels)
        self.arbitration = ArbitrationFigures()
        self.repairs = Repairs(bus)
        self._demand_changed = asyncio.Event()
        self._opened: list[Channel] = []
        """Channels that await their subscription, until the end of the call that opened them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.figures = Figures()
        self.received_total = 0
        self.unwanted_total = 0
        bus.on_messages(self.deliver)
        delivery.after_gap = self._after_gap

    async def start(self) -> None:
        """Open the channels that are always wanted and begin to announce demand."""
        self._spawn(self._announce_demand())
        await self.prepare(self._always)  # never released: pinned for good

    async def close(self) -> None:
        """Stop announcing.

        What is wanted here stays leased for LEASE_S: whoever moves to another replica misses nothing meanwhile.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.books.close()
        await self.repairs.close()
        self._beats.close()
        self._lingering.close()

    async def prepare(self, streams: Iterable[StreamName]) -> None:
        """Open a channel for each of `streams` and look up its last value; pairs with `release`.

        Returns once the bus delivers them, or at once while the bus is away. ALL of a market whose
        catalog has not come yet stands for nothing until `follow`. Raises MarketError
        (too_many_streams) where this replica would have more than ingestors take from one.
        """
        wanted = list(streams)
        self._check_room(wanted)
        for stream in wanted:
            if stream not in self._channels:
                self._open(stream)
            self._channels[stream].pins += 1
        self._begin_opened()
        await asyncio.gather(*(asyncio.shield(self._channels[stream].ready) for stream in wanted))

    def is_ready(self, streams: Iterable[StreamName]) -> bool:
        """Whether all of `streams` can be joined now: `prepare` would have nothing to wait for."""
        return all((channel := self._channels.get(stream)) and channel.ready.done() for stream in streams)

    def follow(self, catalog: Catalog) -> None:
        """Let ALL of the catalog's market stand for the symbols that trade now: listings come, delistings go."""
        self._trading[catalog.market] = catalog.trading
        for channel in tuple(self._channels.values()):
            if isinstance(channel, EveryChannel) and channel.stream.market is catalog.market:
                self._fit(channel)
        self._begin_opened()

    async def backfill(self, since: Mapping[StreamName, int]) -> None:
        """Bring prepared streams to where these cursors can be found in their past.

        What a client has seen on another replica and this one has not is waited for, CATCH_UP_S at most;
        of event streams, what was before this replica received them is asked for.
        """
        await self._catch_up(since)
        unknown = {
            stream: cursor
            for stream, cursor in since.items()
            if not stream.is_state and (channel := self._channels.get(stream)) and channel.since(cursor) is None
        }
        for stream, messages in (await self.resume.ask(unknown)).items():
            if stream in self._channels:  # a part of ALL may have been delisted meanwhile
                self._channels[stream].backfill(messages)

    def release(self, streams: Iterable[StreamName]) -> None:
        """Undo one `prepare`: what has no member by now begins to linger."""
        for stream in streams:
            channel = self._channels[stream]
            channel.pins -= 1
            self._linger(channel)

    def join(
        self,
        connection: Connection,
        stream: StreamName,
        encoding: Encoding,
        pace: Pace | None = None,
        *,
        shown: Collection[StreamName] = (),
    ) -> Channel:
        """Make `connection` a member of a prepared stream; the channel has the latest message and the recent past.

        A member that joins again with another pace changes to that pace. What a member of ALL also
        wants by name comes once, at the pace of the name, whichever was joined first. Who has the
        stream already misses nothing: what is pending goes out now, what is owed stays owed; but not
        of `shown`, the streams whose messages up to now the caller sends behind this (first_sight.py). What
        waits for the beat was before: whoever joins has it, is shown it, or does not want it.
        """
        channel = self._channels[stream]
        self._lingering.end(channel)
        withhold(connection, encoding, shown)
        group = channel.groups.get((encoding, pace))
        if group is None:
            group = channel.groups[encoding, pace] = channel.new_group(encoding, pace, self._delivery, self.figures)
            self._beats.add(group)
        former, every = connection.groups.get((stream, encoding)), every_with(connection, stream, encoding)
        if former is group:
            group.flush()
            return channel
        parts = {part.stream for part in channel.parts}
        if (source := former or every) is not None:
            source.let_through(connection, parts.difference(shown))
        if former is not None:
            self._end(connection, former)
        if every is not None:
            every.exclude(connection, stream)
        group.join(connection, channel.last)
        group.spare(connection, parts)
        return channel

    def leave(self, connection: Connection, stream: StreamName, encoding: Encoding) -> bool:
        """End a membership; False where there was none.

        Who leaves a symbol and stays in ALL, or the other way round, misses nothing of that symbol.
        """
        group = connection.groups.get((stream, encoding))
        if group is None:
            return False
        every = every_with(connection, stream, encoding)
        if every is None:
            self._leave(connection, group)
        else:
            group.flush()
            held = group.held(connection)
            self._end(connection, group)
            every.include(connection, stream, held)
        return True

    def drop(self, connection: Connection) -> None:
        """End all memberships of a connection that is gone."""
        for group in tuple(connection.groups.values()):
            self._leave(connection, group)

    def members(self, stream: StreamName, encoding: Encoding) -> list[Connection]:
        """Who gets `stream` in `encoding`, at whatever pace, by name or through ALL; each once."""
        channel = self._channels.get(stream)
        found: dict[Connection, None] = {}
        for source in (channel, channel.every) if channel else ():
            for group in source.groups.values() if source else ():
                if group.encoding is encoding:
                    found.update(group.members)
        return list(found)

    def channel(self, stream: StreamName) -> Channel:
        """The channel of a prepared stream."""
        return self._channels[stream]

    def last(self, stream: StreamName) -> Message | None:
        """The latest message of a stream that is open here."""
        channel = self._channels.get(stream)
        return channel.last if channel else None

    def deliver(self, messages: Sequence[Message]) -> None:
        """Push each message to the groups of its stream."""
        channels = self._channels
        self.received_total += len(messages)
        if self.received_total >= self._journeys.sampler.due:
            messages = self._deliver_sampled(messages)
        for message in messages:
            channel = channels.get(message.stream)
            if channel is None:
                self.unwanted_total += 1
            else:
                channel.take(message)

    def _deliver_sampled(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Deliver a batch up to the message that is sampled, and note what becomes of that; returns the rest."""
        journeys = self._journeys
        at = journeys.sampler.pick(self.received_total, len(messages))
        sampled = messages[at]
        replica_us = journeys.note_received(sampled)
        for message in messages[: at + 1]:
            channel = self._channels.get(message.stream)
            if channel is None:
                self.unwanted_total += 1
            else:
                channel.take(message)
        channel = self._channels.get(sampled.stream)
        # A second copy, or one that is held, is not the latest now.
        if channel is not None and channel.last is sampled and channel.sends_at_once:
            journeys.note_pushed(sampled, replica_us)
        return messages[at + 1 :]

    @property
    def streams(self) -> list[StreamName]:
        """The streams that this replica receives now."""
        return [stream for stream in self._channels if not is_every(stream)]

    def member_counts(self) -> dict[StreamName, int]:
        """How many memberships each stream has that has any; those in ALL count there alone."""
        return {
            channel.stream: sum(len(group.members) for group in channel.groups.values())
            for channel in self._channels.values()
            if channel.groups
        }

    def _leave(self, connection: Connection, group: Group) -> None:
        """End a membership, and owe nothing more of what is not wanted by name."""
        parts = self._channels[group.stream].parts
        self._end(connection, group)
        for part in parts:
            if (part.stream, group.encoding) not in connection.groups:
                connection.forget(part.stream, group.encoding)

    def _end(self, connection: Connection, group: Group) -> None:
        group.leave(connection)
        if not group.members:
            channel = self._channels[group.stream]
            del channel.groups[group.encoding, group.pace]
            self._beats.remove(group)
            self._linger(channel)

    def _check_room(self, wanted: Iterable[StreamName]) -> None:
        added = sum(
            len(self._trading.get(stream.market, ())) if is_every(stream) else 1
            for stream in wanted
            if stream not in self._channels
        )
        if added and len(self._channels) + added > MAX_STREAMS_PER_REPLICA:
            raise MarketError(
                Code.TOO_MANY_STREAMS, f"At most {MAX_STREAMS_PER_REPLICA} streams a replica; try again later"
            )

    def _open(self, stream: StreamName) -> Channel:
        ready = asyncio.get_running_loop().create_future()
        if is_every(stream):
            every = self._channels[stream] = EveryChannel(stream, ready)
            self._fit(every)
            self._spawn(every.await_parts())
            return every
        if stream.kind is Kind.BOOK:
            channel: Channel = self.books.open(stream, ready)
        else:
            channel = ArbitratedChannel(stream, ready, self.arbitration, self.repairs.watch)
        self._channels[stream] = channel
        self._opened.append(channel)
        return channel

    def _fit(self, every: EveryChannel) -> None:
        added, removed = every.fit(self._trading.get(every.stream.market, ()))
        for stream in added:
            every.add(self._channels.get(stream) or self._open(stream))
        for stream in removed:
            self._linger(every.remove(stream))

    def _begin_opened(self) -> None:
        """Announce and subscribe to what was opened, all at once."""
        opened, self._opened = self._opened, []
        if opened:
            self._demand_changed.set()
            self._spawn(self._begin(opened))

    async def _catch_up(self, since: Mapping[StreamName, int]) -> None:
        """Wait for messages that are on their way here: who has them already must not get them twice."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CATCH_UP_S
        while any((last := self.last(stream)) and last.cursor < cursor for stream, cursor in since.items()):
            if loop.time() > until:
                return
            await asyncio.sleep(_CATCH_UP_STEP_S)

    async def _begin(self, channels: list[Channel]) -> None:
        """Subscribe and look up last values, in this order, so that no message falls in between."""
        try:
            await self._bus.subscribe(channel.stream for channel in channels)
            stored = await self._bus.get([channel.stream.last_key for channel in channels])
            for channel, data in zip(channels, stored, strict=True):
                if data is not None and channel.last is None:
                    channel.begin_if_fresh(Message.decode(channel.stream, data))
            await self.books.load(channels)
        finally:
            for channel in channels:
                channel.ready.set_result(None)

    def _after_gap(self, stream: StreamName, encoding: Encoding) -> Frame | None:
        """What a client gets that has missed messages of an event stream: of a book a snapshot."""
        channel = self._channels.get(stream)
        return channel.renewal(encoding) if isinstance(channel, BookChannel) else None

    def _linger(self, channel: Channel) -> None:
        """Close a channel that nobody wants, but only if nobody wants it for a while."""
        if not channel.wanted:
            self._lingering.begin(channel)

    def _close_if_unwanted(self, channel: Channel) -> None:
        if channel.wanted:  # by a caller between `prepare` and `release`, who lets it linger again
            return
        self._demand_changed.set()
        self._spawn(self._unsubscribe(self._close(channel)))

    def _close(self, channel: Channel) -> list[StreamName]:
        """Forget a channel, with ALL the parts that nobody wants by name; what the bus need not bring any more."""
        del self._channels[channel.stream]
        self._lingering.end(channel)
        if not isinstance(channel, EveryChannel):
            return [channel.stream]
        parts = [channel.remove(part.stream) for part in tuple(channel.parts)]
        return [stream for part in parts if not part.wanted for stream in self._close(part)]

    async def _unsubscribe(self, streams: list[StreamName]) -> None:
        await self._bus.unsubscribe(streams)
        if again := [stream for stream in streams if stream in self._channels]:  # wanted while we were unsubscribing
            await self._bus.subscribe(again)

    async def _announce_demand(self) -> None:
        """Announce the whole demand when it changes and every REPEAT_S."""
        while True:
            self._demand_changed.clear()
            demand = Demand(self._replica, [str(stream) for stream in self.streams])
            await self._bus.announce(DEMAND_TOPIC, encode(demand))
            try:
                async with asyncio.timeout(REPEAT_S):
                    await self._demand_changed.wait()
            except TimeoutError:
                continue

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("hub task failed", exc_info=error)
