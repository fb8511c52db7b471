"""Historical klines for this replica's clients: identical requests in flight are one, answers are kept briefly."""

import asyncio
import time
from collections import OrderedDict
from typing import Final, NamedTuple

from binance.rest import RestClient
from market.errors import Code, MarketError
from market.intervals import FUTURES_INTERVALS, SPOT_INTERVALS
from market.streams import Market

MAX_ROWS: Final = 1000
KEEP_S: Final = 1.0
"""How long an answer is given again, in s: the last candle is still open."""
MAX_KEPT: Final = 256


class KlineQuery(NamedTuple):
    """A checked question for candles; times in ms since the epoch, `limit` at most MAX_ROWS."""

    market: Market
    symbol: str
    interval: str
    limit: int
    start_ms: int | None = None
    end_ms: int | None = None

    def check(self) -> None:
        """Raise MarketError (bad_request) where the exchange would refuse."""
        intervals = SPOT_INTERVALS if self.market is Market.SPOT else FUTURES_INTERVALS
        if self.interval not in intervals:
            raise MarketError(Code.BAD_REQUEST, f"Invalid interval: {self.interval[:20]}")
        if not 1 <= self.limit <= MAX_ROWS:
            raise MarketError(Code.BAD_REQUEST, f"limit must be 1 to {MAX_ROWS}")


class History:
    """Candles by way of the exchange's REST API."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        self._kept: OrderedDict[KlineQuery, tuple[float, asyncio.Task[bytes]]] = OrderedDict()

    async def klines(self, query: KlineQuery) -> bytes:
        """A JSON array of rows of 12 columns, oldest first. Raises MarketError and binance.errors.RestError."""
        query.check()
        now = time.monotonic()
        asked_at, task = self._kept.get(query, (0.0, None))
        stale = task is None or (task.done() and (now - asked_at > KEEP_S or task.exception() is not None))
        if task is None or stale:
            task = asyncio.get_running_loop().create_task(self._ask(query))
            self._kept[query] = (now, task)
            self._kept.move_to_end(query)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(task)

    async def _ask(self, query: KlineQuery) -> bytes:
        return await self._rest.klines(
            query.market, query.symbol, query.interval, query.limit, start_ms=query.start_ms, end_ms=query.end_ms
        )
