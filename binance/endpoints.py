"""Binance's public REST endpoints, server side: paths, parameters and weights, whoever answers them. Pure.

Shared by the exchange stand-in, which answers from its market, and by our own Binance-compatible
door, which asks Binance. Sources: Binance "Market Data endpoints" (spot, `/api/v3`) and "Market Data"
(USD-M futures, `/fapi/v1`); weights are those of binance/weights.py.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from binance import weights
from binance.params import IsListed, Params, not_valid, refused
from market.streams import Market


class EmptyQuery(msgspec.Struct, frozen=True):
    """A question without parameters."""


class SymbolQuery(msgspec.Struct, frozen=True):
    """A question about one symbol."""

    symbol: str


class ExchangeInfoQuery(msgspec.Struct, frozen=True):
    """Which symbols to list: `symbols` (none = all) that are `status` and, on spot, allow `permissions`."""

    symbols: tuple[str, ...]
    permissions: str
    status: str


class KlinesQuery(msgspec.Struct, frozen=True):
    """Candles of one symbol, times in ms since the epoch; days and weeks begin `zone_ms` before UTC's."""

    symbol: str
    interval: str
    limit: int
    start_ms: int | None
    end_ms: int | None
    zone_ms: int


class ContinuousKlinesQuery(KlinesQuery, frozen=True):
    """Candles of a pair's contract of one type, through all the contracts that followed each other; `symbol` = pair."""

    contract: str


class DepthQuery(msgspec.Struct, frozen=True):
    """The best `limit` levels of one book."""

    symbol: str
    limit: int


class TradesQuery(msgspec.Struct, frozen=True):
    """At most `limit` trades of one symbol: the latest, or from an id or a time (ms) on."""

    symbol: str
    limit: int
    from_id: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class TickersQuery(msgspec.Struct, frozen=True):
    """One object for the one symbol (`is_one`), or a list for `symbols`, none = all; `mini` leaves columns out."""

    symbols: tuple[str, ...]
    is_one: bool
    mini: bool = False


Query: TypeAlias = EmptyQuery | SymbolQuery | ExchangeInfoQuery | KlinesQuery | DepthQuery | TradesQuery | TickersQuery


class Endpoint(NamedTuple):
    """What a path takes: the parameters it knows, what a request costs, and how its parameters are read.

    `name` is the path below `/api/v3/` or `/fapi/v1/`. `weigh` and `read` raise BinanceError.
    """

    name: str
    market: Market
    known: frozenset[str]
    weigh: Callable[[Params], int]
    read: Callable[[Params, IsListed], Query]


def find(path: str) -> Endpoint | None:
    """The endpoint at a path such as `/api/v3/klines` or `/futures/fapi/v1/klines`, or None."""
    for prefix, market in _PREFIXES.items():
        if path.startswith(prefix):
            return _ENDPOINTS.get((market, path.removeprefix(prefix)))
    # Of the second version there is only this one; it differs from the first in its weight alone.
    if path in ("/fapi/v2/ticker/price", "/futures/fapi/v2/ticker/price"):
        return _ENDPOINTS[Market.FUTURES, "ticker/price"]
    return None


def is_signed(path: str) -> bool:
    """Whether Binance answers this path only to who signs with an API key: orders, accounts, listen keys."""
    bare = path.removeprefix("/spot").removeprefix("/futures")
    for prefix in ("/api/v3/", "/fapi/v1/", "/fapi/v2/", "/fapi/v3/"):
        if bare.startswith(prefix):
            return bare.removeprefix(prefix).partition("/")[0] in _SIGNED
    return False


_SIGNED: Final = frozenset(
    {
        *("order", "orderList", "openOrder", "openOrders", "openOrderList", "allOrders", "allOrderList", "batchOrders"),
        *("allOpenOrders", "countdownCancelAll", "account", "accountConfig", "balance", "myTrades", "userTrades"),
        *("myAllocations", "myPreventedMatches", "myFilters", "rateLimit", "sor", "userDataStream", "listenKey"),
        *("positionRisk", "positionSide", "positionMargin", "leverage", "leverageBracket", "marginType", "income"),
        *("multiAssetsMargin", "commissionRate", "forceOrders", "adlQuantile", "symbolConfig", "orderAmendment"),
        *("historicalTrades", "feeBurn", "apiTradingStatus", "pmAccountInfo"),
    }
)

_FUTURES_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1_000)
_SPOT_DEPTH: Final = (100, 5_000)
_FUTURES_DEPTH_DEFAULT: Final = 500
_KLINES: Final = {Market.SPOT: (500, 1_000), Market.FUTURES: (500, 1_500)}
_TRADES: Final = (500, 1_000)
_CONTRACTS: Final = frozenset({"PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL"})
_STATUSES: Final = frozenset({"TRADING", "HALT", "BREAK"})
_TYPES: Final = frozenset({"FULL", "MINI"})
_FLAGS: Final = frozenset({"true", "false"})
_MAX_PERMISSIONS: Final = 200


def _read_nothing(_params: Params, _is_listed: IsListed) -> Query:
    return EmptyQuery()


def _read_symbol(params: Params, is_listed: IsListed) -> Query:
    return SymbolQuery(params.symbol(is_listed))


def _read_exchange_info(params: Params, is_listed: IsListed) -> Query:
    symbols, _ = params.symbols(is_listed)
    params.choice("showPermissionSets", "true", _FLAGS)
    permissions = params.text("permissions", "SPOT")
    if len(permissions) > _MAX_PERMISSIONS:
        raise not_valid("permissions")
    return ExchangeInfoQuery(symbols, permissions, params.choice("symbolStatus", "TRADING", _STATUSES))


