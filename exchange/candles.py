"""Candles of one symbol, built from its trades; every longer one is the sum of shorter ones.

Five levels are kept, 1s, 1m, 15m, 1h and 1d; a closed candle of one is added to the open candle of
the next, so that a trade costs one addition. All other intervals are put together on demand.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Protocol

import msgspec

from market.intervals import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, next_open_time, open_time

LEVELS: Final = (SECOND_MS, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, DAY_MS)
"""Lengths of the kept candles in ms, each a multiple of the one before."""
MINUTE_LEVEL: Final = 1

_KEPT: Final = (1_000, 3_000, 3_000, 3_000, 1_500)
# Old candles are cut off in lumps: dropping one at a time would move the whole list each time.
_SLACK: Final = 1.25
_LEVEL_OF: Final = {
    "1s": 0,
    **dict.fromkeys(("1m", "3m", "5m"), 1),
    **dict.fromkeys(("15m", "30m"), 2),
    **dict.fromkeys(("1h", "2h", "4h", "6h", "8h", "12h"), 3),
    **dict.fromkeys(("1d", "3d", "1w", "1M"), 4),
}
_HOUR_LEVEL: Final = 3
_QUARTER_LEVEL: Final = 2


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade; price and quantity in the units of its symbol's spec."""

    trade_id: int
    price: int
    quantity: int
    time_ms: int
    buyer_is_maker: bool


class AggTrade(Trade, frozen=True, gc=False):
    """Trades of one moment, price and side; `trade_id` is the aggregate's own id."""

    first_id: int
    last_id: int


class Candle(msgspec.Struct, gc=False):
    """Trades of a period, in the units of the symbol's spec; `quote` is the sum of price times quantity.

    Without a trade all prices are the previous close and both ids are -1, as on Binance.
    """

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    trades: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    first_id: int = -1
    last_id: int = -1

    @classmethod
    def empty(cls, open_ms: int, price: int) -> "Candle":
        """A period without a trade so far."""
        return cls(open_ms, price, price, price, price)

    def add(self, trade: Trade) -> None:
        """Count one more trade in."""
        price, quantity = trade.price, trade.quantity
        if self.trades == 0:
            self.open = self.high = self.low = price
            self.first_id = trade.trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = trade.trade_id
        self.trades += 1
        self.volume += quantity
        self.quote += price * quantity
        if not trade.buyer_is_maker:
            self.taker_volume += quantity
            self.taker_quote += price * quantity

    def absorb(self, later: "Candle") -> None:
        """Count in the candle of a later part of this period."""
        if later.trades == 0:
            return
        if self.trades == 0:
            self.open, self.high, self.low = later.open, later.high, later.low
            self.first_id = later.first_id
        else:
            self.high = max(self.high, later.high)
            self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.trades += later.trades
        self.volume += later.volume
        self.quote += later.quote
        self.taker_volume += later.taker_volume
        self.taker_quote += later.taker_quote


class History(Protocol):
    """What came before the first trade that the store saw."""

    def candle(self, level: int, open_ms: int) -> Candle:
        """The candle of LEVELS[level] that opens at `open_ms`."""


