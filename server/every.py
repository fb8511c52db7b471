"""ALL: every trading symbol of a market in one subscription, of which a client is a member once.

`spot:*@kline_1m` stands for one stream a symbol. Each of these is received once, as if somebody had
asked for it by name; what comes goes to the members of ALL as well, in frames of the symbol's stream.

A client may want ALL and one of its symbols by name, in the same encoding. Both wishes are kept, the
messages of that symbol come once, and at the pace that was asked for by name.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping

import msgspec

from market.messages import Message
from market.streams import ALL, ARRAY, Kind, StreamName
from server.channels import Channel
from server.connections import Connection
from server.delivery import Delivery
from server.encodings import Encoding
from server.frames import Batch, Frame
from server.groups import Figures, Group, Pace, came_at


def is_every(stream: StreamName) -> bool:
    """Whether `stream` stands for one stream a symbol; liquidations of all symbols are one stream of Binance's."""
    return stream.symbol == ALL and stream.kind is not Kind.FORCE_ORDER


def every_of(stream: StreamName) -> StreamName | None:
    """The ALL that a symbol's stream is part of; None for what is no single symbol's."""
    return None if stream.symbol in (ALL, ARRAY) else msgspec.structs.replace(stream, symbol=ALL)


def every_with(connection: Connection, stream: StreamName, encoding: Encoding) -> "EveryGroup | None":
    """The group in which `connection` gets a symbol's stream through ALL, if it does."""
    every = every_of(stream)
    group = connection.groups.get((every, encoding)) if every else None
    return group if isinstance(group, EveryGroup) else None


def withhold(connection: Connection, encoding: Encoding, shown: Iterable[StreamName]) -> None:
    """Of streams that a client is shown anew, by name or through ALL, send nothing that is pending or owed."""
    by_group: dict[Group, list[StreamName]] = {}
    for stream in shown if connection.groups else ():
        group = connection.groups.get((stream, encoding)) or every_with(connection, stream, encoding)
        if group is not None:
            by_group.setdefault(group, []).append(stream)
    for group, streams in by_group.items():
        group.withhold(connection, streams)


class EveryChannel(Channel):
    """The streams of all trading symbols: its parts change with the catalog, its groups are the members of ALL.

    It has no latest message and no past of its own; its parts have.
    """

    __slots__ = ("_parts",)

    def __init__(self, stream: StreamName, ready: "asyncio.Future[None]") -> None:
        super().__init__(stream, ready)
        self._parts: dict[StreamName, Channel] = {}

    @property
    def parts(self) -> Collection[Channel]:
        """The channels of the symbols that trade now."""
        return self._parts.values()

    async def await_parts(self) -> None:
        """Be ready once all parts of now are."""
        try:
            if parts := [part.ready for part in self.parts]:
                await asyncio.wait(parts)
        finally:
            self.ready.set_result(None)

    def fit(self, symbols: Iterable[str]) -> tuple[list[StreamName], list[StreamName]]:
        """What is to be added and removed (`add`, `remove`) now that `symbols` trade."""
        wanted = {msgspec.structs.replace(self.stream, symbol=symbol.lower()): None for symbol in symbols}
        added = [stream for stream in wanted if stream not in self._parts]
        return added, [stream for stream in self._parts if stream not in wanted]

    def add(self, part: Channel) -> None:
        """Deliver what comes on `part` to the members of ALL, and keep it open."""
        self._parts[part.stream] = part
        part.every = self
        part.pins += 1

    def remove(self, stream: StreamName) -> Channel:
        """Deliver nothing more of a part, and owe nothing more of it."""
        part = self._parts.pop(stream)
        part.every = None
        part.pins -= 1
        for group in self.groups.values():
            if isinstance(group, EveryGroup):
                group.forget(stream)
        return part

    def spread(self, message: Message, own: Mapping[tuple[Encoding, Pace | None], Group]) -> None:
        """Push a part's message to its `own` groups and to those of ALL; groups of one encoding share the frame."""
        frames: dict[Encoding, Frame | None] = {}
        for groups in (own, self.groups):
            for (encoding, pace), group in groups.items():
                if pace is not None:
                    group.push(message)
                    continue
                if encoding not in frames:
                    frames[encoding] = group.encode(message)
                if (frame := frames[encoding]) is not None:
                    group.add(frame)

    def new_group(self, encoding: Encoding, pace: Pace | None, delivery: Delivery, figures: Figures) -> "EveryGroup":
        """A group of members of ALL."""
        return EveryGroup(self, encoding, pace, delivery, figures)


