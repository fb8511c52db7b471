"""Which streams a request of Binance's REST stands for: a grant that covers these covers its answer. Pure."""

from collections.abc import Mapping
from typing import Final

from binance.endpoints import ContinuousKlinesQuery, KlinesQuery
from binance.rest_gate import Admitted
from market.streams import ALL, Kind
from server.access.visitors import Grant

_KINDS: Final[Mapping[str, str]] = {
    "depth": Kind.DEPTH,
    "trades": Kind.TRADE,
    "aggTrades": Kind.AGG_TRADE,
    "avgPrice": Kind.AVG_PRICE,
    "ticker/24hr": Kind.TICKER,
    "ticker/price": Kind.TICKER,
    "ticker/bookTicker": Kind.BOOK_TICKER,
    "premiumIndex": Kind.MARK_PRICE,
    "openInterest": "openInterest",  # no stream has it: a pattern names it so
}
_FREE: Final = frozenset({"ping", "time", "exchangeInfo"})
"""Endpoints that tell of no market data."""


def covers(grant: Grant, admitted: Admitted) -> bool:
    """Whether `grant` covers what a request asks for; one without a symbol asks for all."""
    endpoint, query = admitted.endpoint, admitted.query
    if endpoint.name in _FREE:
        return True
    if isinstance(query, ContinuousKlinesQuery):
        parts = [(f"{query.symbol}_{query.contract}", f"{Kind.CONTINUOUS_KLINE}_{query.interval}")]
    elif isinstance(query, KlinesQuery):
        parts = [(query.symbol, f"{Kind.KLINE}_{query.interval}")]
    else:
        symbols = getattr(query, "symbols", None) or (getattr(query, "symbol", ALL),)
        parts = [(symbol, _KINDS[endpoint.name]) for symbol in symbols]
    return all(grant.covers_parts(endpoint.market, symbol, kind) for symbol, kind in parts)
