"""Bybit's messages, and the payloads in Binance's shapes that are made of them. Pure.

A front end reads `bybit:` streams as it reads `spot:` ones: same keys, same units, prices and quantities the
decimal strings that Bybit sent. What Bybit does not tell is left out. Sources: Bybit v5 "Trade", "Ticker",
"Kline" and "Orderbook" (Websocket Stream, Public); Binance "WebSocket Streams".
"""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
from msgspec import field

from bybit.names import INTERVAL_NAMES
from market.intervals import close_time
from market.payloads import BookUpdate, Level
from market.streams import Kind

TRADE_ID_DIGITS: Final = 15
"""How many of a trade id's last digits are its `t`: Bybit's ids have 19, a JavaScript number holds 15 exactly."""
SNAPSHOT: Final = "snapshot"

_TRADE_IDS: Final = 10**TRADE_ID_DIGITS


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Every message of the server's: a topic's data, or the answer to a request or a ping."""

    topic: str = ""
    type: str = ""  # snapshot, delta
    ts: int = 0  # when the message was made, in ms
    cts: int = 0  # order books: when the matching engine made the change, in ms
    data: msgspec.Raw = msgspec.Raw()
    op: str = ""  # subscribe, unsubscribe, ping, pong
    success: bool = False
    ret_msg: str = ""
    req_id: str = ""


class Book(msgspec.Struct, frozen=True, gc=False):
    """The `data` of an order book topic."""

    symbol: str = field(name="s")
    update_id: int = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")


class _Trade(msgspec.Struct, frozen=True, gc=False):
    trade_ms: int = field(name="T")
    symbol: str = field(name="s")
    taker: str = field(name="S")  # Buy, Sell
    quantity: str = field(name="v")
    price: str = field(name="p")
    trade_id: str = field(name="i")


class _RecentTrade(msgspec.Struct, frozen=True, gc=False):
    exec_id: str = field(name="execId")
    symbol: str
    price: str
    size: str
    side: str
    time: str


class _RecentTrades(msgspec.Struct, frozen=True, gc=False):
    trades: list[_RecentTrade] = field(name="list")


class _Kline(msgspec.Struct, frozen=True, gc=False):
    start: int
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


class _Ticker(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    last: str = field(name="lastPrice")
    high: str = field(name="highPrice24h")
    low: str = field(name="lowPrice24h")
    previous: str = field(name="prevPrice24h")
    volume: str = field(name="volume24h")
    turnover: str = field(name="turnover24h")
    change: str = field(name="price24hPcnt")  # a fraction: -0.0049


class _TradeOut(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    trade_id: int = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    trade_ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")
    bybit_id: str = field(name="i")


class _CandleOut(msgspec.Struct, frozen=True, gc=False):
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


class _KlineOut(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="kline"):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    candle: _CandleOut = field(name="k")


class _TickerOut(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="24hrTicker"):
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


class _MiniTickerOut(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="24hrMiniTicker"):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    last: str = field(name="c")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")


class _BookTickerOut(msgspec.Struct, frozen=True, gc=False):
    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask: str = field(name="a")
    ask_quantity: str = field(name="A")


class _PartialDepthOut(msgspec.Struct, frozen=True, gc=False):
    last_update_id: int = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]


_decode_frame: Final = msgspec.json.Decoder(Frame).decode
_decode_trades: Final = msgspec.json.Decoder(list[_Trade]).decode
_decode_recent: Final = msgspec.json.Decoder(_RecentTrades).decode
_decode_klines: Final = msgspec.json.Decoder(list[_Kline]).decode
_decode_ticker: Final = msgspec.json.Decoder(_Ticker).decode
_decode_book: Final = msgspec.json.Decoder(Book).decode
_encode: Final = msgspec.json.Encoder().encode


def parse_frame(frame: bytes) -> Frame:
    """One message of the server's. Raises ValueError (msgspec.DecodeError, UnicodeDecodeError) for what is none."""
    return _decode_frame(frame)


def parse_book(frame: Frame) -> Book:
    """The levels of an order book topic's message. Raises msgspec.DecodeError."""
    return _decode_book(frame.data)


