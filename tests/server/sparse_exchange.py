"""A REST server with whatever candles a test wants, and the plain reference that it selects them by."""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from binance.settings import Endpoints, stand_in


def select(opens_ms: Sequence[int], limit: int, start_ms: int | None, end_ms: int | None) -> Sequence[int]:
    """Which of these candles Binance answers with, by their ascending open times."""
    last = len(opens_ms) if end_ms is None else bisect_right(opens_ms, end_ms)
    if start_ms is None:
        return opens_ms[max(0, last - limit) : last]
    first = bisect_left(opens_ms, start_ms)
    return opens_ms[first : min(last, first + limit)]


def answer(opens_ms: Sequence[int], limit: int, start_ms: int | None, end_ms: int | None) -> bytes:
    """What Binance answers that has these candles. The two newest still change: their trades grow with the number."""
    moving = opens_ms[-2:]
    rows = [
        b'[%d,"1.5","2.5","0.5","1.0","7",%d,"9",%d,"4","5","0"]'
        % (open_ms, open_ms + 1, len(opens_ms) if open_ms in moving else open_ms % 1_009)
        for open_ms in select(opens_ms, limit, start_ms, end_ms)
    ]
    return b"[%b]" % b",".join(rows)


class SparseExchange:
    """Answers klines with the candles in `opens_ms`, ascending; `limits` are those it was asked for."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.opens_ms: Sequence[int] = ()
        self.limits: list[int] = []

    async def klines(self, request: web.Request) -> web.Response:
        """The handler."""
        query = request.query
        limit = int(query["limit"])
        self.limits.append(limit)
        start_ms, end_ms = (int(query[name]) if name in query else None for name in ("startTime", "endTime"))
        return web.Response(body=answer(self.opens_ms, limit, start_ms, end_ms), content_type="application/json")


@asynccontextmanager
async def sparse_exchange() -> AsyncIterator[SparseExchange]:
    """A running one."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None)
    exchange = SparseExchange(stand_in(""))
    for path in ("/api/v3/klines", "/fapi/v1/klines"):
        app.router.add_get(path, exchange.klines)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    exchange.endpoints = stand_in(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield exchange
    finally:
        await runner.cleanup()
