"""Delivery: everything of one loop turn leaves in one write per client."""

import asyncio
from collections.abc import Callable
from typing import Final

BUFFER_BYTES: Final = 1024 * 1024
"""Unsent bytes a client may leave with us before it is let go as a slow consumer."""


class Delivery:
    """Collects the outboxes that were written to and flushes them together.

    `flush_interval_ms` 0 flushes as soon as the loop has turned; more trades latency for fewer
    system calls.
    """

    def __init__(self, flush_interval_ms: float = 0.0) -> None:
        self._interval_s = flush_interval_ms / 1000
        self._dirty: list[Outbox] = []
        self.writes_total = 0
        self.bytes_total = 0

    def schedule(self, outbox: "Outbox") -> None:
        """Flush `outbox` with the others of this turn."""
        if not self._dirty:
            loop = asyncio.get_running_loop()
            if self._interval_s:
                loop.call_later(self._interval_s, self._flush)
            else:
                loop.call_soon(self._flush)
        self._dirty.append(outbox)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            outbox.flush()


class Outbox:
    """What one transport is still to be sent in this turn, in order.

    `on_overflow` is called once when the client has left more than BUFFER_BYTES unread; nothing is
    written afterwards.
    """

    __slots__ = ("_closed", "_delivery", "_on_overflow", "_pending", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, delivery: Delivery, on_overflow: Callable[[], None]) -> None:
        self._transport = transport
        self._delivery = delivery
        self._on_overflow = on_overflow
        self._pending: list[bytes] = []
        self._closed = False

    def write(self, data: bytes) -> None:
        """Send `data` with this turn's flush."""
        if self._closed:
            return
        if not self._pending:
            self._delivery.schedule(self)
        self._pending.append(data)

    def flush(self) -> None:
        """Write what is pending, in one call."""
        pending, self._pending = self._pending, []
        if not pending or self._closed or self._transport.is_closing():
            return
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        self._transport.write(data)
        self._delivery.writes_total += 1
        self._delivery.bytes_total += len(data)
        if self._transport.get_write_buffer_size() > BUFFER_BYTES:
            self._closed = True
            self._on_overflow()

    def abort(self) -> None:
        """Close the transport at once and forget what is unsent."""
        self._closed = True
        self._pending.clear()
        self._transport.abort()
