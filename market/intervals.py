"""Kline intervals: their names, lengths and open times.

Sources: Binance "Kline/Candlestick Streams", Bybit v5 "Kline", whose intervals have Binance's names here.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# Fixed lengths in ms. "1M" follows the calendar and is handled apart.
_FIXED_MS: Final[dict[str, int]] = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}

SPOT_INTERVALS: Final = frozenset(_FIXED_MS) | {"1M"}
FUTURES_INTERVALS: Final = SPOT_INTERVALS - {"1s"}
BYBIT_INTERVALS: Final = SPOT_INTERVALS - {"1s", "8h", "3d"}

# The epoch was a Thursday; Binance's weeks open on Monday.
_WEEK_OFFSET_MS: Final = 4 * DAY_MS


def open_time(interval: str, at_ms: int) -> int:
    """Open time in ms of the candle of `interval` that contains `at_ms`."""
    if interval == "1M":
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        return _to_ms(datetime(at.year, at.month, 1, tzinfo=UTC))
    length = _FIXED_MS[interval]
    offset = _WEEK_OFFSET_MS if interval == "1w" else 0
    return (at_ms - offset) // length * length + offset


def next_open_time(interval: str, open_ms: int) -> int:
    """Open time in ms of the candle after the one that opens at `open_ms`."""
    if interval == "1M":
        opened = datetime.fromtimestamp(open_ms / 1000, UTC)
        return _to_ms((opened.replace(day=28) + timedelta(days=4)).replace(day=1))
    return open_ms + _FIXED_MS[interval]


def close_time(interval: str, open_ms: int) -> int:
    """Close time in ms (inclusive, as Binance writes it) of the candle that opens at `open_ms`."""
    return next_open_time(interval, open_ms) - 1


def _to_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
