"""Records any Binance-compatible exchange into the line format of `binance/recordings.py`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from binance.frames import slice_frame
from binance.recording_writer import FLUSH_S, RecordingWriter
from binance.routes import MAX_STREAMS, Route, batches, combined_url, route_of
from binance.settings import Endpoints
from binance.subscriptions import Method, Request, encode_request
from market.backoff import Backoff
from market.errors import MarketError
from market.streams import Market, StreamName

# Below the 5 a second of spot, with room for pongs.
_BETWEEN_REQUESTS_S: Final = 0.3
_QUEUED_FRAMES: Final = 1_024

_log = structlog.get_logger(__name__)


class Recorder:
    """Receives streams of one market over one connection per route and writes them down."""

    def __init__(self, ws_base: str, market: Market, streams: Sequence[str], writer: RecordingWriter) -> None:
        base = ws_base.rstrip("/")
        self._endpoints = Endpoints(base, base, "", "")
        self._market = market
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
                self._writer.write(time.time_ns() // 1_000_000, self._market, path, raw)
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
