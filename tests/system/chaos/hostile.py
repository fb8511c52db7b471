"""`python -m tests.system.chaos.hostile URL SEED`: clients who mean harm, or do it, until SIGTERM.

Beside them clients who behave must not notice anything. What was done is told as one JSON object at the end. Each kind
comes from an address of its own, again and again, whatever the server does to it.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

ADDRESSES: Final = ("127.0.3.1", "127.0.4.1")
"""On either replica."""
SESSION_S: Final = 5.0
"""How long one of them goes on before it comes anew."""
PAUSE_S: Final = 0.25
FLOOD_PER_S: Final = 200
_MASK: Final = b"\x00\x00\x00\x00"
_TEXT: Final = 0x81
_SHORT: Final = 126
_STREAMS: Final = ("btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker", "*@bookTicker", "*@trade")
_LIES: Final = (
    b"",
    b"{",
    b"[" * 5_000,
    b'{"type":"subscribe","rawStreams":["' + b"x" * 20_000 + b'"]}',
    b'{"type":"subscribe","rawStreams":[1,null,{}],"since":{"btcusdt@trade":"x"}}',
    b'{"type":"getHistoricalKlines","symbol":"BTCUSDT","interval":"1m","limit":-5}',
    b'{"type":"__proto__"}',
    b"\xff\xfe\x00",
)

Conn = tuple[StreamReader, StreamWriter]


class Hostile:
    """One kind of them at one address. `done` counts what it did, by name."""

    def __init__(self, host: str, port: int, source: str, draw: random.Random, done: Counter[str]) -> None:
        self._server = (host, port)
        self._source = source
        self._draw = draw
        self._done = done

    async def run(self, misbehave: Callable[["Hostile", Conn], Awaitable[None]]) -> None:
        """Come again and again, each time for SESSION_S at most."""
        while True:
            try:
                conn = await asyncio.open_connection(*self._server, local_addr=(self._source, 0))
            except OSError:
                self._done["refused"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                async with asyncio.timeout(SESSION_S):
                    await misbehave(self, conn)
            except TimeoutError:
                self._done["sat through"] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                self._done["thrown out"] += 1
            finally:
                conn[1].transport.abort()
            await asyncio.sleep(PAUSE_S)

    async def not_read(self, conn: Conn) -> None:
        """Subscribe to all that is lively, and never read."""
        await self._upgrade(conn)
        await self._say(conn, json.dumps({"type": "subscribe", "rawStreams": _STREAMS}).encode())
        conn[1].transport.pause_reading()  # type: ignore[attr-defined] # a transport of sockets has it
        self._done["non-readers"] += 1
        await asyncio.sleep(SESSION_S)

    async def lie(self, conn: Conn) -> None:
        """Send frames and JSON that are none, and what is but means nothing."""
        await self._upgrade(conn)
        while True:
            if self._draw.random() < 1 / 2:
                await self._say(conn, self._draw.choice(_LIES))
            else:
                await self._write(conn, self._draw.randbytes(self._draw.randint(2, 200)))
            self._done["garbage frames"] += 1
            await asyncio.sleep(0.05)

    async def flood(self, conn: Conn) -> None:
        """Subscribe, leave and ask as fast as it goes, up to FLOOD_PER_S."""
        await self._upgrade(conn)
        while True:
            stream = self._draw.choice(_STREAMS)
            kind = self._draw.choice(("subscribe", "unsubscribe", "ping"))
            await self._say(conn, json.dumps({"type": kind, "rawStreams": [stream]}).encode())
            self._done["flood messages"] += 1
            await asyncio.sleep(1 / FLOOD_PER_S)

    async def dawdle(self, conn: Conn) -> None:
        """A slow loris: one byte of a request after the other."""
        self._done["slow requests"] += 1
        for byte in b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 1_000:
            await self._write(conn, bytes([byte]))
            await asyncio.sleep(0.2)

    async def _upgrade(self, conn: Conn) -> None:
        """A WebSocket handshake (RFC 6455, 4.1), of whose answer only the first line counts."""
        reader, _ = conn
        await self._write(
            conn,
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        if b" 101 " not in await reader.readuntil(b"\r\n\r\n"):
            self._done["handshakes refused"] += 1
            raise ConnectionRefusedError

    async def _say(self, conn: Conn, text: bytes) -> None:
        """One masked text frame (RFC 6455, 5.2)."""
        size = len(text)
        length = bytes([0x80 | size]) if size < _SHORT else bytes([0x80 | _SHORT]) + size.to_bytes(2)
        await self._write(conn, bytes([_TEXT]) + length + _MASK + text)

    async def _write(self, conn: Conn, data: bytes) -> None:
        reader, writer = conn
        writer.write(data)
        await writer.drain()
        if reader.at_eof():
            raise ConnectionResetError


KINDS: Final = (Hostile.not_read, Hostile.lie, Hostile.flood, Hostile.dawdle)


async def main(url: str, seed: int) -> None:
    """Misbehave in every way at every address until SIGTERM, then tell of it."""
    where, done = urlsplit(url), Counter[str]()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    everyone = [
        asyncio.create_task(
            Hostile(
                where.hostname or "",
                where.port or 0,
                source,
                random.Random(f"{seed}:{source}:{kind.__name__}"),  # noqa: S311 # what it says is no secret
                done,
            ).run(kind)
        )
        for source in ADDRESSES
        for kind in KINDS
    ]
    waiting = asyncio.create_task(ended.wait())
    finished, _ = await asyncio.wait([waiting, *everyone], return_when=asyncio.FIRST_COMPLETED)
    for task in (*everyone, waiting):
        task.cancel()
    await asyncio.gather(*everyone, waiting, return_exceptions=True)
    for task in finished:
        task.result()  # one that failed says why
    with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
        os.write(sys.stdout.fileno(), json.dumps(done).encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
