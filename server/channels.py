"""One stream on this replica: what was last said, the recent past, and who gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from market.messages import Message
from market.ring import Ring
from market.streams import StreamName
from server.delivery import Delivery
from server.encodings import Encoding
from server.frames import Frame
from server.groups import Figures, Group, Pace

if TYPE_CHECKING:
    from server.every import EveryChannel


class Channel:
    """One stream that this replica receives: its latest message, its recent past, and its groups."""

    __slots__ = ("every", "groups", "last", "linger", "pins", "ready", "ring", "seam_us", "stream")

    def __init__(self, stream: StreamName, ready: asyncio.Future[None]) -> None:
        self.stream = stream
        self.ready = ready
        """Done once the bus subscription stands and the last value was looked up."""
        self.last: Message | None = None
        self.ring = None if stream.is_state else Ring()
        self.seam_us = 0
        """`received_us` of the last value that came from the cache: live messages up to it are the same ones."""
        self.groups: dict[tuple[Encoding, Pace | None], Group] = {}
        self.every: EveryChannel | None = None
        """The open ALL that this stream is part of: its members get the messages too."""
        self.pins = 0
        """How many callers between `prepare` and `release` keep the channel open."""
        self.linger: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody is a member or about to become one."""
        return bool(self.groups) or self.pins > 0

    @property
    def parts(self) -> Collection[Channel]:
        """The channels whose messages a member gets: this one, or of ALL one a symbol (server/every.py)."""
        return (self,)

    def new_group(self, encoding: Encoding, pace: Pace | None, delivery: Delivery, figures: Figures) -> Group:
        """A group of members of this stream."""
        return Group(self.stream, encoding, pace, delivery, figures)

    def take(self, message: Message) -> None:
        """Remember a live message and push it to all groups."""
        if message.received_us <= self.seam_us:
            return  # the last value from the cache was this message or a later one
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
        if self.ring is None or not messages:
            return
        if not len(self.ring):
            self.seam_us = messages[-1].received_us
            self.last = messages[-1]
        self.ring.prepend(messages)

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
        return [] if self.last.cursor == cursor else [self.last]
