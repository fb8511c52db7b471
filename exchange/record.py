"""Records any Binance-compatible exchange into the line format of `exchange/recording.py`.

Lines gather for at most a second, then go to disk as one gzip member in one write: whatever happens
to the process, the file on disk ends with a whole member and any gzip reader reads it to the end.
"""

import asyncio
import gzip
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from binance.frames import slice_frame
from binance.routes import MAX_STREAMS, Route, batches, combined_url, route_of
from binance.settings import Endpoints
from binance.subscriptions import Method, Request, encode_request
from market.backoff import Backoff
from market.errors import MarketError
from market.streams import Market, StreamName

FLUSH_S: Final = 1.0
_FLUSH_BYTES: Final = 256 * 1024
# Below the 5 a second of spot, with room for pongs.
_BETWEEN_REQUESTS_S: Final = 0.3
_QUEUED_FRAMES: Final = 1_024

_log = structlog.get_logger(__name__)


class RecordingWriter:
    """Writes lines to files of a folder, a new one after `rotate_bytes` on disk or `rotate_s` seconds.

    Files are named `<market>-<UTC time>-<number>.ndjson.gz`. Raises OSError where the disk refuses.
    """

    def __init__(self, folder: Path, market: Market, *, rotate_bytes: int, rotate_s: float) -> None:
        self.lines_total = 0
        self.files: list[Path] = []
        self._folder = folder
        self._market = market
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._file = -1
        self._written = 0
        self._opened_at = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, ts_ms: int, path: str, raw: bytes) -> None:
        """Take one message received at `ts_ms` on a connection of URL path `path`."""
        head = f'{{"ts":{ts_ms},"market":"{self._market}","conn":"{path}","raw":'
        line = head.encode() + raw + b"}\n"
        self._gathered.append(line)
        self._gathered_bytes += len(line)
        self.lines_total += 1
        if self._gathered_bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put what has gathered on disk."""
        if not self._gathered:
            return
        self._rotate_if_due()
        member = gzip.compress(b"".join(self._gathered), compresslevel=6)
        self._gathered, self._gathered_bytes = [], 0
        while member:
            written = os.write(self._file, member)
            self._written += written
            member = member[written:]

    def close(self) -> None:
        """Put everything on disk and end the file."""
        self.flush()
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _rotate_if_due(self) -> None:
        now = time.monotonic()
        is_full = self._written >= self._rotate_bytes or now - self._opened_at >= self._rotate_s
        if self._file >= 0 and not is_full:
            return
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = self._folder / f"{self._market}-{stamp}-{len(self.files):04d}.ndjson.gz"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._written, self._opened_at = 0, now
        self.files.append(path)
        _log.info("recording to a new file", path=str(path))


class Recorder:
    """Receives streams of one market over one connection per route and writes them down."""

    def __init__(self, ws_base: str, market: Market, streams: Sequence[str], writer: RecordingWriter) -> None:
        base = ws_base.rstrip("/")
        self._endpoints = Endpoints(base, base, "", "")
        self._writer = writer
        self._by_route: dict[Route, list[str]] = {}
        for name in dict.fromkeys(streams):
            self._by_route.setdefault(_route_of(market, name), []).append(name)
        if max(map(len, self._by_route.values()), default=0) > MAX_STREAMS:
            raise ValueError(f"at most {MAX_STREAMS} streams fit on one connection")

    async def run(self) -> None:
        """Record until cancelled; a lost connection is opened again. Raises OSError where the disk refuses."""
        async with asyncio.TaskGroup() as tasks:
            for route, names in self._by_route.items():
                tasks.create_task(self._record(route, names))
            tasks.create_task(self._flush_regularly())

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._writer.flush()

    async def _record(self, route: Route, names: list[str]) -> None:
        backoff = Backoff()
        url = combined_url(self._endpoints, route)
        while True:
            try:
                async with connect(url, max_queue=_QUEUED_FRAMES, compression=None) as socket:
                    _log.info("recording", url=url, streams=len(names))
                    async with asyncio.TaskGroup() as tasks:
                        subscribing = tasks.create_task(_subscribe(socket, names))
                        await self._receive(socket, f"{route.value}/stream", backoff)
                        subscribing.cancel()
            except* (WebSocketException, OSError) as errors:
                _log.warning("connection lost, trying again", url=url, error=str(errors.exceptions[0]))
            await asyncio.sleep(backoff.next_s())

    async def _receive(self, socket: ClientConnection, path: str, backoff: Backoff) -> None:
        async for message in socket:
            raw = message.encode() if isinstance(message, str) else message
            # Answers to requests are no market data, and a line must stay a line.
            if b"\n" not in raw and slice_frame(raw) is not None:
                backoff.reset()
                self._writer.write(time.time_ns() // 1_000_000, path, raw)
            elif b'"error"' in raw:
                _log.error("the exchange refuses", answer=raw[:200].decode(errors="replace"))


async def _subscribe(socket: ClientConnection, names: list[str]) -> None:
    for number, params in enumerate(batches(names), start=1):
        await socket.send(encode_request(Request(Method.SUBSCRIBE, params, number)))
        await asyncio.sleep(_BETWEEN_REQUESTS_S)


def _route_of(market: Market, name: str) -> Route:
    try:
        return route_of(StreamName.parse(name, market))
    except MarketError:
        # Streams that have no name of ours: everything but books comes on /market.
        return Route.SPOT if market is Market.SPOT else Route.FUTURES_MARKET
