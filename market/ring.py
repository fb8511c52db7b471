"""The recent past of one event stream, by which a client that was away gets exactly what it missed. Pure."""

from collections import deque
from typing import Final

from market.messages import Message

RESUME_S: Final = 60.0
RING_BYTES: Final = 1024 * 1024
"""What one ring may hold, in bytes of payload and _MESSAGE_BYTES for each message."""
_MESSAGE_BYTES: Final = 128


class Ring:
    """The messages of the last `seconds`, at most `limit_bytes` of them, oldest first."""

    __slots__ = ("_bytes", "_limit_bytes", "_messages", "_seconds_us")

    def __init__(self, seconds: float = RESUME_S, limit_bytes: int = RING_BYTES) -> None:
        self._seconds_us = int(seconds * 1_000_000)
        self._limit_bytes = limit_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: Message) -> None:
        """Remember `message`, and forget what is too old or too much."""
        messages = self._messages
        messages.append(message)
        self._bytes += len(message.payload) + _MESSAGE_BYTES
        oldest_us = message.received_us - self._seconds_us
        while self._bytes > self._limit_bytes or messages[0].received_us < oldest_us:
            self._bytes -= len(messages.popleft().payload) + _MESSAGE_BYTES

    def since(self, cursor: int) -> list[Message] | None:
        """What came after the message with `cursor`, in order; None where that cannot be told for certain.

        It can be told only while that very message is remembered, and is the only one with its cursor.
        """
        missed: list[Message] = []
        found = False
        for message in reversed(self._messages):
            if message.cursor == cursor:
                if found:
                    return None
                found = True
            elif found:
                break
            else:
                missed.append(message)
        missed.reverse()
        return missed if found else None
