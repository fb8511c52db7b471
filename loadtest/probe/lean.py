"""A WebSocket client that costs next to nothing, so that thousands of it fit into one process.

What it leaves out servers do not send unasked: fragments, and compression. Sources: RFC 6455, sections 4.1, 5.2, 5.3.
"""

import asyncio
import os
import ssl
from abc import ABC, abstractmethod
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_SWITCHED: Final = b"HTTP/1.1 101 "
_TEXT: Final = 0x1
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA
_FIN: Final = 0x80
_MASKED: Final = 0x80
_MEDIUM: Final = 126
_LARGE: Final = 127
_SECURE: Final = ("https", "wss")


class Address(NamedTuple):
    """Where a client connects to, and, where it matters, from which of this machine's addresses."""

    host: str
    port: int
    is_secure: bool = False
    source: str = ""

    @classmethod
    def of(cls, url: str) -> "Address":
        """That of an http or https URL, whose path is not looked at. Raises ValueError for any other."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a server")
        is_secure = parts.scheme in _SECURE
        return cls(parts.hostname, parts.port or (443 if is_secure else 80), is_secure)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What verifies the server, where it has to."""
        return ssl.create_default_context() if self.is_secure else None

    @property
    def authority(self) -> bytes:
        """What stands in the Host header."""
        return f"{self.host}:{self.port}".encode()


class LeanWebSocket(asyncio.Protocol, ABC):
    """One client, connected by `connect` as often as one likes. A subclass hears what happens."""

    def __init__(self, address: Address, path: str) -> None:
        self._address = address
        self._path = path
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._is_open = False

    async def connect(self) -> bool:
        """One connection from its beginning to its end; whether it stood. Raises nothing for one that does not."""
        loop = asyncio.get_running_loop()
        self._buffer.clear()
        self._is_open = False
        self._ended = loop.create_future()
        source = (self._address.source, 0) if self._address.source else None
        host, port = self._address.host, self._address.port
        try:
            await loop.create_connection(lambda: self, host, port, ssl=self._address.context, local_addr=source)
        except OSError:
            self.ended(was_open=False)
            return False
        await self._ended
        return self._is_open

    def send(self, payload: bytes) -> None:
        """Send a message as text; without a connection nothing."""
        self._send(payload, _TEXT)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    @abstractmethod
    def opened(self) -> None:
        """The WebSocket stands."""

    @abstractmethod
    def text_received(self, payload: bytes) -> None:
        """A message has come."""

    @abstractmethod
    def ended(self, *, was_open: bool) -> None:
        """The connection is over, or did not come about."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket (asyncio.Protocol)."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a stream")
        self._transport = transport
        transport.write(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            % (self._path.encode(), self._address.authority)
        )

    def data_received(self, data: bytes) -> None:
        """Take the answer to the handshake, then frames (asyncio.Protocol)."""
        self._buffer += data
        if not self._is_open and not self._has_opened():
            return
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == _TEXT:
                self.text_received(payload)
            elif opcode == _PING:
                self._send(payload, _PONG)
            elif opcode == _CLOSE and self._transport is not None:
                self._send(payload, _CLOSE)
                self._transport.close()
                return

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """Tell of the end (asyncio.Protocol)."""
        self._transport = None
        self.ended(was_open=self._is_open)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _has_opened(self) -> bool:
        head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(_SWITCHED):
            self.abort()
            return False
        self._is_open = True
        self._buffer = bytearray(rest)
        self.opened()
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

    def _send(self, payload: bytes, opcode: int) -> None:
        """Send one frame of at most 65,535 bytes, masked as clients must (RFC 6455, 5.3)."""
        if self._transport is None:
            return
        size = len(payload)
        length = bytes([_MASKED | size]) if size < _MEDIUM else bytes([_MASKED | _MEDIUM]) + size.to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self._transport.write(bytes([_FIN | opcode]) + length + mask + masked)
