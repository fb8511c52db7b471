"""What a client has sent and nobody has looked at yet, because something that it sent before is still being done."""

from collections import deque
from typing import Final

MAX_MESSAGES: Final = 256
MAX_BYTES: Final = 1024 * 1024
"""Bytes, or characters, that wait; the message with which there are more is the last one."""


class Inbox:
    """Messages of one client in their order. Whoever fills it stops reading the client while it `is_full`."""

    __slots__ = ("_size", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[str | bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come."""
        return len(self._waiting) >= MAX_MESSAGES or self._size >= MAX_BYTES

    @property
    def has_room(self) -> bool:
        """Whether so little is left that more may come."""
        return len(self._waiting) <= MAX_MESSAGES // 2 and self._size <= MAX_BYTES // 2

    def put(self, message: str | bytes) -> None:
        """Keep a message."""
        self._waiting.append(message)
        self._size += len(message)

    def take(self) -> str | bytes:
        """The message that has waited longest. Raises IndexError where none waits."""
        message = self._waiting.popleft()
        self._size -= len(message)
        return message
