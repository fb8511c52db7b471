"""A Socket.IO session over long polling on one kept HTTP/1.1 connection. Source: Engine.IO 4, Socket.IO 5."""

import asyncio
from typing import Final

import msgspec

from loadtest.probe.lean import Address

_SEPARATOR: Final = b"\x1e"
_PING: Final = b"2"
_PONG: Final = b"3"
_OPENED: Final = b"0"
_CONNECTED: Final = b'40{"sid"'


class PollingSession:
    """One client; polls go out one after the other, so that their answers are in order.

    Every method raises OSError or EOFError where the server ends the session.
    """

    def __init__(self, address: Address, query: str = "") -> None:
        self._address = address
        self._path = f"/socket.io/?EIO=4&transport=polling{query}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def begin(self) -> None:
        """Open the session and its main namespace."""
        opening = await self._exchange("GET")
        if not opening.startswith(_OPENED):
            raise ConnectionAbortedError(repr(opening[:80]))
        self._path += "&sid=" + msgspec.json.decode(opening[1:])["sid"]
        await self.send(b"40")
        while not any(packet.startswith(_CONNECTED) for packet in await self.poll()):
            pass

    async def send(self, packet: bytes) -> None:
        """Post one packet."""
        await self._exchange("POST", packet)

    async def poll(self) -> list[bytes]:
        """The packets of one poll but for a ping, which is answered."""
        packets = (await self._exchange("GET")).split(_SEPARATOR)
        if _PING in packets:
            await self.send(_PONG)
        return [packet for packet in packets if packet != _PING]

    def close(self) -> None:
        """Leave without a word."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _exchange(self, method: str, body: bytes = b"") -> bytes:
        reader, writer = await self._connection()
        head = f"{method} {self._path} HTTP/1.1\r\nHost: {self._address.authority.decode()}\r\n"
        if body:
            head += f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"\r\n" + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not answer.startswith(b"http/1.1 200"):
            raise ConnectionAbortedError(repr(answer[:80]))
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if b"\r\nconnection: close" in answer:  # a proxy serves only so many requests on one connection
            self.close()
        return content

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, opened where there is none."""
        if self._reader is None or self._writer is None:
            source = (self._address.source, 0) if self._address.source else None
            self._reader, self._writer = await asyncio.open_connection(
                self._address.host, self._address.port, ssl=self._address.context, local_addr=source
            )
        return self._reader, self._writer
