"""Stream names: parsed, checked and turned into room, channel, subject and key names here, and nowhere else.

Text form: `spot:btcusdt@kline_1m`; without the prefix a name means spot, except kinds that exist
only on futures. Sources: Binance "WebSocket Streams" (spot) and "Websocket Market Streams"
(USD-M futures); Bybit v5 "Public WebSocket" (spot), whose topics bybit/names.py maps to these names.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, Self

import msgspec

from market.errors import Code, MarketError
from market.intervals import BYBIT_INTERVALS, FUTURES_INTERVALS, SPOT_INTERVALS

ALL: Final = "*"
"""The symbol that stands for every trading symbol of a market, whose streams come one by one."""
ARRAY: Final = "!"
"""The symbol of Binance's own all-market streams (`!miniTicker@arr`), whose messages tell of many symbols at once.

Not so liquidations: `!forceOrder@arr` brings one symbol's at a time, and is therefore ALL's.
"""


class Market(StrEnum):
    """Which market a stream belongs to: Binance's spot and USD-M futures, or Bybit's spot."""

    SPOT = "spot"
    FUTURES = "futures"
    BYBIT = "bybit"


BINANCE_MARKETS: Final = (Market.SPOT, Market.FUTURES)
"""The markets that Binance's own protocol knows."""
INTERVALS: Final = {
    Market.SPOT: SPOT_INTERVALS,
    Market.FUTURES: FUTURES_INTERVALS,
    Market.BYBIT: BYBIT_INTERVALS,
}
"""The intervals of each market's klines."""


class Kind(StrEnum):
    """What a stream carries, in Binance's own words; `book` is ours."""

    KLINE = "kline"
    CONTINUOUS_KLINE = "continuousKline"
    """Candles of a continuous contract, whose symbol is `<pair>_<contract type>`."""
    TICKER = "ticker"
    TICKER_1H = "ticker_1h"
    TICKER_4H = "ticker_4h"
    TICKER_1D = "ticker_1d"
    MINI_TICKER = "miniTicker"
    DEPTH5 = "depth5"
    DEPTH10 = "depth10"
    DEPTH20 = "depth20"
    DEPTH = "depth"
    BOOK = "book"
    """A maintained order book: whole at first, then its changes."""
    BOOK_TICKER = "bookTicker"
    TRADE = "trade"
    AGG_TRADE = "aggTrade"
    AVG_PRICE = "avgPrice"
    MARK_PRICE = "markPrice"
    FORCE_ORDER = "forceOrder"


PARTIAL_DEPTHS: Final = frozenset({Kind.DEPTH5, Kind.DEPTH10, Kind.DEPTH20})
WINDOW_TICKERS: Final = frozenset({Kind.TICKER_1H, Kind.TICKER_4H, Kind.TICKER_1D})
SPOT_ONLY: Final = WINDOW_TICKERS | {Kind.AVG_PRICE}
FUTURES_ONLY: Final = frozenset({Kind.MARK_PRICE, Kind.FORCE_ORDER, Kind.CONTINUOUS_KLINE})
BYBIT_KINDS: Final = PARTIAL_DEPTHS | {
    Kind.KLINE,
    Kind.TICKER,
    Kind.MINI_TICKER,
    Kind.DEPTH,
    Kind.BOOK,
    Kind.BOOK_TICKER,
    Kind.TRADE,
}
EVENT_KINDS: Final = frozenset({Kind.TRADE, Kind.AGG_TRADE, Kind.DEPTH, Kind.BOOK, Kind.FORCE_ORDER})
"""Kinds of which every message matters; of all others (state kinds) only the latest value does."""

_EVENTS: Final = {**dict.fromkeys(PARTIAL_DEPTHS, "depth"), Kind.FORCE_ORDER: "liquidation"}

