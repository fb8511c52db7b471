"""Which of Bybit's topics carries a stream, and how Bybit spells intervals.

Sources: Bybit v5 "Trade", "Ticker", "Kline" and "Orderbook" (Websocket Stream, Public), "Get Kline".
"""

from collections.abc import Mapping
from typing import Final

from market.streams import ALL, ARRAY, PARTIAL_DEPTHS, Kind, Market, StreamName

MAX_TOPICS: Final = 360
"""Topics that one connection may carry: with symbols of 40 letters within the 21,000 characters that Bybit allows."""

TOP_LEVELS: Final = 1
"""The order book topic of the best bid and ask; unchanged, Bybit repeats it every 3 s."""
_PARTIAL_LEVELS: Final = 50
_WHOLE_LEVELS: Final = 200

_LEVELS: Final[Mapping[Kind, int]] = {
    Kind.BOOK_TICKER: TOP_LEVELS,
    **dict.fromkeys(PARTIAL_DEPTHS, _PARTIAL_LEVELS),
    Kind.DEPTH: _WHOLE_LEVELS,
    Kind.BOOK: _WHOLE_LEVELS,
}
_INTERVALS: Final[Mapping[str, str]] = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
    "1M": "M",
}
INTERVAL_NAMES: Final[Mapping[str, str]] = {spelt: interval for interval, spelt in _INTERVALS.items()}
"""Our names of Bybit's intervals: `60` is `1h`."""


def interval_of(interval: str) -> str:
    """Bybit's spelling of an interval: `1h` is `60`. Raises KeyError for one that Bybit has not."""
    return _INTERVALS[interval]


def is_served(stream: StreamName) -> bool:
    """Whether Bybit has a topic for `stream`: it has none for all symbols together."""
    return stream.market is Market.BYBIT and stream.symbol not in (ALL, ARRAY)


def topic_of(stream: StreamName) -> str:
    """The topic that carries a served stream: `orderbook.50.BTCUSDT` for `bybit:btcusdt@depth5` and others."""
    symbol = stream.symbol.upper()
    if stream.kind is Kind.TRADE:
        return f"publicTrade.{symbol}"
    if stream.kind is Kind.KLINE:
        return f"kline.{interval_of(stream.option)}.{symbol}"
    if levels := _LEVELS.get(stream.kind):
        return f"orderbook.{levels}.{symbol}"
    return f"tickers.{symbol}"
