"""Binance's public REST endpoints (binance/endpoints.py), answered from the markets' state. Pure."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec

from binance.endpoints import (
    ContinuousKlinesQuery,
    DepthQuery,
    EmptyQuery,
    ExchangeInfoQuery,
    KlinesQuery,
    Query,
    SymbolQuery,
    TickersQuery,
    TradesQuery,
)
from exchange.book import Top
from exchange.candles import AggTrade, Candle, Trade
from exchange.encoding import average_text, levels_text, percent_text, recent_average_text
from exchange.fixed import to_text
from exchange.symbols import exchange_info
from exchange.venue import AVERAGE_MINUTES, Instrument, Venue
from market.intervals import close_time
from market.streams import Market

Body: TypeAlias = dict[str, Any] | list[Any] | bytes
Handler: TypeAlias = Callable[[Venue, Market, Any], Body]
"""Called with the query that the endpoint reads (binance/endpoints.py)."""

_encode: Final = msgspec.json.Encoder().encode
_NO_TOP: Final = Top(0, 0, 0, 0, 0)
# The model has no positions: open interest is a share of the day's volume.
_OPEN_INTEREST_SHARE: Final = 10


def answer(venue: Venue, market: Market, endpoint: str, query: Query) -> bytes:
    """The JSON body that answers an endpoint's query about symbols that are listed."""
    body = _HANDLERS[endpoint](venue, market, query)
    return body if isinstance(body, bytes) else _encode(body)


def _listed(venue: Venue, market: Market, symbol: str) -> Instrument:
    return venue.instruments[market, symbol]


def _chosen(venue: Venue, market: Market, symbols: Iterable[str]) -> list[Instrument]:
    """The instruments of `symbols`; none = all."""
    return [_listed(venue, market, symbol) for symbol in symbols] or venue.of(market)


def _ping(_venue: Venue, _market: Market, _query: EmptyQuery) -> Body:
    return {}


def _time(venue: Venue, _market: Market, _query: EmptyQuery) -> Body:
    return {"serverTime": venue.now_ms}


def _exchange_info(venue: Venue, market: Market, query: ExchangeInfoQuery) -> Body:
    found = _chosen(venue, market, query.symbols)
    if query.status != "TRADING" or "SPOT" not in query.permissions:
        found = []
    return exchange_info(market, [instrument.spec for instrument in found], venue.now_ms)