_DEPTH_SPEEDS: Final = {
    Market.SPOT: frozenset({"", "100ms", "1000ms"}),
    # 0ms is undocumented and stands in recordings of 2024.
    Market.FUTURES: frozenset({"", "0ms", "100ms", "250ms", "500ms"}),
    Market.BYBIT: frozenset({""}),
}
_MARKETS: Final = frozenset(Market)
_NO_OPTION: Final = frozenset({""})
_ARRAY_KINDS: Final = {
    Market.SPOT: WINDOW_TICKERS | {Kind.MINI_TICKER, Kind.TICKER},  # its !bookTicker, gone since 2022, had no order
    Market.FUTURES: frozenset({Kind.MINI_TICKER, Kind.TICKER, Kind.BOOK_TICKER, Kind.MARK_PRICE}),
    Market.BYBIT: frozenset[Kind](),
}
_KLINES: Final = frozenset({Kind.KLINE, Kind.CONTINUOUS_KLINE})
_SYMBOL: Final = re.compile(r"[^\W_][\w-]{0,39}\Z")
_CONTRACT: Final = re.compile(r"(?P<pair>.+?)_(?:perpetual|current_quarter|next_quarter|tradifi_perpetual)\Z")
_KIND_AND_OPTION: Final = re.compile(
    r"(?P<klines>kline|continuousKline)_(?P<interval>\d{1,2}[smhdwM](?:@\+08:00)?)\Z"
    r"|(?P<kind>ticker(?:_1h|_4h|_1d)?|miniTicker|depth(?:5|10|20)?|bookTicker|book|trade|aggTrade|avgPrice"
    r"|markPrice|forceOrder)"
    r"(?:@(?P<speed>\d{1,4}m?s))?\Z"
)
# All-market streams as Binance spells them; the value is the kind. `!ticker@arr` is gone from spot.
_ALL_MARKET: Final = re.compile(
    r"!(?:(?P<kind>miniTicker|ticker(?:_1h|_4h|_1d)?|markPrice|forceOrder)@arr(?:@(?P<option>1s))?|(?P<bare>bookTicker))\Z"
)