def trades(frame: Frame) -> list[tuple[int, bytes]]:
    """Ids and `trade` payloads of one message, up to 1024 of them, in the order of the trades.

    `t` has the last TRADE_ID_DIGITS digits of Bybit's id, which is in `i` as a whole; ids grow, and are shared
    with other symbols. Both times are the trade's, so that whoever receives it makes the same payload of it.
    Raises ValueError.
    """
    return [_payload(trade) for trade in _decode_trades(frame.data)]


def recent_trades(result: bytes) -> list[tuple[int, bytes]]:
    """Ids and `trade` payloads in REST's `recent-trade`, newest first: the bytes of `trades`. Raises ValueError."""
    return [
        _payload(_Trade(int(one.time), one.symbol, one.side, one.size, one.price, one.exec_id))
        for one in _decode_recent(result).trades
    ]


def klines(frame: Frame) -> list[bytes]:
    """The `kline` payloads of one message, without Bybit's missing counts and taker volumes. Raises ValueError."""
    symbol = frame.topic.rpartition(".")[2]
    return [_encode(_KlineOut(frame.ts, symbol, _candle(symbol, kline))) for kline in _decode_klines(frame.data)]


def ticker(frame: Frame, kind: Kind) -> bytes:
    """The `24hrTicker` or `24hrMiniTicker` payload of one message, without bid and ask. Raises ValueError."""
    day = _decode_ticker(frame.data)
    figures = (day.last, day.previous, day.high, day.low, day.volume, day.turnover)
    if kind is Kind.MINI_TICKER:
        return _encode(_MiniTickerOut(frame.ts, day.symbol, *figures))
    try:
        change, percent = Decimal(day.last) - Decimal(day.previous), Decimal(day.change).scaleb(2)
    except InvalidOperation as error:  # an ArithmeticError
        raise ValueError(f"no ticker: {day}") from error
    return _encode(_TickerOut(frame.ts, day.symbol, f"{change:f}", f"{percent:f}", *figures))


def book_ticker(symbol: str, update_id: int, bid: Level, ask: Level) -> bytes:
    """The `bookTicker` payload."""
    return _encode(_BookTickerOut(update_id, symbol, *bid, *ask))


def partial_depth(update_id: int, bids: list[Level], asks: list[Level]) -> bytes:
    """The payload of `depth5|10|20`, as Binance's on spot."""
    return _encode(_PartialDepthOut(update_id, bids, asks))


def depth_update(update: BookUpdate) -> bytes:
    """The `depthUpdate` payload."""
    return _encode(update)


def encode_request(req_id: str, op: str, args: Iterable[str] = ()) -> str:
    """A request as Bybit reads it: `{"req_id":"1","op":"subscribe","args":["tickers.BTCUSDT"]}`; a ping has no args."""
    body: dict[str, object] = {"req_id": req_id, "op": op}
    if listed := list(args):
        body["args"] = listed
    return _encode(body).decode()


def _payload(trade: _Trade) -> tuple[int, bytes]:
    number = int(trade.trade_id)
    mapped = _TradeOut(
        event_ms=trade.trade_ms,
        symbol=trade.symbol,
        trade_id=number % _TRADE_IDS,
        price=trade.price,
        quantity=trade.quantity,
        trade_ms=trade.trade_ms,
        buyer_is_maker=trade.taker == "Sell",
        bybit_id=trade.trade_id,
    )
    return number, _encode(mapped)


def _candle(symbol: str, kline: _Kline) -> _CandleOut:
    interval = INTERVAL_NAMES.get(kline.interval)
    if interval is None:
        raise ValueError(f"unknown interval: {kline.interval[:20]}")
    return _CandleOut(
        open_ms=kline.start,
        # Bybit's own `end` has been the present moment while the candle was open.
        close_ms=close_time(interval, kline.start),
        symbol=symbol,
        interval=interval,
        open=kline.open,
        close=kline.close,
        high=kline.high,
        low=kline.low,
        volume=kline.volume,
        closed=kline.confirm,
        quote_volume=kline.turnover,
    )
