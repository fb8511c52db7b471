"""What the exchange's payloads contain, as typed structs; the wire's letters in one comment each.

Prices and quantities stay the decimal strings that the exchange sends. Unknown keys are ignored, keys
that newer or older payloads lack are optional. Sources: Binance "WebSocket Streams" (spot) and
"Websocket Market Streams" (USD-M futures). Bybit's payloads are mapped to these (bybit/payloads.py).
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import field

from market.streams import PARTIAL_DEPTHS, WINDOW_TICKERS, Kind, Market, StreamName

Level: TypeAlias = tuple[str, str]
"""Price and quantity of one level of a book; quantity 0 deletes the level."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade (`@trade`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    trade_id: int = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    trade_ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")
    execution: str | None = field(name="X", default=None)  # futures: MARKET, RPI, NA, ...


class AggTrade(msgspec.Struct, frozen=True, gc=False):
    """Trades of one taker order at one price (`@aggTrade`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    aggregate_id: int = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    first_trade_id: int = field(name="f")
    last_trade_id: int = field(name="l")
    trade_ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")


class Candle(msgspec.Struct, frozen=True, gc=False):
    """The `k` of a kline payload."""

    open_ms: int = field(name="t")
    close_ms: int = field(name="T")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    first_trade_id: int = field(name="f")
    last_trade_id: int = field(name="L")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    trades: int = field(name="n")
    closed: bool = field(name="x")
    quote_volume: str = field(name="q")
    taker_volume: str = field(name="V")
    taker_quote_volume: str = field(name="Q")


class Kline(msgspec.Struct, frozen=True, gc=False):
    """A candle as it stands (`@kline_<interval>`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    candle: Candle = field(name="k")


class PlainCandle(msgspec.Struct, frozen=True, gc=False):
    """The `k` of a kline of Bybit's, which tells neither how many trades there were nor who took them."""

    open_ms: int = field(name="t")
    close_ms: int = field(name="T")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    closed: bool = field(name="x")
    quote_volume: str = field(name="q")


class PlainKline(msgspec.Struct, frozen=True, gc=False):
    """A candle of Bybit's as it stands (`@kline_<interval>`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    candle: PlainCandle = field(name="k")


class ContinuousCandle(msgspec.Struct, frozen=True, gc=False):
    """The `k` of a continuous contract's payload, which names no symbol; its ids are those of updates."""

    open_ms: int = field(name="t")
    close_ms: int = field(name="T")
    interval: str = field(name="i")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    trades: int = field(name="n")
    closed: bool = field(name="x")
    quote_volume: str = field(name="q")


class ContinuousKline(msgspec.Struct, frozen=True, gc=False):
    """A candle of a continuous contract as it stands (`@continuousKline_<interval>`)."""

    event_ms: int = field(name="E")
    pair: str = field(name="ps")
    contract_type: str = field(name="ct")
    candle: ContinuousCandle = field(name="k")


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """Rolling statistics of 24 h (`@ticker`) or of a window (`@ticker_1h`), the latter without bid and ask.

    Futures have neither.
    """

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    change: str = field(name="p")
    change_percent: str = field(name="P")
    last: str = field(name="c")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")
    bid: str | None = field(name="b", default=None)
    ask: str | None = field(name="a", default=None)


class MiniTicker(msgspec.Struct, frozen=True, gc=False):
    """Rolling 24 h statistics in short (`@miniTicker`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    last: str = field(name="c")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")


class AveragePrice(msgspec.Struct, frozen=True, gc=False):
    """Average price of the last few minutes (`@avgPrice`); the interval is `5m`."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    price: str = field(name="w")
    trade_ms: int = field(name="T")


class BookTicker(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask (`@bookTicker`); spot sends no event time."""

    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask: str = field(name="a")
    ask_quantity: str = field(name="A")
    event_ms: int | None = field(name="E", default=None)


class SpotPartialDepth(msgspec.Struct, frozen=True, gc=False):
    """The top of a spot book (`@depth5|10|20`), Bybit's included; it names neither its symbol nor a time."""

    last_update_id: int = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]


class DepthUpdate(msgspec.Struct, frozen=True, gc=False):
    """Changes of a book (`@depth`), on futures also its top (`@depth5|10|20`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    first_update_id: int = field(name="U")
    last_update_id: int = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    previous_update_id: int | None = field(name="pu", default=None)  # futures only


BOOK_SNAPSHOT: Final = "bookSnapshot"
"""`BookUpdate.event` of a whole book."""


class BookUpdate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message of a maintained book (`@book`): Binance's `depthUpdate` as it came, or our `bookSnapshot`.

    Of a snapshot the levels are the whole book, best first, as of `last_update_id`.
    """

    event: str = field(name="e")
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    last_update_id: int = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    first_update_id: int | None = field(name="U", default=None)  # None = a snapshot
    previous_update_id: int | None = field(name="pu", default=None)  # futures only

    @property
    def is_snapshot(self) -> bool:
        """Whether it replaces the book rather than changing it."""
        return self.event == BOOK_SNAPSHOT


class MarkPrice(msgspec.Struct, frozen=True, gc=False):
    """Mark price and funding of a futures contract (`@markPrice`)."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: str = field(name="i")
    funding_rate: str = field(name="r")
    next_funding_ms: int = field(name="T")


class LiquidationOrder(msgspec.Struct, frozen=True, gc=False):
    """The `o` of a forceOrder payload."""

    symbol: str = field(name="s")
    side: str = field(name="S")
    quantity: str = field(name="q")
    price: str = field(name="p")
    average_price: str = field(name="ap")
    status: str = field(name="X")
    trade_ms: int = field(name="T")


class ForceOrder(msgspec.Struct, frozen=True, gc=False):
    """A liquidation (`@forceOrder`)."""

    event_ms: int = field(name="E")
    order: LiquidationOrder = field(name="o")


Payload: TypeAlias = (
    Trade
    | AggTrade
    | Kline
    | PlainKline
    | ContinuousKline
    | Ticker
    | AveragePrice
    | MiniTicker
    | BookTicker
    | SpotPartialDepth
    | DepthUpdate
    | BookUpdate
    | MarkPrice
    | ForceOrder
)

_BY_KIND: Final[Mapping[Kind, type[msgspec.Struct]]] = {
    Kind.TRADE: Trade,
    Kind.AGG_TRADE: AggTrade,
    Kind.KLINE: Kline,
    Kind.CONTINUOUS_KLINE: ContinuousKline,
    Kind.AVG_PRICE: AveragePrice,
    Kind.TICKER: Ticker,
    Kind.MINI_TICKER: MiniTicker,
    Kind.BOOK_TICKER: BookTicker,
    Kind.DEPTH: DepthUpdate,
    Kind.BOOK: BookUpdate,
    Kind.MARK_PRICE: MarkPrice,
    Kind.FORCE_ORDER: ForceOrder,
    **dict.fromkeys(PARTIAL_DEPTHS, DepthUpdate),
    **dict.fromkeys(WINDOW_TICKERS, Ticker),
}


def payload_type(market: Market, kind: Kind) -> type[msgspec.Struct]:
    """The struct that decodes payloads of `kind` on `market`."""
    if market is not Market.FUTURES and kind in PARTIAL_DEPTHS:
        return SpotPartialDepth
    if market is Market.BYBIT and kind is Kind.KLINE:
        return PlainKline
    return _BY_KIND[kind]


_DECODERS: Final[Mapping[tuple[Market, Kind], msgspec.json.Decoder[Any]]] = {
    (market, kind): msgspec.json.Decoder(payload_type(market, kind)) for market in Market for kind in Kind
}


def decode_payload(stream: StreamName, payload: bytes) -> Payload:
    """The payload of one message of `stream` as its struct. Raises msgspec.ValidationError."""
    decoded: Payload = _DECODERS[stream.market, stream.kind].decode(payload)
    return decoded


class _RestTicker(msgspec.Struct, rename="camel"):
    symbol: str
    price_change: str
    price_change_percent: str
    last_price: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str
    close_time: int


_decode_rest_ticker: Final = msgspec.json.Decoder(_RestTicker).decode


def ticker_from_rest(body: bytes) -> Ticker:
    """The ticker in a response of `ticker/24hr` for one symbol. Raises msgspec.ValidationError."""
    rest = _decode_rest_ticker(body)
    return Ticker(
        event_ms=rest.close_time,
        symbol=rest.symbol,
        change=rest.price_change,
        change_percent=rest.price_change_percent,
        last=rest.last_price,
        open=rest.open_price,
        high=rest.high_price,
        low=rest.low_price,
        volume=rest.volume,
        quote_volume=rest.quote_volume,
    )
