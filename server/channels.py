"""One stream on this replica: what was last said, the recent past, and who gets it."""

import asyncio

from market.messages import Message
from market.ring import Ring
from market.streams import StreamName
from server.encodings import Encoding
from server.groups import Group, Pace


class Channel:
    """One stream that this replica receives: its latest message, its recent past, and its groups."""

    __slots__ = ("groups", "last", "linger", "pins", "ready", "ring", "seam_us", "stream")

    def __init__(self, stream: StreamName, ready: "asyncio.Future[None]") -> None:
        self.stream = stream
        self.ready = ready
        """Done once the bus subscription stands and the last value was looked up."""
        self.last: Message | None = None
        self.ring = None if stream.is_state else Ring()
        self.seam_us = 0
        """`received_us` of the last value that came from the cache: live messages up to it are the same ones."""
        self.groups: dict[tuple[Encoding, Pace | None], Group] = {}
        self.pins = 0
        """How many callers between `prepare` and `release` keep the channel open."""
        self.linger: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody is a member or about to become one."""
        return bool(self.groups) or self.pins > 0

    def take(self, message: Message) -> None:
        """Remember a live message and push it to all groups."""
        if message.received_us <= self.seam_us:
            return  # the last value from the cache was this message or a later one
        self.last = message
        if self.ring is not None:
            self.ring.append(message)
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

    def since(self, cursor: int) -> list[Message] | None:
        """What a client that has seen `cursor` missed, in order; None where that cannot be told.

        Of a state stream only the latest value matters: that, if it is newer.
        """
        if self.ring is not None:
            return self.ring.since(cursor)
        if self.last is None:
            return None
        return [] if self.last.cursor == cursor else [self.last]
