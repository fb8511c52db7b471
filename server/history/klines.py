"""Historical klines for all doors, selected as Binance selects them, from blocks that are fetched once.

Source: Binance "Kline/Candlestick data": with startTime the oldest from there, with endTime alone the
latest up to it, with neither the latest.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from bus.base import Bus
from market.errors import Code, MarketError
from market.klines import BLOCK_ROWS, LATEST_MS, Row, Stretch, block_number, encode_rows
from market.streams import INTERVALS, Market
from market.venue import VenueRest
from server.history.blocks import HEAD_ROWS, Blocks, Series

DEFAULT_ROWS: Final = 500
MAX_ROWS: Final = 10_000
"""The most rows of one answer, some 1.6 MB; Binance itself stops at 1000 (spot) and 1500 (futures)."""
MAX_TURNS: Final = 4
"""How many requests for history one client may have under way."""

_AT_ONCE: Final = 4
_MAX_BLOCKS: Final = 64


class KlineQuery(NamedTuple):
    """A question for candles; times in ms since the epoch, at most `limit` rows, the symbol in any case."""

    market: Market
    symbol: str
    interval: str
    limit: int = DEFAULT_ROWS
    start_ms: int | None = None
    end_ms: int | None = None

    def check(self) -> None:
        """Raise MarketError (bad_request) for what has no answer."""
        if self.interval not in INTERVALS[self.market]:
            raise MarketError(Code.BAD_REQUEST, f"Invalid interval: {self.interval[:20]}")
        if not 1 <= self.limit <= MAX_ROWS:
            raise MarketError(Code.BAD_REQUEST, f"limit must be between 1 and {MAX_ROWS}")
        for name, at_ms in (("startTime", self.start_ms), ("endTime", self.end_ms)):
            if at_ms is not None and not 0 <= at_ms <= LATEST_MS:
                raise MarketError(Code.BAD_REQUEST, f"{name} must be in ms since the epoch, 0 to {LATEST_MS}")


class History:
    """Candles by way of the exchange's REST API; one per replica, shared by its doors."""

    def __init__(self, rest: VenueRest, bus: Bus) -> None:
        self.blocks = Blocks(rest, bus)
        self._turns: dict[object, int] = {}

    async def klines(self, query: KlineQuery) -> bytes:
        """A JSON array of rows of 12 columns, oldest first, each as Binance wrote it or with Bybit's figures.

        The open candle may be up to 1 s old. Raises MarketError (bad_request, rate_limited) and
        market.venue.RestError; server/refusals.py turns both into what clients are told.
        """
        query.check()
        series = Series(query.market, query.symbol.upper(), query.interval)
        if query.start_ms is None:
            rows = await self._latest(series, query.end_ms, query.limit)
        else:
            end_ms = LATEST_MS if query.end_ms is None else query.end_ms
            rows = await self._from(series, query.start_ms, end_ms, query.limit)
        return encode_rows(rows)

    @contextmanager
    def turn(self, client: object) -> Iterator[None]:
        """Hold one of a client's MAX_TURNS while its request is under way. Raises MarketError (rate_limited)."""
        held = self._turns.get(client, 0)
        if held >= MAX_TURNS:
            raise MarketError(Code.RATE_LIMITED, f"At most {MAX_TURNS} requests for history of a client at once")
        self._turns[client] = held + 1
        try:
            yield
        finally:
            left = self._turns.pop(client) - 1
            if left:
                self._turns[client] = left

    async def close(self) -> None:
        """End what is under way."""
        await self.blocks.close()

    async def _latest(self, series: Series, end_ms: int | None, limit: int) -> Sequence[Row]:
        """The latest `limit` candles that open at or before `end_ms`."""
        parts: list[Sequence[Row]] = []
        if end_ms is None:
            # Which block is the open one, the exchange says and not our clock: a recording has its own time.
            head = (await self.blocks.head(series)).rows
            if len(head) < HEAD_ROWS or len(head) >= limit:
                return head[-limit:]
            parts, missing, before_ms = [head], limit - len(head), head[0].open_ms
        else:
            missing, before_ms = limit, end_ms + 1
        number = block_number(series.interval, before_ms - 1)
        budget = _Budget()
        at_once = 1
        while missing > 0 and number >= 0:
            numbers = range(number, max(-1, number - at_once), -1)
            for at, block in zip(numbers, await self._load(series, numbers, budget), strict=True):
                part = [row for row in block.rows if row.open_ms < before_ms]
                parts.append(part)
                missing -= len(part)
                number = at - 1
                if not block.rows:
                    number = await self._number_before(series, at, block)
                    break
            at_once = _window(missing)
        return [row for part in reversed(parts) for row in part][-limit:]

    async def _number_before(self, series: Series, number: int, block: Stretch) -> int:
        """The number of the last block before an empty one that holds a candle, -1 where there is none."""
        earlier = (await self.blocks.before(series, number, block)).rows
        return block_number(series.interval, earlier[-1].open_ms) if earlier else -1

    async def _from(self, series: Series, start_ms: int, end_ms: int, limit: int) -> Sequence[Row]:
        """The oldest `limit` candles that open from `start_ms` to `end_ms`."""
        rows: list[Row] = []
        number, last = (block_number(series.interval, at_ms) for at_ms in (start_ms, end_ms))
        budget = _Budget()
        at_once = 1
        while len(rows) < limit and number <= last:
            numbers = range(number, min(last + 1, number + at_once))
            for block in await self._load(series, numbers, budget):
                rows += [row for row in block.rows if start_ms <= row.open_ms <= end_ms]
                if block.later_ms is None:
                    return rows[:limit]
                number = block_number(series.interval, block.later_ms)
            at_once = _window(limit - len(rows))
        return rows[:limit]

    async def _load(self, series: Series, numbers: Sequence[int], budget: "_Budget") -> list[Stretch]:
        budget.take(len(numbers))
        return await asyncio.gather(*(self.blocks.block(series, number) for number in numbers))


class _Budget:
    """How many blocks one answer may be gathered from: candles may be sparse, and the exchange's weight is ours."""

    def __init__(self) -> None:
        self._left = _MAX_BLOCKS

    def take(self, blocks: int) -> None:
        """Take so many. Raises MarketError (bad_request) when none are left."""
        self._left -= blocks
        if self._left < 0:
            raise MarketError(Code.BAD_REQUEST, "These candles are too far apart; ask for fewer of them")


def _window(missing: int) -> int:
    """How many blocks to fetch at once where so many rows are missing."""
    return max(1, min(_AT_ONCE, -(-missing // BLOCK_ROWS)))
