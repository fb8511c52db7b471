"""Channels that nobody wants any more, and how long each stays open for those who come back."""

import asyncio
from collections.abc import Callable
from typing import Final

from market.ring import RESUME_S
from market.streams import Kind, StreamName
from server.channels import Channel

LINGER_S: Final = 5.0
"""How long a stream outlives its last member, in s."""
MAX_RESUMABLE: Final = 1024
"""Streams without a member that are kept for as long as a client may be away."""


class Lingering:
    """Lets each channel go (`close`) when its time is over: `linger_s` after its last member left.

    A stream whose past matters stays for `resume_s`, so that whoever was its only member finds
    everything missed. At most MAX_RESUMABLE streams are kept that way, those that were left last; of
    ALL every symbol's counts.
    """

    def __init__(
        self, close: Callable[[Channel], None], linger_s: float = LINGER_S, resume_s: float = RESUME_S
    ) -> None:
        self._close = close
        self._linger_s = linger_s
        self._resume_s = resume_s
        self._timers: dict[Channel, asyncio.TimerHandle] = {}
        self._resumable: dict[Channel, int] = {}
        """How many streams each is, the one that was left first at the front."""
        self._streams = 0

    def __len__(self) -> int:
        return len(self._timers)

    def begin(self, channel: Channel) -> None:
        """Its last member has left: its time begins, or begins anew."""
        self.end(channel)
        if not _is_resumable(channel.stream):
            self._start(channel, self._linger_s)
            return
        self._resumable[channel] = max(1, len(channel.parts))
        self._streams += self._resumable[channel]
        self._start(channel, self._resume_s)
        while self._streams > MAX_RESUMABLE:
            first = next(iter(self._resumable))
            self.end(first)
            self._start(first, self._linger_s)

    def end(self, channel: Channel) -> None:
        """It is wanted again, or closed."""
        if (timer := self._timers.pop(channel, None)) is not None:
            timer.cancel()
        self._streams -= self._resumable.pop(channel, 0)

    def close(self) -> None:
        """Stop all timers; nothing is closed any more."""
        for channel in tuple(self._timers):
            self.end(channel)

    def _start(self, channel: Channel, after_s: float) -> None:
        self._timers[channel] = asyncio.get_running_loop().call_later(after_s, self._let_go, channel)

    def _let_go(self, channel: Channel) -> None:
        self.end(channel)
        self._close(channel)


def _is_resumable(stream: StreamName) -> bool:
    # What a client has missed of a book, a snapshot replaces; and an ingestor has room for few books.
    return not stream.is_state and stream.kind is not Kind.BOOK
