"""What Binance's REST API answers, written as the streams would have sent it, with `"source":"poll"` at its end. Pure.

Keys stand in the order of the streams; what REST does not tell is left out where clients must do without it
anyway (`ap`, `nq`, `X`), and said to be unknown where they rely on it (a candle's trade ids: -1). Sources: Binance
"Market data endpoints" and "WebSocket Streams" (spot), "Market Data" and "Websocket Market Streams" (USD-M futures).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from market.intervals import HOUR_MS, close_time
from market.klines import Row, decode_rows
from market.payloads import Level
from market.streams import Kind, Market, StreamName

SOURCE_MARK: Final = b',"source":"poll"}'
"""How every payload ends that was not sent by the exchange as it is."""
LEVELS: Final = {Kind.BOOK_TICKER: 5, Kind.DEPTH5: 5, Kind.DEPTH10: 10, Kind.DEPTH20: 20}
"""How many levels of the book each kind needs."""

Fields: TypeAlias = Mapping[str, Any]

_USD_M: Final = 1
_UNKNOWN_ID: Final = -1
_CIRCUMSTANCES: Final = frozenset({"E", "T", "C", "O", "F", "L", "f", "U", "u", "pu", "lastUpdateId", "source"})
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class RestTrade(msgspec.Struct, rename="camel"):
    """One row of `trades`."""

    id: int
    price: str
    qty: str
    time: int
    is_buyer_maker: bool
    is_best_match: bool = True  # spot


class RestAggTrade(msgspec.Struct):
    """One row of `aggTrades`."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 # Binance's name
    T: int
    m: bool
    M: bool = True  # spot


class RestTicker(msgspec.Struct, rename="camel"):
    """One symbol's `ticker/24hr`; its book and the close before are spot's."""

    symbol: str
    price_change: str
    price_change_percent: str
    weighted_avg_price: str
    last_price: str
    last_qty: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_id: int
    last_id: int
    count: int
    prev_close_price: str = ""
    bid_price: str = ""
    bid_qty: str = ""
    ask_price: str = ""
    ask_qty: str = ""


class RestDepth(msgspec.Struct, rename="camel"):
    """`depth`; the times are futures'."""

    last_update_id: int
    bids: list[Level]
    asks: list[Level]
    event_ms: int = msgspec.field(name="E", default=0)
    transaction_ms: int = msgspec.field(name="T", default=0)


class RestMark(msgspec.Struct, rename="camel"):
    """One symbol's `premiumIndex`."""

    symbol: str
    mark_price: str
    index_price: str
    estimated_settle_price: str
    last_funding_rate: str
    next_funding_time: int
    time: int


def says_more(payload: bytes, known: bytes) -> bool:
    """Whether a payload made here says anything that a `known` one of the same stream does not, times and ids aside.

    Raises msgspec.DecodeError where `known` is not JSON.
    """
    made, before = _substance(payload), _substance(known)
    return any(before.get(key, value) != value for key, value in made.items())


def trade(stream: StreamName, rest: RestTrade) -> bytes:
    """`@trade`; the event time is the trade's."""
    head: dict[str, Any] = {"e": "trade", "E": rest.time}
    if stream.market is Market.FUTURES:
        head["T"] = rest.time
    body = {"s": stream.symbol.upper(), "t": rest.id, "p": rest.price, "q": rest.qty}
    if stream.market is Market.FUTURES:
        return _payload({**head, **body, "m": rest.is_buyer_maker, "st": _USD_M})
    return _payload({**head, **body, "T": rest.time, "m": rest.is_buyer_maker, "M": rest.is_best_match})


def agg_trade(stream: StreamName, rest: RestAggTrade) -> bytes:
    """`@aggTrade`; the event time is the trade's."""
    symbol = stream.symbol.upper()
    names = {"a": rest.a, "s": symbol} if stream.market is Market.FUTURES else {"s": symbol, "a": rest.a}
    tail: Fields = {"st": _USD_M} if stream.market is Market.FUTURES else {"M": rest.M}
    trades = {"p": rest.p, "q": rest.q, "f": rest.f, "l": rest.l, "T": rest.T, "m": rest.m}
    return _payload({"e": "aggTrade", "E": rest.T, **names, **trades, **tail})


def kline(stream: StreamName, row: Row, event_ms: int, *, closed: bool) -> bytes:
    """`@kline_<interval>`. Raises msgspec.ValidationError for a row that is no candle."""
    interval, _, zone = stream.option.partition("@")
    shift_ms = 8 * HOUR_MS if zone else 0
    _, opened, high, low, close, volume, _, quote, trades, taker, taker_quote, *_ = msgspec.json.decode(
        row.body, type=tuple[int, str, str, str, str, str, int, str, int, str, str, str]
    )
    candle = {
        "t": row.open_ms,
        "T": close_time(interval, row.open_ms + shift_ms) - shift_ms,
        "s": stream.symbol.upper(),
        "i": interval,
        "f": _UNKNOWN_ID,
        "L": _UNKNOWN_ID,
        "o": opened,
        "c": close,
        "h": high,
        "l": low,
        "v": volume,
        "n": trades,
        "x": closed,
        "q": quote,
        "V": taker,
        "Q": taker_quote,
        "B": "0",
    }
    return _payload({"e": "kline", "E": event_ms, "s": stream.symbol.upper(), "k": candle})


