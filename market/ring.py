"""The recent past of one event stream, by which a client that was away gets exactly what it missed. Pure."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from market.messages import Message

RESUME_S: Final = 60.0
RING_BYTES: Final = 1024 * 1024
"""What one ring may hold, in bytes of payload and _MESSAGE_BYTES for each message."""
_MESSAGE_BYTES: Final = 128


class Ring:
    """The messages of the last `seconds`, at most `limit_bytes` of them, oldest first.

    How old one is says `clock` (s, never goes back), not the message: what two ingestors received bears the times of
    two clocks.
    """

    __slots__ = ("_bytes", "_came_at", "_clock", "_limit_bytes", "_messages", "_seconds")

    def __init__(
        self,
        seconds: float = RESUME_S,
        limit_bytes: int = RING_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._came_at: deque[float] = deque()
        self._limit_bytes = limit_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: Message) -> None:
        """Remember `message`, and forget what is too old or too much."""
        self._add(message, self._clock())

    @property
    def oldest(self) -> Message | None:
        """The message that is remembered longest; None while none is."""
        return self._messages[0] if self._messages else None

    @property
    def newest(self) -> Message | None:
        """The message that was remembered last; None while none is."""
        return self._messages[-1] if self._messages else None

    def clear(self) -> None:
        """Forget everything: what comes next does not follow it."""
        self._messages.clear()
        self._came_at.clear()
        self._bytes = 0

    def since(self, cursor: int) -> list[Message] | None:
        """What came after the message with `cursor`, in order; None where that cannot be told for certain."""
        found = self.starting_at(cursor)
        return None if found is None else found[1:]

    def starting_at(self, cursor: int) -> list[Message] | None:
        """The message with `cursor` and all that came after it.

        None unless that very message is remembered, and is the only one with its cursor.
        """
        newest_first: list[Message] = []
        found = False
        for message in reversed(self._messages):
            if found and message.cursor != cursor:
                break
            if found:
                return None
            newest_first.append(message)
            found = message.cursor == cursor
        return newest_first[::-1] if found else None

    def prepend(self, messages: Sequence[Message]) -> None:
        """Remember `messages` as having come before all others; those that another process remembered."""
        newer = list(zip(self._messages, self._came_at, strict=True))
        came_at = newer[0][1] if newer else self._clock()
        self.clear()
        for message, at in (*((message, came_at) for message in messages), *newer):
            self._add(message, at)

    def _add(self, message: Message, now: float) -> None:
        messages, came_at = self._messages, self._came_at
        messages.append(message)
        came_at.append(now)
        self._bytes += len(message.payload) + _MESSAGE_BYTES
        oldest = now - self._seconds
        while self._bytes > self._limit_bytes or came_at[0] < oldest:
            self._bytes -= len(messages.popleft().payload) + _MESSAGE_BYTES
            came_at.popleft()