class StreamName(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """One stream: market, lower-case symbol (`*` = all, `!` = an all-market stream), kind, and the kind's option.

    The option is the interval of klines (`1m`, on spot also `1m@+08:00`), the speed of depth
    (`100ms`) and markPrice (`1s`), and empty otherwise. Build through `parse` or `of`: both check.
    """

    market: Market
    symbol: str
    kind: Kind
    option: str = ""

    @classmethod
    def parse(cls, text: str, market: Market | None = None) -> "StreamName":
        """The stream that `text` names; `market` applies where the text has no prefix.

        Raises MarketError (invalid_stream, invalid_symbol) for anything that the market has no
        stream for.
        """
        return _parse(text, market)

    @classmethod
    def of(cls, market: Market, symbol: str, kind: Kind, option: str = "") -> Self:
        """A checked stream from its parts; the symbol may be in any case. Raises MarketError."""
        name = symbol.lower()
        if name not in (ALL, ARRAY) and not _SYMBOL.match(name):
            raise MarketError(Code.INVALID_SYMBOL, f"Invalid symbol: {symbol[:40]}")
        if kind in FUTURES_ONLY and market is not Market.FUTURES:
            raise MarketError(Code.INVALID_STREAM, f"{kind} exists only on futures")
        if kind in SPOT_ONLY and market is not Market.SPOT:
            raise MarketError(Code.INVALID_STREAM, f"{kind} exists only on spot")
        if market is Market.BYBIT and kind not in BYBIT_KINDS:
            raise MarketError(Code.INVALID_STREAM, f"{kind} does not exist on bybit")
        if kind is Kind.BOOK and name == ALL:
            raise MarketError(Code.INVALID_STREAM, "A book is of one symbol")
        if kind is Kind.CONTINUOUS_KLINE and not _CONTRACT.match(name):
            raise MarketError(Code.INVALID_STREAM, "A continuous contract is <pair>_<contract type>: btcusdt_perpetual")
        if name == ARRAY and kind not in _ARRAY_KINDS[market]:
            raise MarketError(Code.INVALID_STREAM, f"There is no all-market stream of {kind}")
        if option not in _options(market, kind):
            raise MarketError(Code.INVALID_STREAM, f"Invalid option for {market} {kind}: {option or 'missing'}")
        return cls(market, name, kind, option)

    def __str__(self) -> str:
        return f"{self.market}:{self.binance_name}" if self.symbol != ALL else self._all_text

    @property
    def binance_name(self) -> str:
        """The name in Binance's protocol, `btcusdt@kline_1m`; all-market streams as `!markPrice@arr@1s`.

        ALL has none, liquidations aside: it is many streams.
        """
        if self.symbol == ARRAY and self.kind is Kind.BOOK_TICKER:
            return "!bookTicker"
        if self.symbol == ARRAY or (self.symbol == ALL and self.kind is Kind.FORCE_ORDER):
            return f"!{self.kind}@arr" + (f"@{self.option}" if self.option else "")
        return f"{self.symbol}@{self._kind_text}"

    @property
    def event(self) -> str:
        """Name of the Socket.IO event that carries the stream: `depth` for all depths, `liquidation` for forceOrder."""
        return _EVENTS.get(self.kind, self.kind.value)

    @property
    def is_state(self) -> bool:
        """Whether only the latest value matters."""
        return self.kind not in EVENT_KINDS

    @property
    def pair(self) -> str:
        """The symbol that has to trade for the stream to deliver: of a continuous contract its pair, else its own."""
        contract = _CONTRACT.match(self.symbol) if self.kind is Kind.CONTINUOUS_KLINE else None
        return contract["pair"] if contract else self.symbol

    @property
    def channel(self) -> str:
        """Redis channel of the stream's messages."""
        return f"md:{self}"

    @property
    def subject(self) -> str:
        """NATS subject of the stream's messages; `*` is a wildcard there and becomes `ALL`, `!` becomes `ARRAY`."""
        symbol = {ALL: "ALL", ARRAY: "ARRAY"}.get(self.symbol, self.symbol)
        return f"md.{self.market}.{symbol}.{self._kind_text}"

    @property
    def room(self) -> str:
        """Socket.IO room of the stream's subscribers."""
        return str(self)

    @property
    def last_key(self) -> str:
        """Key of the stream's last value in the bus's cache."""
        return f"last:{self}"

    @property
    def _kind_text(self) -> str:
        if not self.option:
            return self.kind.value
        return f"{self.kind}{'_' if self.kind in _KLINES else '@'}{self.option}"

    @property
    def _all_text(self) -> str:
        return f"{self.market}:{ALL}@{self._kind_text}"


def price_key(symbol: str) -> str:
    """Cache key of document 002's price of `symbol`: `prices:BTCUSDT`."""
    return f"prices:{symbol.upper()}"


@lru_cache(maxsize=16_384)
def _parse(text: str, market: Market | None) -> StreamName:
    prefix, colon, name = text.partition(":")
    if colon and prefix in _MARKETS:
        market = Market(prefix)
    else:
        name = text
    if every := _ALL_MARKET.match(name):
        kind = Kind(every["kind"] or every["bare"])
        # Names without a prefix mean spot wherever spot has such a stream.
        spot_has_it = kind is Kind.MINI_TICKER or kind in SPOT_ONLY
        fallback = Market.SPOT if spot_has_it else Market.FUTURES
        symbol = ALL if kind is Kind.FORCE_ORDER else ARRAY
        return StreamName.of(market or fallback, symbol, kind, every["option"] or "")
    symbol, at, rest = name.partition("@")
    parts = _KIND_AND_OPTION.match(rest) if at and symbol != ARRAY else None
    if parts is None:
        raise MarketError(Code.INVALID_STREAM, f"Invalid stream: {text[:80]}")
    kind = Kind(parts["kind"] or parts["klines"])
    fallback = Market.FUTURES if kind in FUTURES_ONLY else Market.SPOT
    return StreamName.of(market or fallback, symbol, kind, parts["interval"] or parts["speed"] or "")


@lru_cache(maxsize=64)
def _options(market: Market, kind: Kind) -> frozenset[str]:
    if kind is Kind.KLINE:
        if market is not Market.SPOT:
            return INTERVALS[market]
        return SPOT_INTERVALS | {f"{interval}@+08:00" for interval in SPOT_INTERVALS}
    if kind is Kind.DEPTH or kind in PARTIAL_DEPTHS:
        return _DEPTH_SPEEDS[market]
    if kind is Kind.CONTINUOUS_KLINE:
        return FUTURES_INTERVALS
    return frozenset({"", "1s"}) if kind is Kind.MARK_PRICE else _NO_OPTION