def klines(stream: StreamName, body: bytes, event_ms: int) -> list[bytes]:
    """The latest two candles of a kline stream, the closed one first. Raises ValueError."""
    rows = decode_rows(body)
    closed = [kline(stream, row, row_close_ms(stream, row) + 1, closed=True) for row in rows[-2:-1]]
    return [*closed, *(kline(stream, row, event_ms, closed=False) for row in rows[-1:])]


def row_close_ms(stream: StreamName, row: Row) -> int:
    """When a candle closes, in ms, inclusive."""
    interval, _, zone = stream.option.partition("@")
    shift_ms = 8 * HOUR_MS if zone else 0
    return close_time(interval, row.open_ms + shift_ms) - shift_ms


def ticker(stream: StreamName, rest: RestTicker, event_ms: int) -> bytes:
    """`@ticker` or `@miniTicker`."""
    is_futures = stream.market is Market.FUTURES
    day = {
        "o": rest.open_price,
        "h": rest.high_price,
        "l": rest.low_price,
        "v": rest.volume,
        "q": rest.quote_volume,
    }
    if stream.kind is Kind.MINI_TICKER:
        mini = {"e": "24hrMiniTicker", "E": event_ms, "s": rest.symbol, "c": rest.last_price, **day}
        return _payload({**mini, **_venue(rest.symbol)} if is_futures else mini)
    pair = {"ps": _pair(rest.symbol)} if is_futures else {}
    before = {} if is_futures else {"x": rest.prev_close_price}
    top = {"b": rest.bid_price, "B": rest.bid_qty, "a": rest.ask_price, "A": rest.ask_qty}
    fields: Fields = {
        "e": "24hrTicker",
        "E": event_ms,
        "s": rest.symbol,
        **pair,
        "p": rest.price_change,
        "P": rest.price_change_percent,
        "w": rest.weighted_avg_price,
        **before,
        "c": rest.last_price,
        "Q": rest.last_qty,
        **({} if is_futures else top),
        **day,
        "O": rest.open_time,
        "C": rest.close_time,
        "F": rest.first_id,
        "L": rest.last_id,
        "n": rest.count,
        **({"st": _USD_M} if is_futures else {}),
    }
    return _payload(fields)


def book(stream: StreamName, rest: RestDepth) -> bytes | None:
    """`@bookTicker` or `@depth<levels>`; None for the ticker of an empty book."""
    levels = LEVELS[stream.kind]
    bids, asks = rest.bids[:levels], rest.asks[:levels]
    if stream.kind is not Kind.BOOK_TICKER:
        return _payload(_depth(stream, rest, bids, asks))
    if not bids or not asks:
        return None
    symbol = stream.symbol.upper()
    top = {"b": bids[0][0], "B": bids[0][1], "a": asks[0][0], "A": asks[0][1]}
    if stream.market is Market.SPOT:
        return _payload({"u": rest.last_update_id, "s": symbol, **top})
    fields = {"e": "bookTicker", "u": rest.last_update_id, "s": symbol, "ps": _pair(symbol), **top}
    times = {"T": rest.transaction_ms, "E": rest.event_ms, "st": _USD_M}
    return _payload({**fields, **times})


def mark_price(rest: RestMark) -> bytes:
    """`@markPrice`, without the moving average `ap`."""
    fields = {
        "e": "markPriceUpdate",
        "E": rest.time,
        "s": rest.symbol,
        "p": rest.mark_price,
        "P": rest.estimated_settle_price,
        "i": rest.index_price,
        "r": rest.last_funding_rate,
        "T": rest.next_funding_time,
        "st": _USD_M,
    }
    return _payload(fields)


def _depth(stream: StreamName, rest: RestDepth, bids: Sequence[Level], asks: Sequence[Level]) -> Fields:
    last_id = rest.last_update_id
    if stream.market is Market.SPOT:
        return {"lastUpdateId": last_id, "bids": bids, "asks": asks}
    symbol = stream.symbol.upper()
    head = {"e": "depthUpdate", "E": rest.event_ms, "T": rest.transaction_ms, "s": symbol, "ps": _pair(symbol)}
    return {**head, "U": last_id, "u": last_id, "pu": last_id - 1, "b": bids, "a": asks, "st": _USD_M}


def _venue(symbol: str) -> Fields:
    return {"ps": _pair(symbol), "st": _USD_M}


def _pair(symbol: str) -> str:
    """The pair of a contract: that of `BTCUSDT_260925` is `BTCUSDT`."""
    return symbol.partition("_")[0]


def _substance(payload: bytes) -> dict[str, Any]:
    """The fields of a payload without times, ids and what REST does not know; those of a candle among them."""
    fields = _decode(payload)
    fields |= fields.pop("k", {})
    return {key: value for key, value in fields.items() if key not in _CIRCUMSTANCES}


def _payload(fields: Fields) -> bytes:
    return _encode(fields)[:-1] + SOURCE_MARK