def _read_klines(params: Params, is_listed: IsListed) -> Query:
    return KlinesQuery(
        symbol=params.symbol(is_listed),
        interval=params.interval(),
        limit=params.limit(*_KLINES[params.market]),
        start_ms=params.integer("startTime"),
        end_ms=params.integer("endTime"),
        zone_ms=params.zone_ms(),
    )


def _read_continuous_klines(params: Params, is_listed: IsListed) -> Query:
    return ContinuousKlinesQuery(
        # A pair has its perpetual's name.
        symbol=params.symbol(is_listed, "pair"),
        contract=params.choice("contractType", None, _CONTRACTS),
        interval=params.interval(),
        limit=params.limit(*_KLINES[params.market]),
        start_ms=params.integer("startTime"),
        end_ms=params.integer("endTime"),
        zone_ms=0,
    )


def _read_depth(params: Params, is_listed: IsListed) -> Query:
    symbol = params.symbol(is_listed)
    params.choice("symbolStatus", "TRADING", _STATUSES)
    if params.market is Market.SPOT:
        return DepthQuery(symbol, params.limit(*_SPOT_DEPTH))
    limit = params.integer("limit")
    limit = _FUTURES_DEPTH_DEFAULT if limit is None else limit
    if limit not in _FUTURES_DEPTHS:
        raise refused(-4021, f"{limit} is not valid depth limit.")
    return DepthQuery(symbol, limit)


def _read_trades(params: Params, is_listed: IsListed) -> Query:
    return TradesQuery(params.symbol(is_listed), params.limit(*_TRADES))


def _read_agg_trades(params: Params, is_listed: IsListed) -> Query:
    return TradesQuery(
        symbol=params.symbol(is_listed),
        limit=params.limit(*_TRADES),
        from_id=params.integer("fromId"),
        start_ms=params.integer("startTime"),
        end_ms=params.integer("endTime"),
    )


def _read_tickers(params: Params, is_listed: IsListed) -> Query:
    mini = params.choice("type", "FULL", _TYPES) == "MINI"
    params.choice("symbolStatus", "TRADING", _STATUSES)
    return TickersQuery(*params.symbols(is_listed), mini)


def _flat(weight: int) -> Callable[[Params], int]:
    return lambda _params: weight


def _limit(params: Params, default: int) -> int:
    limit = params.integer("limit")
    return default if limit is None else limit


def _by_symbols(weight: Callable[[Market, int], int]) -> Callable[[Params], int]:
    return lambda params: weight(params.market, params.count())


_SYMBOL: Final = frozenset({"symbol"})
_TICKER: Final = frozenset({"symbol", "symbols", "symbolStatus"})
_KLINE: Final = frozenset({"symbol", "interval", "startTime", "endTime", "timeZone", "limit"})
_CONTINUOUS_KLINE: Final = _KLINE - {"symbol", "timeZone"} | {"pair", "contractType"}
_AGG_TRADES: Final = frozenset({"symbol", "fromId", "startTime", "endTime", "limit"})


def _common(market: Market) -> list[Endpoint]:
    """What both markets have."""
    info = _TICKER | {"permissions", "showPermissionSets"} if market is Market.SPOT else frozenset[str]()
    depth_default = _SPOT_DEPTH[0] if market is Market.SPOT else _FUTURES_DEPTH_DEFAULT
    kline = _KLINE if market is Market.SPOT else _KLINE - {"timeZone"}
    return [
        Endpoint("ping", market, frozenset(), _flat(1), _read_nothing),
        Endpoint("time", market, frozenset(), _flat(1), _read_nothing),
        Endpoint("exchangeInfo", market, info, _flat(weights.exchange_info(market)), _read_exchange_info),
        Endpoint("klines", market, kline, lambda params: weights.klines(market, _limit(params, 500)), _read_klines),
        Endpoint(
            "depth",
            market,
            frozenset({"symbol", "limit", "symbolStatus"}),
            lambda params: weights.depth(market, _limit(params, depth_default)),
            _read_depth,
        ),
        Endpoint("trades", market, _SYMBOL | {"limit"}, _flat(weights.trades(market)), _read_trades),
        Endpoint("aggTrades", market, _AGG_TRADES, _flat(weights.agg_trades(market)), _read_agg_trades),
        Endpoint("ticker/24hr", market, _TICKER | {"type"}, _by_symbols(weights.ticker_24h), _read_tickers),
        Endpoint("ticker/price", market, _TICKER, _by_symbols(weights.ticker_price), _read_tickers),
        Endpoint("ticker/bookTicker", market, _TICKER, _by_symbols(weights.book_ticker), _read_tickers),
    ]


_ALL: Final = [
    *_common(Market.SPOT),
    *_common(Market.FUTURES),
    Endpoint("uiKlines", Market.SPOT, _KLINE, _flat(2), _read_klines),
    Endpoint("avgPrice", Market.SPOT, _SYMBOL, _flat(2), _read_symbol),
    Endpoint(
        "continuousKlines",
        Market.FUTURES,
        _CONTINUOUS_KLINE,
        lambda params: weights.klines(Market.FUTURES, _limit(params, 500)),
        _read_continuous_klines,
    ),
    Endpoint(
        "premiumIndex", Market.FUTURES, _SYMBOL, lambda params: weights.premium_index(params.count()), _read_tickers
    ),
    Endpoint("openInterest", Market.FUTURES, _SYMBOL, _flat(1), _read_symbol),
]
_ENDPOINTS: Final = {(endpoint.market, endpoint.name): endpoint for endpoint in _ALL}
_PREFIXES: Final = {
    "/api/v3/": Market.SPOT,
    "/spot/api/v3/": Market.SPOT,
    "/fapi/v1/": Market.FUTURES,
    "/futures/fapi/v1/": Market.FUTURES,
}
