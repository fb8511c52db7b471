"""100,000 mutated frames on every door: the replica lives, keeps its size, and its other clients notice nothing."""

import asyncio
import base64
import contextlib
import random
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import psutil
import pytest

from tests.support.processes import Process, free_port, tickcast
from tests.system.fuzzing import (
    ATTACHED,
    BINARY,
    TEXT,
    Chance,
    binance_request,
    ending,
    http_request,
    json_message,
    msgpack_event,
    msgpack_packet,
    path,
    socketio_event,
    socketio_packet,
    wire,
)
from tests.system.neighbours import CONNECT_BINARY, ENGINE, Neighbours

SEED: Final = 4
ROUND: Final = 50_000
AT_ONCE: Final = 12
LEAK_LIMIT_BYTES: Final = 15 * 1024 * 1024
SPARE_FILES: Final = 8
"""Open files that may have come beside clients': connections to the exchange that are kept for a while."""
TIMEOUT_S: Final = 30
HANDSHAKE: Final = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
DEFLATE: Final = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
PING: Final = b"fuzz"
PONG: Final = b"\x8a\x04fuzz"
POLLING: Final = f"{ENGINE}polling".encode()
WEBSOCKET: Final = f"{ENGINE}websocket".encode()
SEPARATOR: Final = b"\x1e"
_SESSION: Final = re.compile(rb'0\{"sid":"([^"]+)"')
_FIGURES: Final = re.compile(r"^tickcast_connections\{.*\} .*", re.MULTILINE)

Work: TypeAlias = Callable[[], Coroutine[Any, Any, int]]
"""Sends frames on a connection or a session of its own; returns how many."""


