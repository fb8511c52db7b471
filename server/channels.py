"""One stream on this replica: what was last said, the recent past, and who gets it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import structlog

from market.continuity import past_before
from market.freshness import fresh_ms
from market.messages import Message
from market.ring import Ring
from market.streams import StreamName
from server.arbiter import Figures as ArbitrationFigures
from server.arbiter import Hole
from server.arbitration import arbiter_of
from server.delivery import Delivery
from server.encodings import Encoding
from server.frames import Frame
from server.groups import Figures, Group, Pace

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from server.every import EveryChannel


class Channel:
    """One stream that this replica receives: its latest message, its recent past, and its groups."""

    __slots__ = ("every", "groups", "last", "pins", "ready", "ring", "stream")

    def __init__(self, stream: StreamName, ready: asyncio.Future[None]) -> None:
        self.stream = stream
        self.ready = ready
        """Done once the bus subscription stands and the last value was looked up."""
        self.last: Message | None = None
        self.ring = None if stream.is_state else Ring()
        self.groups: dict[tuple[Encoding, Pace | None], Group] = {}
        self.every: EveryChannel | None = None
        """The open ALL that this stream is part of: its members get the messages too."""
        self.pins = 0
        """How many callers between `prepare` and `release` keep the channel open."""

    @property
    def wanted(self) -> bool:
        """Whether anybody is a member or about to become one."""
        return bool(self.groups) or self.pins > 0

    @property
    def sends_at_once(self) -> bool:
        """Whether a message that is accepted goes to any member at the end of this turn, and not at a pace alone."""
        every = self.every.groups if self.every is not None else {}
        return any(pace is None for groups in (self.groups, every) for _, pace in groups)

    @property
    def parts(self) -> Collection[Channel]:
        """The channels whose messages a member gets: this one, or of ALL one a symbol (server/every.py)."""
        return (self,)

    def new_group(self, encoding: Encoding, pace: Pace | None, delivery: Delivery, figures: Figures) -> Group:
        """A group of members of this stream."""
        return Group(self.stream, encoding, pace, delivery, figures)

    def begin(self, message: Message) -> None:
        """Take what came before this replica received the stream as the latest message."""
        self.last = message

    def begin_if_fresh(self, kept: Message) -> None:
        """Begin with the cache's value; what may have been replaced, unheard, is not passed off as the latest."""
        if time.time_ns() // 1000 - kept.received_us <= fresh_ms(self.stream) * 1000:
            self.begin(kept)

    def take(self, message: Message) -> None:
        """Take a live message as it comes."""
        self.accept(message)

    def accept(self, message: Message) -> None:
        """Remember the next message and push it to all groups."""
        self.last = message
        if self.ring is not None:
            self.ring.append(message)
        if self.every is not None:
            self.every.spread(message, self.groups)
            return
        for group in self.groups.values():
            group.push(message)

    def backfill(self, messages: list[Message]) -> None:
        """Remember what came before this replica received the stream; the same messages may still arrive live."""
        if self.ring is None:
            return
        past = past_before(self.stream, messages, self.ring.oldest)
        if past and not len(self.ring):
            self.begin(past[-1])
        self.ring.prepend(past)

    @property
    def snapshot(self) -> Message | None:
        """What a new subscriber is shown first: of a state stream the latest value, of an event stream nothing."""
        return self.last if self.stream.is_state else None

    def notice(self, encoding: Encoding) -> Frame | None:  # noqa: ARG002 # a book has one
        """What a newcomer is told that is no message of the stream: nothing, where nothing is wrong."""
        return None

    def since(self, cursor: int) -> list[Message] | None:
        """What a client that has seen `cursor` missed, in order; None where that cannot be told.

        Of a state stream only the latest value matters: that, if it is newer.
        """
        if self.ring is not None:
            return self.ring.since(cursor)
        if self.last is None:
            return None
        # What a client saw elsewhere may be newer than what was looked up here.
        return [self.last] if self.last.cursor > cursor else []


class ArbitratedChannel(Channel):
    """A stream that comes in copies, some of them late: all but `take` see each message once, and in order.

    `on_hole` is called with each message that comes while others before it are missing.
    """

    __slots__ = ("_arbiter", "_figures", "_on_hole")

    def __init__(
        self,
        stream: StreamName,
        ready: asyncio.Future[None],
        figures: ArbitrationFigures,
        on_hole: Callable[[ArbitratedChannel], None],
    ) -> None:
        super().__init__(stream, ready)
        self._figures = figures
        self._on_hole = on_hole
        self._arbiter = arbiter_of(stream, figures, self._forget_past)

    @property
    def hole(self) -> Hole | None:
        """What is missing before the messages that wait; None while nothing is."""
        return self._arbiter.hole

    @property
    def is_full(self) -> bool:
        """Whether no more messages can wait."""
        return self._arbiter.is_full

    def begin(self, message: Message) -> None:
        """Take what came before this replica received the stream as the latest message."""
        super().begin(message)
        self._arbiter.begin(message)

    def take(self, message: Message) -> None:
        """Take one copy of a live message, and accept what is in order now."""
        arbiter = self._arbiter
        for following in arbiter.take(message):
            self.accept(following)
        if arbiter.hole is not None:
            self._on_hole(self)

    def repair(self, messages: Sequence[Message], *, first: int, last: int, complete: bool) -> None:
        """Take what was got of the hole from `first` to `last`; `complete`: nothing else ever was in it."""
        for following in self._arbiter.fill(messages):
            self.accept(following)
        while (hole := self._arbiter.hole) is not None and first <= hole.first and hole.last <= last:
            if complete:
                self._pass_over()
            else:
                self.give_up()

    def give_up(self) -> None:
        """Tell all members of the hole, and go on behind it."""
        hole = self._arbiter.hole
        if hole is None:
            return
        self._figures.gaps_total += 1
        count = self._figures.gaps_total
        if count & (count - 1) == 0:  # 1, 2, 4, 8, ...
            log.warning("messages lost upstream", stream=str(self.stream), missed=hole.missed, count=count)
        self._forget_past()
        for groups in (self.groups, self.every.groups if self.every is not None else {}):
            for group in groups.values():
                group.tell_gap(self.stream, hole.missed, hole.until)
        self._pass_over()

    def _pass_over(self) -> None:
        for following in self._arbiter.pass_over():
            self.accept(following)

    def _forget_past(self) -> None:
        """Nothing that comes now follows what is remembered."""
        if self.ring is not None:
            self.ring.clear()
