"""Candles, and the seam between those of the past and live ones. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec


class Candle(msgspec.Struct, frozen=True):
    """One candle: times in ms since the epoch, prices and volumes as the exchange's strings.

    `trades` and `quote_volume` are None where the exchange does not tell.
    """

    open_time: int
    close_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str | None
    trades: int | None
    is_closed: bool | None
    """None where nobody said: the last one of an answer about the past may still be open."""

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Candle":
        """A row of 12 columns, as Binance's `klines` has it."""
        opened, first, high, low, last, volume, closes, quote, trades, *_ = row
        return cls(opened, closes, first, high, low, last, volume, quote, trades, None)

    @classmethod
    def from_payload(cls, data: Mapping[str, Any]) -> "Candle":
        """The payload of a kline stream."""
        k = data["k"]
        return cls(k["t"], k["T"], k["o"], k["h"], k["l"], k["c"], k["v"], k.get("q"), k.get("n"), k["x"])


class CandleSeries:
    """Joins candles of one stream: each closed one once and in order, the open one whenever it changes."""

    def __init__(self) -> None:
        self._last: Candle | None = None

    def begin(self, rows: Iterable[Candle]) -> list[Candle]:
        """Candles of the past, oldest first: all but the last are closed, of that one live messages will tell."""
        candles = list(rows)
        closed = [msgspec.structs.replace(candle, is_closed=True) for candle in candles[:-1]]
        return self._pass([*closed, *(msgspec.structs.replace(candle, is_closed=False) for candle in candles[-1:])])

    def hole_before(self, live: Candle) -> int | None:
        """From which open time on candles are missing before `live`; None where it follows."""
        last = self._last
        if last is None or live.open_time <= last.open_time:
            return None
        if not last.is_closed:
            return last.open_time
        return last.close_time + 1 if live.open_time > last.close_time + 1 else None

    def fill(self, rows: Sequence[Candle], live: Candle) -> tuple[list[Candle], bool]:
        """What belongs into the hole before `live`, from the past since its beginning, and whether that is all.

        It is once an answer reaches up to `live`. Before that its last row, which may be a second old, does not count.
        """
        is_all = bool(rows) and rows[-1].open_time >= live.open_time
        known = [candle for candle in rows if candle.open_time < live.open_time] if is_all else rows[:-1]
        return self._pass(msgspec.structs.replace(candle, is_closed=True) for candle in known), is_all

    def take(self, live: Candle) -> list[Candle]:
        """A live candle, unless it is older than what was shown: of one candle, the volume never falls."""
        return self._pass([live])

    def _pass(self, candles: Iterable[Candle]) -> list[Candle]:
        passed = []
        for candle in candles:
            if self._last is None or _follows(candle, self._last):
                passed.append(candle)
                self._last = candle
        return passed


def _follows(candle: Candle, last: Candle) -> bool:
    if candle.open_time != last.open_time:
        return candle.open_time > last.open_time
    if last.is_closed:
        return False
    return bool(candle.is_closed) or Decimal(candle.volume) >= Decimal(last.volume)