def _klines(venue: Venue, market: Market, query: KlinesQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    rows = instrument.candles.rows(query.interval, query.start_ms, query.end_ms, query.limit, query.zone_ms)
    return [_row(instrument, candle, query) for candle in rows]


def _continuous_klines(venue: Venue, market: Market, query: ContinuousKlinesQuery) -> Body:
    """All that is listed here is perpetual: of the other types there are no candles."""
    return _klines(venue, market, query) if query.contract == "PERPETUAL" else []


def _row(instrument: Instrument, candle: Candle, query: KlinesQuery) -> list[Any]:
    spec = instrument.spec
    return [
        candle.open_ms,
        spec.price_text(candle.open),
        spec.price_text(candle.high),
        spec.price_text(candle.low),
        spec.price_text(candle.close),
        spec.quantity_text(candle.volume),
        close_time(query.interval, candle.open_ms + query.zone_ms) - query.zone_ms,
        spec.quote_text(candle.quote),
        candle.trades,
        spec.quantity_text(candle.taker_volume),
        spec.quote_text(candle.taker_quote),
        "0",
    ]


def _depth(venue: Venue, market: Market, query: DepthQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    spec, book = instrument.spec, instrument.book
    bids, asks = levels_text(spec, book.bids.top(query.limit)), levels_text(spec, book.asks.top(query.limit))
    times = "" if market is Market.SPOT else f',"E":{venue.now_ms},"T":{venue.now_ms}'
    return f'{{"lastUpdateId":{book.update_id}{times},"bids":{bids},"asks":{asks}}}'.encode()


def _trades(venue: Venue, market: Market, query: TradesQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    return [_trade(instrument, trade) for trade in list(instrument.trades)[-query.limit :]]


def _trade(instrument: Instrument, trade: Trade) -> dict[str, Any]:
    spec = instrument.spec
    body = {
        "id": trade.trade_id,
        "price": spec.price_text(trade.price),
        "qty": spec.quantity_text(trade.quantity),
        "quoteQty": spec.quote_text(trade.price * trade.quantity),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
    }
    return body | {"isBestMatch": True} if spec.market is Market.SPOT else body


def _agg_trades(venue: Venue, market: Market, query: TradesQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    found = [trade for trade in instrument.aggregates if _is_asked_for(trade, query)]
    is_from_somewhere = query.from_id is not None or query.start_ms is not None
    chosen = found[: query.limit] if is_from_somewhere else found[-query.limit :]
    return [_agg_trade(instrument, trade) for trade in chosen]


def _is_asked_for(trade: AggTrade, query: TradesQuery) -> bool:
    return (
        (query.from_id is None or trade.trade_id >= query.from_id)
        and (query.start_ms is None or trade.time_ms >= query.start_ms)
        and (query.end_ms is None or trade.time_ms <= query.end_ms)
    )


def _agg_trade(instrument: Instrument, trade: AggTrade) -> dict[str, Any]:
    spec = instrument.spec
    body = {
        "a": trade.trade_id,
        "p": spec.price_text(trade.price),
        "q": spec.quantity_text(trade.quantity),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
    }
    return body | {"M": True} if spec.market is Market.SPOT else body


def _average_price(venue: Venue, market: Market, query: SymbolQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    price = recent_average_text(instrument, venue.now_ms)
    last = instrument.last
    return {"mins": AVERAGE_MINUTES, "price": price, "closeTime": last.time_ms if last else venue.now_ms}


def _ticker_24h(venue: Venue, market: Market, query: TickersQuery) -> Body:
    build = _mini_day if query.mini else _full_day
    return _one_or_all(venue, market, query, lambda instrument: build(instrument, venue.now_ms))


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


def _ticker_price(venue: Venue, market: Market, query: TickersQuery) -> Body:
    def body(instrument: Instrument) -> dict[str, Any]:
        price = {"symbol": instrument.spec.symbol, "price": instrument.spec.price_text(instrument.last_price)}
        return price if market is Market.SPOT else price | {"time": venue.now_ms}

    return _one_or_all(venue, market, query, body)


def _book_ticker(venue: Venue, market: Market, query: TickersQuery) -> Body:
    def body(instrument: Instrument) -> dict[str, Any]:
        spec, top = instrument.spec, instrument.top or _NO_TOP
        quote = {
            "symbol": spec.symbol,
            "bidPrice": spec.price_text(top.bid),
            "bidQty": spec.quantity_text(top.bid_quantity),
            "askPrice": spec.price_text(top.ask),
            "askQty": spec.quantity_text(top.ask_quantity),
        }
        return quote if market is Market.SPOT else quote | {"time": venue.now_ms}

    return _one_or_all(venue, market, query, body)


def _premium_index(venue: Venue, market: Market, query: TickersQuery) -> Body:
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

    return _one_or_all(venue, market, query, body)


def _open_interest(venue: Venue, market: Market, query: SymbolQuery) -> Body:
    instrument = _listed(venue, market, query.symbol)
    interest = instrument.candles.day().volume // _OPEN_INTEREST_SHARE
    return {
        "symbol": query.symbol,
        "openInterest": instrument.spec.quantity_text(interest),
        "time": venue.now_ms,
    }


def _one_or_all(
    venue: Venue, market: Market, query: TickersQuery, build: Callable[[Instrument], dict[str, Any]]
) -> Body:
    instruments = _chosen(venue, market, query.symbols)
    return build(instruments[0]) if query.is_one else [build(instrument) for instrument in instruments]


_HANDLERS: Final[dict[str, Handler]] = {
    "ping": _ping,
    "time": _time,
    "exchangeInfo": _exchange_info,
    "klines": _klines,
    "uiKlines": _klines,
    "continuousKlines": _continuous_klines,
    "depth": _depth,
    "trades": _trades,
    "aggTrades": _agg_trades,
    "avgPrice": _average_price,
    "ticker/24hr": _ticker_24h,
    "ticker/price": _ticker_price,
    "ticker/bookTicker": _book_ticker,
    "premiumIndex": _premium_index,
    "openInterest": _open_interest,
}
