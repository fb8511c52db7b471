"""Binance's public REST endpoints, answered from the markets' state. Pure: the server does the HTTP.

Sources: Binance "Market Data endpoints" (spot) and "Market Data" (USD-M futures); weights are those of
binance/weights.py.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from binance import weights
from exchange.book import Top
from exchange.candles import Candle
from exchange.encoding import average_text, levels_text, percent_text
from exchange.fixed import to_text
from exchange.params import Params, RestError, not_valid
from exchange.symbols import exchange_info
from exchange.venue import Instrument, Venue
from market.intervals import close_time
from market.streams import Market

Body: TypeAlias = dict[str, Any] | list[Any] | bytes
Weight: TypeAlias = Callable[[Params], int]
Handler: TypeAlias = Callable[[Venue, Params], Body]

_encode: Final = msgspec.json.Encoder().encode
_FUTURES_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1_000)
_SPOT_DEPTH: Final = (100, 5_000)
_FUTURES_DEPTH_DEFAULT: Final = 500
_KLINES: Final = {Market.SPOT: (500, 1_000), Market.FUTURES: (500, 1_500)}
_NO_TOP: Final = Top(0, 0, 0, 0, 0)


class Endpoint(NamedTuple):
    """What answers a path, what it costs, and which parameters it knows."""

    handler: Handler
    weight: Weight
    params: frozenset[str]


def find(path: str) -> tuple[Market, Endpoint] | None:
    """Market and endpoint of a path such as `/api/v3/klines`, or None."""
    for market, prefix in _PREFIXES.items():
        if path.startswith(prefix):
            endpoint = _ENDPOINTS[market].get(path.removeprefix(prefix))
            return (market, endpoint) if endpoint is not None else None
    return None


def weigh(market: Market, endpoint: Endpoint, query: Iterable[tuple[str, str]]) -> int:
    """What a request costs; one that cannot be read costs 1."""
    try:
        return endpoint.weight(Params(market, query, endpoint.params))
    except RestError:
        return 1


def answer(venue: Venue, market: Market, endpoint: Endpoint, query: Iterable[tuple[str, str]]) -> bytes:
    """The JSON body of an answer. Raises RestError."""
    body = endpoint.handler(venue, Params(market, query, endpoint.params))
    return body if isinstance(body, bytes) else _encode(body)


def error_body(code: int, message: str) -> bytes:
    """`{"code":-1121,"msg":"Invalid symbol."}`."""
    return _encode({"code": code, "msg": message})


def _ping(_venue: Venue, _params: Params) -> Body:
    return {}


def _time(venue: Venue, _params: Params) -> Body:
    return {"serverTime": venue.now_ms}


def _exchange_info(venue: Venue, params: Params) -> Body:
    if params.market is Market.FUTURES:
        found = venue.of(Market.FUTURES)
    else:
        found, _ = params.instruments(venue)
        is_spot = "permissions" not in params or "SPOT" in params.text("permissions")
        if not is_spot or params.text("symbolStatus", "TRADING") != "TRADING":
            found = []
    return exchange_info(params.market, [instrument.spec for instrument in found], venue.now_ms)


def _klines(venue: Venue, params: Params) -> Body:
    instrument, interval = params.instrument(venue), params.interval()
    limit = _klines_limit(params)
    if params.text("timeZone", "0") != "0":
        raise not_valid("timeZone")
    begin, end = params.integer("startTime"), params.integer("endTime")
    rows = instrument.candles.rows(interval, begin, end, limit)
    return [_row(instrument, candle, interval) for candle in rows]


def _klines_limit(params: Params) -> int:
    default, most = _KLINES[params.market]
    limit = params.integer("limit")
    if limit is None:
        return default
    if limit == 0 or (limit > most and params.market is Market.FUTURES):
        raise not_valid("limit")
    return min(limit, most)


def _row(instrument: Instrument, candle: Candle, interval: str) -> list[Any]:
    spec = instrument.spec
    return [
        candle.open_ms,
        spec.price_text(candle.open),
        spec.price_text(candle.high),
        spec.price_text(candle.low),
        spec.price_text(candle.close),
        spec.quantity_text(candle.volume),
        close_time(interval, candle.open_ms),
        spec.quote_text(candle.quote),
        candle.trades,
        spec.quantity_text(candle.taker_volume),
        spec.quote_text(candle.taker_quote),
        "0",
    ]


def _depth(venue: Venue, params: Params) -> Body:
    instrument = params.instrument(venue)
    spec, book = instrument.spec, instrument.book
    limit = _depth_limit(params)
    bids, asks = levels_text(spec, book.bids.top(limit)), levels_text(spec, book.asks.top(limit))
    times = "" if params.market is Market.SPOT else f',"E":{venue.now_ms},"T":{venue.now_ms}'
    return f'{{"lastUpdateId":{book.update_id}{times},"bids":{bids},"asks":{asks}}}'.encode()


def _depth_limit(params: Params) -> int:
    limit = params.integer("limit")
    if params.market is Market.FUTURES:
        limit = _FUTURES_DEPTH_DEFAULT if limit is None else limit
        if limit not in _FUTURES_DEPTHS:
            raise RestError(-4021, f"{limit} is not valid depth limit.")
        return limit
    default, most = _SPOT_DEPTH
    if limit == 0:
        raise not_valid("limit")
    return min(most, default if limit is None else limit)


def _ticker_24h(venue: Venue, params: Params) -> Body:
    kind = params.text("type", "FULL")
    if kind not in ("FULL", "MINI"):
        raise not_valid("type")
    build = _mini_day if kind == "MINI" else _full_day
    return _one_or_all(venue, params, lambda instrument: build(instrument, venue.now_ms))


def _full_day(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    spec, day, last = instrument.spec, instrument.candles.day(), instrument.last
    top = instrument.top or _NO_TOP
    body: dict[str, Any] = {
        "symbol": spec.symbol,
        "priceChange": spec.price_text(day.close - day.open),
        "priceChangePercent": percent_text(day),
        "weightedAvgPrice": average_text(spec, day),
    }
    if spec.market is Market.SPOT:
        body["prevClosePrice"] = spec.price_text(instrument.candles.previous_close())
    body["lastPrice"] = spec.price_text(day.close)
    body["lastQty"] = spec.quantity_text(last.quantity if last else 0)
    if spec.market is Market.SPOT:
        body["bidPrice"] = spec.price_text(top.bid)
        body["bidQty"] = spec.quantity_text(top.bid_quantity)
        body["askPrice"] = spec.price_text(top.ask)
        body["askQty"] = spec.quantity_text(top.ask_quantity)
    return body | _day_columns(instrument, day, now_ms)


def _mini_day(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    day = instrument.candles.day()
    last = {"lastPrice": instrument.spec.price_text(day.close)}
    return {"symbol": instrument.spec.symbol} | last | _day_columns(instrument, day, now_ms)


def _day_columns(instrument: Instrument, day: Candle, now_ms: int) -> dict[str, Any]:
    spec = instrument.spec
    return {
        "openPrice": spec.price_text(day.open),
        "highPrice": spec.price_text(day.high),
        "lowPrice": spec.price_text(day.low),
        "volume": spec.quantity_text(day.volume),
        "quoteVolume": spec.quote_text(day.quote),
        "openTime": day.open_ms,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def _ticker_price(venue: Venue, params: Params) -> Body:
    def body(instrument: Instrument) -> dict[str, Any]:
        price = {"symbol": instrument.spec.symbol, "price": instrument.spec.price_text(instrument.last_price)}
        return price if params.market is Market.SPOT else price | {"time": venue.now_ms}

    return _one_or_all(venue, params, body)


def _book_ticker(venue: Venue, params: Params) -> Body:
    def body(instrument: Instrument) -> dict[str, Any]:
        spec, top = instrument.spec, instrument.top or _NO_TOP
        quote = {
            "symbol": spec.symbol,
            "bidPrice": spec.price_text(top.bid),
            "bidQty": spec.quantity_text(top.bid_quantity),
            "askPrice": spec.price_text(top.ask),
            "askQty": spec.quantity_text(top.ask_quantity),
        }
        return quote if params.market is Market.SPOT else quote | {"time": venue.now_ms}

    return _one_or_all(venue, params, body)


def _premium_index(venue: Venue, params: Params) -> Body:
    def body(instrument: Instrument) -> dict[str, Any]:
        mark = instrument.mark(venue.now_ms)
        return {
            "symbol": instrument.spec.symbol,
            "markPrice": to_text(mark.price, 8),
            "indexPrice": to_text(mark.index, 8),
            "estimatedSettlePrice": to_text(mark.price, 8),
            "lastFundingRate": to_text(mark.rate, 8),
            "interestRate": "0.00010000",
            "nextFundingTime": mark.next_funding_ms,
            "time": venue.now_ms,
        }

    return _one_or_all(venue, params, body)


def _one_or_all(venue: Venue, params: Params, build: Callable[[Instrument], dict[str, Any]]) -> Body:
    instruments, is_one = params.instruments(venue)
    return build(instruments[0]) if is_one else [build(instrument) for instrument in instruments]


def _count(params: Params) -> int:
    """How many symbols a request is for; 0 = all."""
    if params.market is Market.SPOT and "symbols" in params:
        return params.text("symbols").count('"') // 2
    return 1 if "symbol" in params else 0


def _flat(weight: int) -> Weight:
    return lambda _params: weight


def _limit_or(params: Params, default: int) -> int:
    limit = params.integer("limit")
    return default if limit is None else limit


_NONE: Final = frozenset[str]()
_SYMBOLS: Final = frozenset({"symbol", "symbols"})
_COMMON: Final = {
    "ping": Endpoint(_ping, _flat(1), _NONE),
    "time": Endpoint(_time, _flat(1), _NONE),
    "exchangeInfo": Endpoint(
        _exchange_info,
        lambda params: weights.exchange_info(params.market),
        _SYMBOLS | {"permissions", "symbolStatus", "showPermissionSets"},
    ),
    "klines": Endpoint(
        _klines,
        lambda params: weights.klines(params.market, _limit_or(params, 500)),
        frozenset({"symbol", "interval", "startTime", "endTime", "timeZone", "limit"}),
    ),
    "depth": Endpoint(
        _depth,
        lambda params: weights.depth(params.market, _limit_or(params, 100 if params.market is Market.SPOT else 500)),
        frozenset({"symbol", "limit", "symbolStatus"}),
    ),
    "ticker/24hr": Endpoint(
        _ticker_24h,
        lambda params: weights.ticker_24h(params.market, _count(params)),
        _SYMBOLS | {"type", "symbolStatus"},
    ),
    "ticker/price": Endpoint(
        _ticker_price,
        lambda params: weights.ticker_price(params.market, _count(params)),
        _SYMBOLS | {"symbolStatus"},
    ),
    "ticker/bookTicker": Endpoint(
        _book_ticker,
        lambda params: weights.book_ticker(params.market, _count(params)),
        _SYMBOLS | {"symbolStatus"},
    ),
}
_ENDPOINTS: Final = {
    Market.SPOT: _COMMON,
    Market.FUTURES: _COMMON
    | {
        "premiumIndex": Endpoint(
            _premium_index, lambda params: weights.premium_index(_count(params)), frozenset({"symbol"})
        )
    },
}
_PREFIXES: Final = {Market.SPOT: "/api/v3/", Market.FUTURES: "/fapi/v1/"}
