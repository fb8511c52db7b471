"""Groups: the members of one stream that get it in the same encoding and at the same pace, and share its frames."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import structlog

from market.messages import Message
from market.streams import StreamName
from server.connections import Connection
from server.delivery import Delivery
from server.encodings import Encoding
from server.frames import Batch, Frame

log = structlog.get_logger(__name__)


class Pace(NamedTuple):
    """At most one message per `interval_ms`: the latest, if it is news.

    With `repeat` the latest is sent at every interval, news or not, while it is at most
    `fresh_ms` old: an older price is not passed off as live.
    """

    interval_ms: int
    repeat: bool = False
    fresh_ms: int = 10_000


class Figures:
    """What all groups of one replica count."""

    def __init__(self) -> None:
        self.delivered_total = 0
        """Messages handed to members, counted once for each member."""
        self.encoded_total = 0
        """Frames of all groups, each counted once however many members share it."""
        self.encode_errors_total = 0


class Group:
    """Members that share frames. Messages are encoded as they come and leave together at the end of the turn."""

    __slots__ = (
        "_delivery",
        "_figures",
        "_had",
        "_latest",
        "_latest_at",
        "_pending",
        "encoding",
        "members",
        "pace",
        "stream",
    )

    def __init__(
        self, stream: StreamName, encoding: Encoding, pace: Pace | None, delivery: Delivery, figures: Figures
    ) -> None:
        self.stream = stream
        self.encoding = encoding
        self.pace = pace
        self.members: dict[Connection, None] = {}
        self._delivery = delivery
        self._figures = figures
        self._pending: list[Frame] = []
        self._latest: Message | None = None
        self._latest_at = 0.0
        self._had: dict[Connection, dict[StreamName, Message]] = {}
        """What members have already of what waits for the beat, by stream: it may be replaced until then."""

    def push(self, message: Message) -> None:
        """Send `message` to all members at the end of this turn, or when their pace allows."""
        if self.pace is not None:
            self._latest, self._latest_at = message, time.monotonic()
        elif (frame := self.encode(message)) is not None:
            if not self._pending:  # `add` without the call: this is the hot path
                self._delivery.schedule_group(self)
            self._pending.append(frame)

    def held(self, connection: Connection) -> list[Message]:
        """What waits for the beat to go to a member; of a repeating pace nothing, as it is sent again anyway."""
        if self.pace is None or self.pace.repeat or self._latest is None or self._has(connection, self._latest):
            return []
        return [self._latest]

    def let_through(self, connection: Connection, streams: Collection[StreamName]) -> None:
        """Send what is pending now, and to one member what its pace holds back of `streams`."""
        self.flush()
        held = [self.encode(message) for message in self.held(connection) if message.stream in streams]
        if frames := [frame for frame in held if frame is not None]:
            connection.send(Batch(frames))

    def withhold(self, connection: Connection, streams: Collection[StreamName]) -> None:
        """Send a member nothing of what is pending or owed of `streams`: it is shown them anew."""
        self._flush_without({connection: streams})
        for stream in streams:
            connection.forget(stream, self.encoding)
        self.spare(connection, streams)

    def spare(self, connection: Connection, streams: Collection[StreamName]) -> None:
        """Send a member nothing of what waits for the beat now of `streams`: it has that."""
        if had := {message.stream: message for message in self.held(connection) if message.stream in streams}:
            self._had.setdefault(connection, {}).update(had)

    def beat(self) -> None:
        """Send the latest message: the pace's interval is over."""
        message = self._latest
        if message is None or self.pace is None:
            return
        if not self.pace.repeat:
            self._latest = None
        elif time.monotonic() - self._latest_at > self.pace.fresh_ms / 1_000:
            return
        self._send_due([message])

    def join(self, connection: Connection, latest: Message | None) -> None:
        """Add a member, who gets what comes from now on; `latest` is what a repeating pace begins with."""
        self.flush()  # what is pending was before the newcomer
        self.members[connection] = None
        connection.groups[self.stream, self.encoding] = self
        if self.pace is not None and self.pace.repeat and self._latest is None:
            self._latest = latest
            if latest is not None:
                self._latest_at = came_at(latest)

    def leave(self, connection: Connection) -> None:
        """Remove a member."""
        del self.members[connection]
        self._had.pop(connection, None)
        del connection.groups[self.stream, self.encoding]

    def flush(self) -> None:
        """Hand what is pending to the members' outboxes, as one batch."""
        if not self._pending:
            return
        frames, self._pending = self._pending, []
        batch = Batch(frames)
        for connection in self.members:
            connection.send(batch)
        figures = self._figures
        figures.encoded_total += len(frames)
        figures.delivered_total += len(frames) * len(self.members)

    def encode(self, message: Message) -> Frame | None:
        """The frame that carries `message`; None for one that cannot be encoded, which is counted."""
        encoding = self.encoding
        try:
            return Frame(message.stream, message.cursor, encoding, encoding.encode(message))
        except ValueError as error:  # a payload that the exchange changed: this stream's problem alone
            self._figures.encode_errors_total += 1
            count = self._figures.encode_errors_total
            if count & (count - 1) == 0:  # 1, 2, 4, 8, ...
                log.warning("payload not encoded", stream=str(message.stream), error=str(error), count=count)
            return None

    def tell_gap(self, stream: StreamName, missed: int, until: int) -> None:
        """Tell all members, where their protocol can, what of `stream` the exchange sent and nobody received."""
        body = self.encoding.gap(stream, missed, until, upstream=True)
        if body is not None:
            self.add(Frame(stream, until, self.encoding, body))

    def add(self, frame: Frame) -> None:
        """Send `frame` to all members at the end of this turn."""
        if not self._pending:
            self._delivery.schedule_group(self)
        self._pending.append(frame)

    def _has(self, connection: Connection, message: Message) -> bool:
        return self._had.get(connection, {}).get(message.stream) is message

    def _send_due(self, due: Sequence[Message]) -> None:
        """Send what waited for the beat to all members but those that have it."""
        if self._had:
            self.flush()  # what is pending nobody has
        for message in due:
            if (frame := self.encode(message)) is not None:
                self.add(frame)
        if self._had:
            latest = {message.stream: message for message in due}
            without = {
                connection: streams
                for connection, had in self._had.items()
                if (streams := [stream for stream, message in had.items() if latest.get(stream) is message])
            }
            self._flush_without(without)
            self._had.clear()

    def _flush_without(self, without: Mapping[Connection, Collection[StreamName]]) -> None:
        """Flush, but to some members nothing of these streams: here they are all this one."""
        if not self._pending:
            return
        for connection in without:
            del self.members[connection]
        self.flush()
        self.members.update(dict.fromkeys(without))