class EveryGroup(Group):
    """Members of ALL in one encoding and at one pace, which holds for each symbol by itself."""

    __slots__ = ("_every", "_held", "_held_at", "_named")

    def __init__(
        self, every: EveryChannel, encoding: Encoding, pace: Pace | None, delivery: Delivery, figures: Figures
    ) -> None:
        super().__init__(every.stream, encoding, pace, delivery, figures)
        self._every = every
        self._held: dict[StreamName, Message] = {}
        """The latest message of each symbol that waits for the beat."""
        self._held_at: dict[StreamName, float] = {}
        """When each came, of a repeating pace."""
        self._named: dict[Connection, frozenset[StreamName]] = {}
        """Which symbols' streams a member also wants by name: those come by their own groups."""

    def push(self, message: Message) -> None:
        """Send `message` to all members at the end of this turn, or when their pace allows."""
        if self.pace is None:
            super().push(message)
        else:
            self._held[message.stream] = message
            if self.pace.repeat:
                self._held_at[message.stream] = time.monotonic()

    def beat(self) -> None:
        """Send each symbol's latest message: the pace's interval is over."""
        if self.pace is None:
            return
        due = list(self._held.values())
        if self.pace.repeat:
            oldest = time.monotonic() - self.pace.fresh_ms / 1_000
            due = [message for message in due if self._held_at[message.stream] >= oldest]
        else:
            self._held.clear()
        self._send_due(due)

    def join(self, connection: Connection, latest: Message | None) -> None:
        """Add a member, who gets what comes from now on; a repeating pace begins with the latest of each symbol."""
        super().join(connection, latest)
        named = frozenset(
            stream
            for stream, encoding in connection.groups
            if encoding is self.encoding and every_of(stream) == self.stream
        )
        if named:
            self._named[connection] = named
        if self.pace is not None and self.pace.repeat and not self._held:
            self._held = {part.stream: part.last for part in self._every.parts if part.last is not None}
            self._held_at = {stream: came_at(message) for stream, message in self._held.items()}

    def leave(self, connection: Connection) -> None:
        """Remove a member."""
        super().leave(connection)
        self._named.pop(connection, None)

    def held(self, connection: Connection) -> list[Message]:
        """What waits for the beat to go to a member."""
        if self.pace is None or self.pace.repeat:
            return []
        named = self._named.get(connection, ())
        return [
            message
            for stream, message in self._held.items()
            if stream not in named and not self._has(connection, message)
        ]

    def exclude(self, connection: Connection, stream: StreamName) -> None:
        """From now on a member gets `stream` by name."""
        self.flush()  # what is pending was before
        self._named[connection] = self._named.get(connection, frozenset()) | {stream}

    def include(self, connection: Connection, stream: StreamName, held: Collection[Message]) -> None:
        """From now on a member gets `stream` from here again; `held` is what its pace there had not let through."""
        self.flush()  # what is pending came by name
        named = self._named.pop(connection) - {stream}
        if named:
            self._named[connection] = named
        for message in held:
            if stream not in self._held and (frame := self.encode(message)) is not None:
                connection.send(Batch([frame]))
        if not held:
            self.spare(connection, (stream,))

    def forget(self, stream: StreamName) -> None:
        """Owe nobody anything more of a symbol's stream."""
        self._held.pop(stream, None)
        self._held_at.pop(stream, None)
        for connection in self.members:
            if stream not in self._named.get(connection, ()):
                connection.forget(stream, self.encoding)

    def flush(self) -> None:
        """Hand what is pending to the members' outboxes: one batch for all that want nothing by name."""
        if not self._named:
            super().flush()
            return
        frames, self._pending = self._pending, []
        if not frames:
            return
        self._figures.encoded_total += len(frames)
        batches: dict[frozenset[StreamName], Batch] = {frozenset(): Batch(frames)}
        for connection in self.members:
            named = self._named.get(connection, frozenset())
            if named not in batches:
                batches[named] = Batch([frame for frame in frames if frame.stream not in named])
            batch = batches[named]
            if batch.frames:
                connection.send(batch)
                self._figures.delivered_total += len(batch.frames)

    def _flush_without(self, without: Mapping[Connection, Collection[StreamName]]) -> None:
        """Flush, but to some members nothing of these streams, as if they got them by name."""
        if not self._pending:
            return
        named = self._named
        self._named = named | {one: named.get(one, frozenset()).union(streams) for one, streams in without.items()}
        self.flush()
        self._named = named
