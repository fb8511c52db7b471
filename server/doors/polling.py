"""What waits for the next poll of a long-polling session. Source: Engine.IO protocol 4, "HTTP long-polling"."""

import asyncio
import base64
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from market.streams import StreamName
from server.backlog import Backlog
from server.delivery import HIGH_WATER_BYTES, Delivery
from server.encodings import Encoding
from server.frames import Batch

NOOP: Final = b"6"
SEPARATOR: Final = b"\x1e"
"""Between the packets of a polling request or answer (Engine.IO protocol 4, "Packet encoding")."""
PYTHON_CLIENT_PACKETS: Final = 16
"""python-engineio's client refuses a poll's answer with more packets (`Payload.max_decode_packets`)."""


class Polling:
    """The packets of one session as they go over HTTP, and the poll that waits for them.

    `on_slow` closes the client: called when answers pile up because it never polls, or when it has
    lagged for too long.
    """

    __slots__ = ("_backlog", "_delivery", "_on_slow", "_packets", "_size", "_waiter", "limit")

    def __init__(self, delivery: Delivery, on_slow: Callable[[], None]) -> None:
        self._on_slow = on_slow
        self.limit = sys.maxsize
        """How many packets the client takes in one answer."""
        self._packets: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._backlog: Backlog | None = None
        self._delivery = delivery

    @property
    def is_awaited(self) -> bool:
        """Whether a poll waits."""
        return self._waiter is not None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the next poll."""
        return self._size

    def write(self, packet: bytes, *, binary: bool = False) -> None:
        """Keep a packet that is not market data: text, or the bytes of a message."""
        self._put(packet, binary=binary)
        if self._size > HIGH_WATER_BYTES + self._delivery.buffer_bytes:
            self.let_go()

    def send(self, batch: Batch) -> None:
        """Keep shared frames, or owe them to a client that lags."""
        for frame in batch.frames:
            if self._backlog is None and self._size > HIGH_WATER_BYTES:
                self._backlog = self._delivery.new_backlog()
                self._delivery.note_lag(self)
            if self._backlog is None:
                self._put(frame.body, binary=frame.encoding.binary)
            else:
                self._backlog.add(frame)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream."""
        if self._backlog is not None:
            self._backlog.forget(stream, encoding)

    async def wait(self) -> None:
        """Return when a packet waits for the client, or when `wake` was called."""
        self._catch_up()
        if self._packets:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Let the poll that waits return."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> bytes:
        """The body of one answer; empty where nothing waits."""
        self._catch_up()
        packets = self._packets
        if len(packets) <= self.limit:
            body = SEPARATOR.join(packets)
            packets.clear()
            self._size = 0
            return body
        taken = [packets.popleft() for _ in range(self.limit)]
        self._size -= sum(map(len, taken))
        return SEPARATOR.join(taken)

    def move(self, write: Callable[[bytes, bool], None], send: Callable[[Batch], None]) -> None:
        """Hand everything over: packets, of which the second argument tells whether they are binary, then frames."""
        for packet in self._packets:
            if packet.startswith(b"b"):
                write(base64.b64decode(packet[1:]), True)  # noqa: FBT003 # binary
            else:
                write(packet, False)  # noqa: FBT003 # text
        self._packets.clear()
        if self._backlog is not None and (owed := self._backlog.take(sys.maxsize)):
            send(Batch(owed))
        self.close()

    def let_go(self) -> None:
        """Close the client as a slow consumer, and count it."""
        self._delivery.slow_consumers_total += 1
        self._on_slow()

    def close(self) -> None:
        """Owe the client nothing more, and let the poll that waits return."""
        self._end_lag()
        self.wake()

    def _put(self, packet: bytes, *, binary: bool) -> None:
        encoded = b"b" + base64.b64encode(packet) if binary else packet
        self._packets.append(encoded)
        self._size += len(encoded)
        self.wake()

    def _catch_up(self) -> None:
        """Turn what a lagging client is owed into packets, as far as there is room."""
        if self._packets or self._backlog is None:
            return
        frames = self._backlog.take(HIGH_WATER_BYTES)
        if not frames:
            self._end_lag()
        for frame in frames:
            self._put(frame.body, binary=frame.encoding.binary)

    def _end_lag(self) -> None:
        if self._backlog is not None:
            self._delivery.note_caught_up(self, self._backlog)
            self._backlog = None