class CandleStore:
    """All candles of one symbol: those of `history` up to its start, then those of the trades added.

    Keeps at most 1000 to 3000 closed candles a level (some 17 minutes of 1s, 50 hours of 1m, 4 years
    of 1d); older ones come from `history` again, which knows nothing of the trades. Without a
    history the store begins with its first trade, and anew with the first after more than a day
    without any.
    """

    def __init__(self, start_ms: int = 0, price: int = 0, history: History | None = None) -> None:
        self._history = history
        self._begin(start_ms, price)
        self._is_begun = history is not None

    def _begin(self, start_ms: int, price: int) -> None:
        second = start_ms // SECOND_MS * SECOND_MS
        self._closed: tuple[list[Candle], ...] = tuple([] for _ in LEVELS)
        self._open = [Candle.empty(second // length * length, price) for length in LEVELS]
        self._until = second + SECOND_MS
        self._windows: dict[int, tuple[int, Candle]] = {}
        """By length in ms: the minute that is open, and the sum of the window before it."""
        if self._history is not None:
            for level, (length, longer) in enumerate(pairwise(LEVELS)):
                begin, end = second // longer * longer, second // length * length
                self._open[level + 1] = self._sum(level, begin, end) or Candle.empty(begin, price)

    @property
    def open_ms(self) -> int:
        """When the second that is open now began."""
        return self._open[0].open_ms

    def add(self, trade: Trade) -> None:
        """Count a trade in; trades come in order of time, late ones count into the open second."""
        if not self._is_begun or (self._history is None and trade.time_ms >= self._until + DAY_MS):
            self._begin(trade.time_ms, trade.price)
            self._is_begun = True
        self.advance(trade.time_ms)
        self._open[0].add(trade)

    def advance(self, now_ms: int) -> None:
        """Close every candle that ends at or before `now_ms`; without a history at most a day's."""
        if not self._is_begun or (self._history is None and now_ms >= self._until + DAY_MS):
            return
        while now_ms >= self._until:
            self._close_second()

    def candle(self, interval: str, open_ms: int, shift_ms: int = 0) -> Candle | None:
        """The candle of `interval` that opens at `open_ms`, or None where nothing is known of it.

        `shift_ms` is the offset from UTC of the day that intervals follow: whole quarters of an hour.
        """
        if not self._is_begun:
            return None
        finest = _LEVEL_OF[interval]
        if shift_ms:
            finest = min(finest, _QUARTER_LEVEL if shift_ms % HOUR_MS else _HOUR_LEVEL)
        return self._sum(finest, open_ms, next_open_time(interval, open_ms + shift_ms) - shift_ms)

    def rows(
        self, interval: str, begin_ms: int | None, end_ms: int | None, limit: int, shift_ms: int = 0
    ) -> list[Candle]:
        """At most `limit` candles by ascending open time, as REST klines selects them.

        With `begin_ms` the oldest that open at or after it, without it the latest that open at or
        before `end_ms` (default: now). `shift_ms` as in `candle`.
        """
        if not self._is_begun:
            return []
        # Open times are found on the shifted clock.
        now = open_time(interval, self.open_ms + shift_ms)
        last = now if end_ms is None else min(now, open_time(interval, end_ms + shift_ms))
        if begin_ms is None:
            opens = list(_backward(interval, last, limit))[::-1]
        else:
            begin = begin_ms + shift_ms
            first = open_time(interval, begin)
            opens = list(_forward(interval, first if first == begin else next_open_time(interval, first), last, limit))
        candles = (self.candle(interval, open_ms - shift_ms, shift_ms) for open_ms in opens)
        return [candle for candle in candles if candle is not None]

    def day(self) -> Candle:
        """The last 24 hours, from a full minute on: `open_ms` is the minute 1440 before the open one."""
        return self.window(DAY_MS)

    def window(self, length_ms: int) -> Candle:
        """The last `length_ms` (whole minutes) and the open minute; the few lengths in use are remembered."""
        minute = self.open_ms // MINUTE_MS * MINUTE_MS
        known = self._windows.get(length_ms)
        if known is None or known[0] != minute:
            known = self._windows[length_ms] = (minute, self._past(minute - length_ms, minute))
        total = msgspec.structs.replace(known[1])
        total.absorb(self._current(MINUTE_LEVEL))
        return total

    def previous_close(self) -> int:
        """Last price before the window of `day`; the window's open where nothing is known of it."""
        before = self._part(MINUTE_LEVEL, self.open_ms // MINUTE_MS * MINUTE_MS - DAY_MS - MINUTE_MS)
        return before.close if before is not None else self.day().open

    def _close_second(self) -> None:
        end = self._until
        for level, length in enumerate(LEVELS):
            if end % length:
                break
            done = self._open[level]
            kept = self._closed[level]
            kept.append(done)
            if len(kept) > _KEPT[level] * _SLACK:
                del kept[: len(kept) - _KEPT[level]]
            if level + 1 < len(LEVELS):
                self._open[level + 1].absorb(done)
                if self._open[level + 1].trades == 0:
                    self._open[level + 1] = Candle.empty(self._open[level + 1].open_ms, done.close)
            self._open[level] = Candle.empty(end, done.close)
        self._until = end + SECOND_MS

    def _part(self, level: int, open_ms: int) -> Candle | None:
        if open_ms == self._open[level].open_ms:
            return self._current(level)
        kept = self._closed[level]
        if kept and open_ms >= kept[0].open_ms:
            index = (open_ms - kept[0].open_ms) // LEVELS[level]
            return kept[index] if index < len(kept) else None
        if self._history is None or open_ms > self._open[level].open_ms:
            return None
        return self._history.candle(level, open_ms)

    def _current(self, level: int) -> Candle:
        """The open candle of a level: its closed parts and all open shorter ones."""
        total = msgspec.structs.replace(self._open[level])
        for shorter in reversed(self._open[:level]):
            total.absorb(shorter)
        return total

    def _past(self, begin_ms: int, end_ms: int) -> Candle:
        return self._sum(MINUTE_LEVEL, begin_ms, end_ms) or Candle.empty(begin_ms, self._open[0].open)

    def _sum(self, finest: int, begin_ms: int, end_ms: int) -> Candle | None:
        """The sum of what is known from `begin_ms` up to `end_ms` or now, in as few parts as the levels allow.

        Both are multiples of LEVELS[finest]. None where nothing is known.
        """
        total: Candle | None = None
        at = begin_ms
        while at < min(end_ms, self.open_ms + 1):
            level = max(i for i, size in enumerate(LEVELS) if i == finest or (at % size == 0 and at + size <= end_ms))
            part = self._part(level, at)
            if part is not None and total is None:
                total = msgspec.structs.replace(part, open_ms=begin_ms)
            elif part is not None and total is not None:
                total.absorb(part)
            at += LEVELS[level]
        return total


def _backward(interval: str, last_ms: int, limit: int) -> Iterator[int]:
    at = last_ms
    for _ in range(limit):
        yield at
        at = open_time(interval, at - 1)


def _forward(interval: str, first_ms: int, last_ms: int, limit: int) -> Iterator[int]:
    at = first_ms
    for _ in range(limit):
        if at > last_ms:
            return
        yield at
        at = next_open_time(interval, at)