def came_at(message: Message) -> float:
    """About when a message came that this replica may not have received itself: `time.monotonic()`, at most now.

    Of what it received itself it knows better: an ingestor's clock may be wrong.
    """
    return time.monotonic() - max(0.0, time.time() - message.received_us / 1_000_000)


class Beats:
    """One timer for each pace in use, which all groups of that pace share."""

    def __init__(self) -> None:
        self._groups: dict[Pace, dict[Group, None]] = {}
        self._timers: dict[Pace, asyncio.TimerHandle] = {}

    def add(self, group: Group) -> None:
        """Let `group` beat, if it has a pace."""
        if group.pace is None:
            return
        self._groups.setdefault(group.pace, {})[group] = None
        if group.pace not in self._timers:
            self._wait(group.pace, asyncio.get_running_loop().time())

    def remove(self, group: Group) -> None:
        """Let `group` beat no longer; a pace without groups has no timer."""
        if group.pace is None:
            return
        groups = self._groups[group.pace]
        groups.pop(group, None)
        if not groups:
            del self._groups[group.pace]
            self._timers.pop(group.pace).cancel()

    def close(self) -> None:
        """Stop all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._groups.clear()

    def _wait(self, pace: Pace, since: float) -> None:
        """Beat one interval after `since`: late beats do not push back the later ones."""
        loop = asyncio.get_running_loop()
        due = max(since + pace.interval_ms / 1000, loop.time())
        self._timers[pace] = loop.call_at(due, self._beat, pace, due)

    def _beat(self, pace: Pace, due: float) -> None:
        self._wait(pace, due)
        for group in list(self._groups[pace]):
            group.beat()
