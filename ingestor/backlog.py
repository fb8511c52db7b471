"""Messages that wait for the bus: in order, bounded, and thinned where it costs clients least."""

from typing import Final

from market.messages import Message
from market.streams import StreamName

LIMIT_BYTES: Final = 32 * 1024 * 1024
"""Payload bytes that wait at most, with MESSAGE_BYTES for each message itself."""
MESSAGE_BYTES: Final = 256


class Backlog:
    """Collects messages between two publishes.

    Within the limit nothing is lost. Past it only the latest message of each state stream is kept
    (`conflated_total` counts the ones it replaced) and messages of event streams are dropped
    (`dropped_total`), until the backlog is taken.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.conflated_total = 0
        self.dropped_total = 0
        self._limit_bytes = limit_bytes
        self._room = limit_bytes
        self._messages: list[Message] = []
        self._latest: dict[StreamName, Message] = {}

    def __len__(self) -> int:
        return len(self._messages) + len(self._latest)

    def add(self, message: Message) -> None:
        """Keep `message` as long as there is room."""
        if self._room > 0:
            self._room -= len(message.payload) + MESSAGE_BYTES
            self._messages.append(message)
        elif message.stream.is_state:
            self.conflated_total += message.stream in self._latest
            self._latest[message.stream] = message
        else:
            self.dropped_total += 1

    def take(self) -> list[Message]:
        """Everything that waits, each stream in order; nothing waits afterwards."""
        messages, self._messages = self._messages, []
        messages.extend(self._latest.values())
        self._latest.clear()
        self._room = self._limit_bytes
        return messages
