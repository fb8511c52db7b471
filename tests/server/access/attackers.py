"""Clients that stock libraries refuse to be: raw bytes on connections from any address of the loopback."""

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx
from yarl import URL

from tests.server.conftest import Client

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
CONTINUATION = 0
SOCKETIO = "/socket.io/?EIO=4&transport=websocket"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, compressed: bool = False) -> bytes:
    """One frame of a client, masked with zeros (RFC 6455, 5.2)."""
    first = (0x80 if fin else 0) | (0x40 if compressed else 0) | opcode
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        size = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        size = b"\xff" + len(payload).to_bytes(8, "big")
    return bytes([first]) + size + bytes(4) + payload


def bomb(size: int) -> bytes:
    """A compressed message that inflates to `size` spaces (RFC 7692, 7.2.1)."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(b" " * size) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(data.removesuffix(b"\0\0\xff\xff"), compressed=True)


class Wire:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str, source: str = "127.0.0.1") -> Self:
        """Connect to the server at `url` from the address `source`."""
        place = URL(url)
        return cls(*await asyncio.open_connection(place.host, place.port, local_addr=(source, 0)))

    async def send(self, data: bytes) -> None:
        """Send bytes; those that the server does not take any more are lost."""
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def request(self, line: str, headers: str = "", body: bytes = b"") -> tuple[int, str]:
        """Send one request; status and body of the answer."""
        await self.send(f"{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body)
        return await self.answer()

    async def answer(self) -> tuple[int, str]:
        """Status and body of the next HTTP answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1]), body.decode()

    async def upgrade(self, path: str = SOCKETIO, headers: str = "") -> tuple[int, str]:
        """Ask for a WebSocket; status and body of the answer."""
        return await self.request(
            f"GET {path}",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}",
        )

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """Opcode and payload of all frames until the server has closed the connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self.reader.readexactly(2)
                size = head[1] & 0x7F
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                yield head[0] & 0x0F, await self.reader.readexactly(size)

    async def closed_with(self) -> tuple[int, str]:
        """The code and text of the close frame that ends the connection; (1006, "") without one (RFC 6455, 7.4)."""
        last = (1006, "")
        async for opcode, payload in self.frames():
            if opcode == CLOSE:
                last = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        return last

    async def close(self) -> None:
        """Leave at once."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def wire(url: str, source: str = "127.0.0.1") -> AsyncIterator[Wire]:
    """A connection that ends with the block."""
    connected = await Wire.open(url, source)
    try:
        yield connected
    finally:
        await connected.close()


@contextlib.asynccontextmanager
async def socketio_wire(url: str, source: str = "127.0.0.1", headers: str = "") -> AsyncIterator[Wire]:
    """A Socket.IO client of the main namespace on a WebSocket, greeted."""
    async with wire(url, source) as connected:
        assert (await connected.upgrade(headers=headers))[0] == 101
        await connected.send(frame(b"40"))
        async for _, payload in connected.frames():
            if payload.startswith(b'42["connected"'):
                break
        yield connected


async def refused(url: str) -> dict[str, int]:
    """How often the replica at `url` refused, by reason, as it tells Prometheus; what it never did is left out."""
    async with httpx.AsyncClient() as http:
        lines = (await http.get(f"{url}/metrics")).text.splitlines()
    counts = [
        line.removeprefix('tickcast_refused_total{reason="').split('"} ')
        for line in lines
        if "_refused_total{reason" in line
    ]
    return {reason: int(float(count)) for reason, count in counts if float(count)}


async def leave(client: Client) -> None:
    """Have a stock client leave, and return once it has closed its connections."""
    await client.io.disconnect()
    await client.io.eio.wait()


def error_of(body: str) -> dict[str, Any]:
    """A refusal's JSON; `success` is false."""
    decoded: dict[str, Any] = json.loads(body)
    assert decoded["success"] is False
    return decoded
