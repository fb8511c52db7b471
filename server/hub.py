"""The hub: who wants what on this replica, what was last said, and the way of a message to its members.

Ordering a client can rely on: `prepare` first (it may wait for the bus), then, without an await in
between, `join` and the door's reply. Whatever arrives later is sent after the reply.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from bus.base import Bus
from market.announcements import DEMAND_TOPIC, REPEAT_S, Demand, encode
from market.messages import Message
from market.streams import StreamName
from server.channels import Channel
from server.connections import Connection
from server.delivery import Delivery
from server.encodings import Encoding
from server.groups import Beats, Figures, Group, Pace
from server.resume import Resume

LINGER_S: Final = 5.0
"""How long the bus subscription of a stream outlives its last member, in s."""

log = structlog.get_logger(__name__)


class Hub:
    """All channels of one replica. `deliver` is the bus's handler."""

    def __init__(
        self, bus: Bus, replica: str, delivery: Delivery, always: Iterable[StreamName] = (), linger_s: float = LINGER_S
    ) -> None:
        self._bus = bus
        self._replica = replica
        self._delivery = delivery
        self._always = tuple(always)
        self._linger_s = linger_s
        self._channels: dict[StreamName, Channel] = {}
        self._beats = Beats()
        self._resume = Resume(bus, replica)
        self._demand_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.figures = Figures()
        self.received_total = 0
        self.unwanted_total = 0
        bus.on_messages(self.deliver)

    async def start(self) -> None:
        """Open the channels that are always wanted and begin to announce demand."""
        self._spawn(self._announce_demand())
        await self.prepare(self._always)  # never released: pinned for good

    async def close(self) -> None:
        """Stop announcing and tell ingestors that nothing is wanted here any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._beats.close()
        for channel in self._channels.values():
            if channel.linger:
                channel.linger.cancel()
        await self._bus.announce(DEMAND_TOPIC, encode(Demand(self._replica, [])))

    async def prepare(self, streams: Iterable[StreamName]) -> None:
        """Open a channel for each of `streams` and look up its last value; pairs with `release`.

        Returns once the bus delivers them, or at once while the bus is away.
        """
        wanted = list(streams)
        opened = [self._open(stream) for stream in wanted if stream not in self._channels]
        for stream in wanted:
            self._channels[stream].pins += 1
        if opened:
            self._demand_changed.set()
            self._spawn(self._begin(opened))
        await asyncio.gather(*(asyncio.shield(self._channels[stream].ready) for stream in wanted))

    async def backfill(self, since: Mapping[StreamName, int]) -> None:
        """Ask for the past of prepared event streams that does not reach back to these cursors here."""
        unknown = {
            stream: cursor
            for stream, cursor in since.items()
            if not stream.is_state and self._channels[stream].since(cursor) is None
        }
        for stream, messages in (await self._resume.ask(unknown)).items():
            self._channels[stream].backfill(messages)

    def release(self, streams: Iterable[StreamName]) -> None:
        """Undo one `prepare`: what has no member by now begins to linger."""
        for stream in streams:
            channel = self._channels[stream]
            channel.pins -= 1
            self._linger(channel)

    def join(self, connection: Connection, stream: StreamName, encoding: Encoding, pace: Pace | None = None) -> Channel:
        """Make `connection` a member of a prepared stream; the channel has the latest message and the recent past.

        A member that joins again with another pace changes to that pace.
        """
        channel = self._channels[stream]
        self.leave(connection, stream, encoding)
        group = channel.groups.get((encoding, pace))
        if group is None:
            group = channel.groups[encoding, pace] = Group(stream, encoding, pace, self._delivery, self.figures)
            self._beats.add(group)
        group.join(connection, channel.last)
        return channel

    def leave(self, connection: Connection, stream: StreamName, encoding: Encoding) -> bool:
        """End a membership; False where there was none."""
        group = connection.groups.get((stream, encoding))
        if group is None:
            return False
        self._leave(connection, group)
        return True

    def drop(self, connection: Connection) -> None:
        """End all memberships of a connection that is gone."""
        for group in tuple(connection.groups.values()):
            self._leave(connection, group)

    def members(self, stream: StreamName, encoding: Encoding) -> list[Connection]:
        """Who gets `stream` in `encoding`, at whatever pace."""
        channel = self._channels.get(stream)
        groups = channel.groups.values() if channel else ()
        return [member for group in groups if group.encoding is encoding for member in group.members]

    def last(self, stream: StreamName) -> Message | None:
        """The latest message of a stream that is open here."""
        channel = self._channels.get(stream)
        return channel.last if channel else None

    def deliver(self, messages: Sequence[Message]) -> None:
        """Push each message to the groups of its stream."""
        channels = self._channels
        self.received_total += len(messages)
        for message in messages:
            channel = channels.get(message.stream)
            if channel is None:
                self.unwanted_total += 1
            else:
                channel.take(message)

    @property
    def streams(self) -> list[StreamName]:
        """The streams that this replica receives now."""
        return list(self._channels)

    def member_counts(self) -> dict[StreamName, int]:
        """How many memberships each stream has that has any."""
        return {
            channel.stream: sum(len(group.members) for group in channel.groups.values())
            for channel in self._channels.values()
            if channel.groups
        }

    def _leave(self, connection: Connection, group: Group) -> None:
        group.leave(connection)
        if not group.members:
            channel = self._channels[group.stream]
            del channel.groups[group.encoding, group.pace]
            self._beats.remove(group)
            self._linger(channel)

    def _open(self, stream: StreamName) -> Channel:
        channel = Channel(stream, asyncio.get_running_loop().create_future())
        self._channels[stream] = channel
        return channel

    async def _begin(self, channels: list[Channel]) -> None:
        """Subscribe and look up last values, in this order, so that no message falls in between."""
        try:
            await self._bus.subscribe(channel.stream for channel in channels)
            stored = await self._bus.get([channel.stream.last_key for channel in channels])
            for channel, data in zip(channels, stored, strict=True):
                if data is not None and channel.last is None:
                    channel.last = Message.decode(channel.stream, data)
                    channel.seam_us = channel.last.received_us
        finally:
            for channel in channels:
                channel.ready.set_result(None)

    def _linger(self, channel: Channel) -> None:
        """Close a channel that nobody wants, but only if nobody wants it a little later either."""
        if channel.wanted or channel.linger:
            return
        loop = asyncio.get_running_loop()
        channel.linger = loop.call_later(self._linger_s, self._close_if_unwanted, channel)

    def _close_if_unwanted(self, channel: Channel) -> None:
        channel.linger = None
        if channel.wanted:
            return
        del self._channels[channel.stream]
        self._demand_changed.set()
        self._spawn(self._unsubscribe(channel.stream))

    async def _unsubscribe(self, stream: StreamName) -> None:
        await self._bus.unsubscribe([stream])
        if stream in self._channels:  # wanted again while we were unsubscribing
            await self._bus.subscribe([stream])

    async def _announce_demand(self) -> None:
        """Announce the whole demand when it changes and every REPEAT_S."""
        while True:
            self._demand_changed.clear()
            demand = Demand(self._replica, [str(stream) for stream in self._channels])
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
