"""A lean Socket.IO client over WebSocket that behaves like the stock one: it returns by itself, and resumes by `since`.

It checks the ids of the trades that it receives, which have no holes: a missing one was lost, one that
comes again was doubled. Source: docs/protocol.md; Engine.IO 4, Socket.IO 5, RFC 6455; the pause before a
new connection is socket.io-client's (`reconnectionDelay` 1000, `randomizationFactor` 0.5, at most 5000 ms).
"""

import asyncio
import os
import random
import re
from typing import Final

from loadtest.rolling.figures import Figures

STREAM: Final = "spot:btcusdt@trade"
PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 5.0
ANSWER_S: Final = 10.0
"""A subscription that is not acknowledged within this has failed."""
_SWITCHED: Final = b"HTTP/1.1 101 "
_CURSOR: Final = re.compile(rb'^42\["trade",\{"stream":"[^"]+","cursor":(\d+)')
_TEXT: Final = 0x1
_CLOSE: Final = 0x8
_FIN: Final = 0x80
_MASKED: Final = 0x80
_MEDIUM: Final = 126
_LARGE: Final = 127


class LeanClient(asyncio.Protocol):
    """One client. `is_subscribed` while a subscription of its present connection is acknowledged."""

    def __init__(self, host: str, port: int, source: str, figures: Figures) -> None:
        self._address = host, port
        self._source = source, 0
        self._figures = figures
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._is_open = False
        self._is_over = False
        self._last = 0
        self._cut_at: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.is_subscribed = False
        figures.clients += 1

    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""
        failures = 0
        try:
            while True:
                failures = 0 if await self._connect() else failures + 1
                pause_s = min(MAX_PAUSE_S, PAUSE_S * 2**failures)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 # jitter
        finally:
            self._is_over = True
            if self._transport is not None:
                self._transport.abort()

    async def _connect(self) -> bool:
        """One connection from its beginning to its end; whether it stood."""
        loop = asyncio.get_running_loop()
        self._buffer.clear()
        self._is_open = False
        self._ended = loop.create_future()
        try:
            await loop.create_connection(lambda: self, *self._address, local_addr=self._source)
        except OSError:
            self._figures.failed_connects += 1
            return False
        await self._ended
        return self._is_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket (asyncio.Protocol)."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a stream")
        self._transport = transport
        host, port = self._address
        transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            b"Host: %b:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % (host.encode(), port)
        )

    def data_received(self, data: bytes) -> None:
        """Take the answer to the handshake, then frames (asyncio.Protocol)."""
        self._buffer += data
        if not self._is_open and not self._has_opened():
            return
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == _TEXT:
                self._take(payload)
            elif opcode == _CLOSE and self._transport is not None:
                self._send(payload, _CLOSE)
                self._transport.close()
                return

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """Count the end of a connection (asyncio.Protocol)."""
        self._transport = None
        if self._is_over:
            return
        if not self._is_open:
            self._figures.failed_connects += 1
        else:
            self._figures.cuts.append(asyncio.get_running_loop().time())
            if not self.is_subscribed:
                self._figures.failed_subscribes += 1
        if self._cut_at is None:
            self._cut_at = asyncio.get_running_loop().time()
        self._stop_waiting()
        self.is_subscribed = False
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _has_opened(self) -> bool:
        head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(_SWITCHED):
            if self._transport is not None:
                self._transport.abort()
            return False
        self._is_open = True
        self._buffer = bytearray(rest)
        return True

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of the buffer: opcode and payload (RFC 6455, 5.2)."""
        buffer = self._buffer
        if len(buffer) < 2:  # noqa: PLR2004 # a head
            return None
        length, begin = buffer[1], 2
        if length in (_MEDIUM, _LARGE):
            begin = 4 if length == _MEDIUM else 10
            if len(buffer) < begin:
                return None
            length = int.from_bytes(buffer[2:begin], "big")
        if len(buffer) < begin + length:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[begin : begin + length])
        del buffer[: begin + length]
        return opcode, payload

    def _take(self, packet: bytes) -> None:
        if (trade := _CURSOR.match(packet)) is not None:
            self._check(int(trade[1]))
        elif packet == b"2":
            self._send(b"3")
        elif packet.startswith(b"0{"):
            self._send(b"40")
        elif packet.startswith(b"40{"):
            self._subscribe()
        elif packet.startswith(b"430["):
            self._acknowledged(packet)
        elif packet.startswith(b'42["draining"'):
            self._figures.told += 1

    def _subscribe(self) -> None:
        since = b',"since":{"%b":%d}' % (STREAM.encode(), self._last) if self._last else b""
        self._send(b'420["subscribe",{"streams":["%b"]%b}]' % (STREAM.encode(), since))
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_S, self._not_answered)

    def _not_answered(self) -> None:
        """End the connection, which counts the subscription as failed."""
        if self._transport is not None:
            self._transport.abort()

    def _acknowledged(self, packet: bytes) -> None:
        self._stop_waiting()
        now = asyncio.get_running_loop().time()
        if b'"ok":true' not in packet:
            self._figures.failed_subscribes += 1
            return
        self.is_subscribed = True
        if self._last and b'"recovered":true' not in packet:
            self._figures.unrecovered += 1
        if self._cut_at is not None:
            self._figures.returns.append(now)
            self._figures.slowest_return_s = max(self._figures.slowest_return_s, now - self._cut_at)
            self._cut_at = None

    def _check(self, cursor: int) -> None:
        self._figures.received += 1
        if self._last and cursor <= self._last:
            self._figures.doubled += 1
            return
        if self._last:
            self._figures.lost += cursor - self._last - 1
        self._last = cursor

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _send(self, payload: bytes, opcode: int = _TEXT) -> None:
        """Send one frame, masked as clients must (RFC 6455, 5.3)."""
        if self._transport is None:
            return
        size = len(payload)
        length = bytes([_MASKED | size]) if size < _MEDIUM else bytes([_MASKED | _MEDIUM]) + size.to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self._transport.write(bytes([_FIN | opcode]) + length + mask + masked)