class Fuzzer:
    """Sends mutated frames on several connections at once, each from an address of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._chance: Chance = random.Random(SEED)  # noqa: S311 # the same mutations every time
        self._source = 0
        self.sent = 0

    async def round(self) -> None:
        """Send ROUND frames; every connection is closed when this returns."""
        ways: list[tuple[Work, int]] = [
            (self._socketio, 4),
            (self._msgpack, 2),
            (self._json, 5),
            (self._binance_spot, 4),
            (self._binance_futures, 4),
            (self._polling, 2),
            (self._path, 5),
            (self._http, 5),
        ]
        works, weights = zip(*ways, strict=True)
        end = self.sent + ROUND

        async def work_off() -> None:
            while self.sent < end:
                (work,) = self._chance.choices(works, weights)
                async with asyncio.timeout(TIMEOUT_S):
                    count = await work()
                self.sent += count

        await asyncio.gather(*(work_off() for _ in range(AT_ONCE)))

    async def _socketio(self) -> int:
        """Events on Socket.IO, one with an attachment; the last packet is none, or breaks something."""
        chance = self._chance
        attached = wire(chance, ATTACHED) + wire(chance, chance.randbytes(30), BINARY)
        frames = [wire(chance, b"40"), *self._wires(socketio_event, 20), attached, *self._wires(socketio_event, 20)]
        return await self._socket(WEBSOCKET, frames, self._wires(socketio_packet, 1))

    async def _msgpack(self) -> int:
        """The same as MessagePack."""
        frames = [wire(self._chance, CONNECT_BINARY, BINARY), *self._wires(msgpack_event, 40, BINARY)]
        return await self._socket(WEBSOCKET, frames, self._wires(msgpack_packet, 1, BINARY))

    async def _json(self) -> int:
        return await self._socket(b"/", self._wires(json_message, 50))

    async def _binance_spot(self) -> int:
        """As many requests as Binance allows in a second, less the ping."""
        return await self._socket(b"/stream", self._wires(binance_request, 4))

    async def _binance_futures(self) -> int:
        return await self._socket(b"/public/ws/btcusdt@bookTicker", self._wires(binance_request, 9))

    def _wires(self, make: Callable[[Chance], bytes], count: int, first: int = TEXT) -> list[bytes]:
        return [wire(self._chance, make(self._chance), first) for _ in range(count)]

    async def _socket(self, target: bytes, frames: list[bytes], last: Sequence[bytes] = ()) -> int:
        """Send frames that do not end a WebSocket, then the last ones, which may, and what does for sure."""
        chance = self._chance
        async with self._open() as (reader, writer):
            writer.write(HANDSHAKE % (target, DEFLATE if chance.random() < 0.5 else b""))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.writelines([*frames, wire(chance, PING, 0x89)])
            tail = b""
            while PONG not in tail:
                data = await reader.read(1 << 16)
                assert data, f"{target!r} closed: {tail[-200:]!r}"
                tail = tail[-len(PONG) :] + data
            with contextlib.suppress(OSError):  # closed before it has read everything
                payload = chance.choice((socketio_event, json_message, binance_request))(chance)
                writer.writelines([*last, ending(chance, payload)])
                writer.write_eof()
                await reader.read(-1)
        return len(frames) + len(last) + 1

    async def _polling(self) -> int:
        """Packets in the bodies of a polling session's posts."""
        target = await self._session()
        bodies = [SEPARATOR.join(socketio_event(self._chance) for _ in range(10)) for _ in range(4)]
        attached = ATTACHED + SEPARATOR + b"b" + base64.b64encode(self._chance.randbytes(30))
        for body in (b"40", *bodies, attached):
            assert await self._ask(b"POST", target, body) == (200, b"ok")
        assert (await self._ask(b"GET", target))[0] == 200
        status, _ = await self._ask(b"POST", target, socketio_packet(self._chance))
        assert status in {200, 400}
        await self._ask(b"POST", target, b"1")
        return 43

    async def _path(self) -> int:
        """One mutated path."""
        status, body = await self._ask(b"GET", path(self._chance))
        assert 200 <= status < 500 or status == 503, body
        await self._leave(body)
        return 1

    async def _http(self) -> int:
        """One mutated request, on a connection that ends behind it."""
        answer = b""
        async with self._open() as (reader, writer):
            with contextlib.suppress(OSError):  # closed before it has read everything
                writer.write(http_request(self._chance))
                writer.write_eof()
                answer = await reader.read(-1)
        assert not answer.startswith(b"HTTP/1.1 500"), answer
        await self._leave(answer)
        return 1

    async def _session(self) -> bytes:
        """Open a polling session; the target of its requests."""
        found = _SESSION.match((await self._ask(b"GET", POLLING))[1])
        assert found is not None
        return POLLING + b"&sid=" + found[1]

    async def _leave(self, answer: bytes) -> None:
        """Close the session that a request opened by accident."""
        if found := _SESSION.search(answer):
            await self._ask(b"POST", POLLING + b"&sid=" + found[1], b"1")

    async def _ask(self, method: bytes, target: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """One request on a connection of its own: status and body of the answer."""
        fields = b"Host: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        async with self._open() as (reader, writer):
            writer.write(b"%b %b HTTP/1.1\r\n%b%b" % (method, target, fields, body))
            answer = await reader.read(-1)
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), content

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection from another address of the loopback than the last ones: limits are per address."""
        self._source += 1
        address = f"127.1.{self._source // 250 % 250}.{self._source % 250 + 1}"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


class Replica:
    """The replica's process as it looks from outside."""

    def __init__(self, server: Process) -> None:
        self.process = psutil.Process(server.pid)
        self._url = f"http://127.0.0.1:{server.port}/metrics"
        self.figures = self._read()
        """Clients, before anybody sent a mutated frame."""
        self.files = self.process.num_fds()

    def _read(self) -> list[str]:
        return _FIGURES.findall(httpx.get(self._url).text)

    async def rest(self) -> int:
        """Return, once clients are what they were, the resident memory (bytes) that it settles at."""
        sizes: list[int] = []
        async with asyncio.timeout(TIMEOUT_S):
            while self._read() != self.figures or self.process.num_fds() > self.files + SPARE_FILES:  # noqa: ASYNC110 # nobody tells
                await asyncio.sleep(0.2)
            while len(sizes) < 5 or max(sizes[-5:]) - min(sizes[-5:]) > LEAK_LIMIT_BYTES // 30:
                sizes.append(self.process.memory_info().rss)
                await asyncio.sleep(0.2)
        return sizes[-1]


@pytest.fixture
def server(tmp_path: Path, redis: Process) -> Iterator[Process]:
    """A replica in a process of its own, behind it a Redis, an ingestor and an exchange."""
    exchange_port = free_port()
    settings = {
        "BUS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "EXCHANGE": "simulate",
        "EXCHANGE_URL": f"http://127.0.0.1:{exchange_port}",
        "SIM_SYMBOLS": "8",
        # What is to be tried is behind the quotas.
        "COMMANDS_PER_SECOND": "1000000",
        "HANDSHAKES_PER_SECOND": "1000000",
    }
    with (
        tickcast("exchange", exchange_port, tmp_path, settings),
        tickcast("ingestor", 0, tmp_path, settings),
        tickcast("replica", free_port(), tmp_path, settings) as replica,
    ):
        yield replica


async def _fuzz(server: Process) -> None:
    async with Neighbours(server.port) as neighbours:
        replica, fuzzer = Replica(server), Fuzzer(server.port)
        await fuzzer.round()
        before = await replica.rest()
        await fuzzer.round()
        grown = await replica.rest() - before
        await neighbours.hear_more()
        neighbours.check()
    assert fuzzer.sent >= 2 * ROUND
    assert grown < LEAK_LIMIT_BYTES, f"{grown / 1e6:.1f} MB"
    assert replica.process.is_running()


@pytest.mark.long
@pytest.mark.timeout(240)
def test_mutated_frames_neither_kill_a_replica_nor_leak_nor_disturb_its_other_clients(server: Process) -> None:
    asyncio.run(_fuzz(server))
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "failed" not in log
