"""What a REST request costs, and how much of Binance's minute one process spends.

Source: Binance "Market data endpoints" and "Limits" (spot), "Market Data" (USD-M futures).
"""

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from market.streams import Market
from market.venue import RateLimited

WEIGHT_PER_MINUTE: Final = {Market.SPOT: 6_000, Market.FUTURES: 2_400}
"""REQUEST_WEIGHT of exchangeInfo.rateLimits, per IP."""

SHARE: Final = 0.5
"""The part of the limit that we use, all processes with one ledger together: others share the address."""

MINUTE_S: Final = 60.0
"""The span over which Binance counts weight, in s."""

_SPOT_DEPTH: Final = ((100, 500, 1_000, 5_000), (5, 25, 50, 250))
_FUTURES_DEPTH: Final = ((50, 100, 500, 1_000), (2, 5, 10, 20))
_FUTURES_KLINES: Final = ((99, 499, 1_000, 1_500), (1, 2, 5, 10))
_SPOT_24H: Final = ((1, 20, 100), (2, 2, 40))
_SPOT_24H_ALL: Final = 80
_FUTURES_24H: Final = (1, 40)
_PRICE: Final = {Market.SPOT: (2, 4), Market.FUTURES: (1, 2)}
_BOOK_TICKER: Final = {Market.SPOT: (2, 4), Market.FUTURES: (2, 5)}
_PREMIUM_INDEX: Final = (1, 10)
_TRADES: Final = {Market.SPOT: 25, Market.FUTURES: 5}
_AGG_TRADES: Final = {Market.SPOT: 4, Market.FUTURES: 20}


def exchange_info(market: Market) -> int:
    """Weight of exchangeInfo."""
    return 20 if market is Market.SPOT else 1


def klines(market: Market, limit: int) -> int:
    """Weight of klines with this `limit`."""
    return 2 if market is Market.SPOT else _tier(_FUTURES_KLINES, limit)


def depth(market: Market, limit: int) -> int:
    """Weight of depth with this `limit`."""
    return _tier(_SPOT_DEPTH if market is Market.SPOT else _FUTURES_DEPTH, limit)


def trades(market: Market) -> int:
    """Weight of trades."""
    return _TRADES[market]


def agg_trades(market: Market) -> int:
    """Weight of aggTrades."""
    return _AGG_TRADES[market]


def ticker_24h(market: Market, symbols: int) -> int:
    """Weight of ticker/24hr for so many symbols; 0 = all."""
    if market is Market.FUTURES:
        return _one_or_more(_FUTURES_24H, symbols)
    limits, costs = _SPOT_24H
    return _SPOT_24H_ALL if not symbols or symbols > limits[-1] else costs[bisect_left(limits, symbols)]


def ticker_price(market: Market, symbols: int) -> int:
    """Weight of ticker/price for so many symbols; 0 = all."""
    return _one_or_more(_PRICE[market], symbols)


def book_ticker(market: Market, symbols: int) -> int:
    """Weight of ticker/bookTicker for so many symbols; 0 = all."""
    return _one_or_more(_BOOK_TICKER[market], symbols)


def premium_index(symbols: int) -> int:
    """Weight of premiumIndex for so many symbols; 0 = all."""
    return _one_or_more(_PREMIUM_INDEX, symbols)


class WeightBudget:
    """The request weight of one market within Binance's minute, and the pause that Binance ordered.

    Counts what was spent here and believes Binance's own count where that is higher. `clock` reads
    s since the epoch, as Binance's minutes do.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        self.allowance = int(limit * SHARE)
        self.refused_total = 0
        self._clock = clock
        self._minute = 0
        self._used = 0
        self._paused_until = 0.0
        self._pause: tuple[int, str] = (0, "")

    @property
    def minute(self) -> int:
        """Number of the current minute; hand it to `observe` with the answer's count."""
        return int(self._clock() // MINUTE_S)

    @property
    def used(self) -> int:
        """Weight used in the current minute, as far as known."""
        return self._used if self._minute == self.minute else 0

    @property
    def now(self) -> float:
        """What the clock reads, in s since the epoch."""
        return self._clock()

    def spend(self, weight: int) -> None:
        """Take `weight` from this minute's allowance; raises RateLimited while that is not possible."""
        self.check_pause()
        used = self.used
        if used + weight > self.allowance:
            raise self.exhausted(f"{used} of {self.allowance} request weight used this minute.")
        self._minute, self._used = self.minute, used + weight

    def check_pause(self) -> None:
        """Raise RateLimited while Binance's pause lasts."""
        now = self._clock()
        if now < self._paused_until:
            self.refused_total += 1
            status, message = self._pause
            raise RateLimited(self._paused_until - now, message, status)

    def exhausted(self, message: str) -> RateLimited:
        """The refusal, counted, of a request that this minute has no weight left for."""
        self.refused_total += 1
        return RateLimited(MINUTE_S - self._clock() % MINUTE_S, message)

    def observe(self, used: int, minute: int) -> None:
        """Take over Binance's count of the `minute` in which the request was sent, where it is higher."""
        if minute == self.minute:
            self._minute, self._used = minute, max(self.used, used)

    def pause(self, retry_after_s: float, status: int, message: str) -> None:
        """Refuse everything for `retry_after_s`: Binance answered `status` 429 or 418."""
        until = self._clock() + retry_after_s
        if until > self._paused_until:
            self._paused_until, self._pause = until, (status, message)


def _tier(tiers: tuple[tuple[int, ...], tuple[int, ...]], limit: int) -> int:
    limits, costs = tiers
    return costs[min(bisect_left(limits, limit), len(costs) - 1)]


def _one_or_more(costs: tuple[int, int], symbols: int) -> int:
    return costs[0] if symbols == 1 else costs[1]
