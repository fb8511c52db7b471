"""What a client asks for with `getHistoricalKlines`: a JSON object, turned into a query. Pure."""

import msgspec

from market.errors import Code, MarketError
from market.streams import ALL, ARRAY, Kind, Market, StreamName
from server.access.visitors import Grant
from server.catalogs import Catalogs
from server.history.klines import DEFAULT_ROWS, KlineQuery
from server.shapes import in_words


class _Body(msgspec.Struct, rename="camel"):
    symbol: str = ""
    interval: str = ""
    limit: int = DEFAULT_ROWS
    start_time: int | None = None
    end_time: int | None = None
    market: Market | None = None
    is_futures: bool = False


def parse_kline_query(data: object) -> KlineQuery:
    """The query in `{symbol, interval, limit?, startTime?, endTime?, market? | isFutures?}`.

    Times in ms; 0 means none, as in document 000's example. Raises MarketError (bad_request,
    invalid_symbol).
    """
    try:
        body = msgspec.convert(data, _Body)
    except msgspec.ValidationError as error:
        raise MarketError(Code.BAD_REQUEST, f"{in_words(error)}; expected {{symbol, interval, limit, ...}}") from None
    if not body.symbol:
        raise MarketError(Code.BAD_REQUEST, "Symbol is required")
    if not body.interval:
        raise MarketError(Code.BAD_REQUEST, "Interval is required")
    market = body.market or (Market.FUTURES if body.is_futures else Market.SPOT)
    query = KlineQuery(market, body.symbol, body.interval, body.limit, body.start_time or None, body.end_time or None)
    query.check()
    return query


def check_covered(query: KlineQuery, grant: Grant) -> None:
    """Raise MarketError (forbidden) where `grant` does not cover the stream of these candles."""
    grant.check_parts(query.market, query.symbol, f"{Kind.KLINE}_{query.interval}")


def check_symbol(query: KlineQuery, catalogs: Catalogs) -> None:
    """Raise MarketError (unknown_symbol, invalid_symbol); a symbol that trades no more still has its past."""
    if query.symbol in (ALL, ARRAY):  # good for streams only
        raise MarketError(Code.INVALID_SYMBOL, f"Invalid symbol: {query.symbol}")
    try:
        catalogs.check(StreamName.of(query.market, query.symbol, Kind.TRADE))
    except MarketError as error:
        if error.code is not Code.NOT_TRADING:
            raise
