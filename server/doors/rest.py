"""The REST door of document 002, and `/klines/<symbol>`. Shapes: docs/protocol.md.

Refusals are raised as MarketError or RestError and take their shape in rest_guard.py.
"""

import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from binance.rest import RestClient
from bus.base import Bus
from market import views
from market.announcements import Source
from market.errors import Code, MarketError
from market.payloads import Ticker, ticker_from_rest
from market.streams import ALL, ARRAY, Kind, Market, StreamName, price_key
from market.symbols import Catalog
from server.access.operators import Operators
from server.catalogs import Catalogs
from server.doors.rest_access import visitor_of
from server.doors.rest_guard import as_json
from server.doors.rest_query import check_single, whole_number
from server.drain import Drain
from server.history.klines import DEFAULT_ROWS, History, KlineQuery
from server.history.requests import check_covered, check_symbol
from server.hub import Hub
from server.liveness import Liveness
from telemetry.exposition import Exposition
from version import VERSION

SERVICE: Final = "WebSocket Streaming Service"
SUPPORTED: Final = "All Binance spot symbols and USD-M perpetual futures"

_KLINE_PARAMETERS: Final = ("market", "interval", "limit", "startTime", "endTime")

_decode_ticker = msgspec.json.Decoder(Ticker).decode


class Identity(NamedTuple):
    """Who answers: the replica's name and port, where its data comes from, and 002's default symbols."""

    replica: str
    port: int
    source: Source
    default_symbols: tuple[str, ...]


class RestDoor:
    """Answers HTTP requests from what the replica knows, and from the exchange's REST API where it must."""

    def __init__(
        self,
        *,
        hub: Hub,
        bus: Bus,
        catalogs: Catalogs,
        liveness: Liveness,
        metrics: Exposition,
        rest: RestClient,
        history: History,
        identity: Identity,
        drain: Drain,
        operators: Operators,
    ) -> None:
        self._hub = hub
        self._bus = bus
        self._catalogs = catalogs
        self._liveness = liveness
        self._metrics = metrics
        self._rest = rest
        self._history = history
        self._identity = identity
        self._drain = drain
        self._operators = operators
        self._started = time.monotonic()
        self._symbols: tuple[tuple[Catalog | None, ...], bytes] = ((), b"")

    def attach(self, app: web.Application) -> None:
        """Serve the routes in `app`."""
        app.router.add_get("/health", self._health)
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/symbols", self._list_symbols)
        app.router.add_get("/price/{symbol}", self._price)
        app.router.add_get("/api/latest-prices", self._latest_prices)
        app.router.add_get("/klines/{symbol}", self._klines)
        app.router.add_get("/metrics", self._show_metrics)

    async def _health(self, _request: web.Request) -> web.Response:
        heard, fed = self._liveness.hears_the_bus, self._liveness.exchange == "connected"
        active = self._active_symbols()
        return as_json(
            {
                "ok": True,
                "service": SERVICE,
                "version": VERSION,
                "status": "draining" if self._drain.is_draining else "healthy" if heard and fed else "degraded",
                "port": self._identity.port,
                "replica": self._identity.replica,
                "source": self._identity.source,
                "timestamp": _timestamp(),
                "uptime": self._uptime(),
                "dependencies": {
                    "cache": _dependency(self._bus.connected, "OK", self._why_away()),
                    "bus": _dependency(heard, "OK", "no canary came back; market data may be missing"),
                    "exchange": _dependency(fed, "OK", "no ingestor has its feed"),
                },
                "metrics": {
                    "active_streams": len(self._hub.streams),
                    "total_subscriptions": sum(self._hub.member_counts().values()),
                    "active_symbols": active,
                },
            }
        )

    async def _live(self, _request: web.Request) -> web.Response:
        return as_json({"ok": True, "replica": self._identity.replica})

    async def _ready(self, _request: web.Request) -> web.Response:
        draining = self._drain.is_draining
        ready = self._liveness.hears_the_bus and not draining
        body = {"ok": ready, "replica": self._identity.replica, "draining": draining}
        return as_json(body, status=200 if ready else 503)

    async def _stats(self, _request: web.Request) -> web.Response:
        by_symbol: dict[str, int] = {}
        for stream, members in self._hub.member_counts().items():
            symbol = stream.symbol.upper()
            by_symbol[symbol] = by_symbol.get(symbol, 0) + members
        return _success(
            {
                "service": SERVICE,
                "version": VERSION,
                "port": self._identity.port,
                "replica": self._identity.replica,
                "source": self._identity.source,
                "active_streams": len(self._hub.streams),
                "active_symbols": self._active_symbols(),
                "total_subscriptions": sum(by_symbol.values()),
                "subscriptions_by_symbol": by_symbol,
                "subscriptions_by_stream": {str(s): n for s, n in self._hub.member_counts().items()},
                "white_hat_mode": True,
                "uptime": self._uptime(),
            }
        )

    async def _list_symbols(self, _request: web.Request) -> web.Response:
        data = {
            "default_symbols": self._identity.default_symbols,
            "active_symbols": self._active_symbols(),
            "supported": SUPPORTED,
            "markets": msgspec.Raw(self._markets()),
        }
        return _success(data)

    def _markets(self) -> bytes:
        """Every market's symbols as JSON, encoded once per catalog."""
        catalogs = tuple(self._catalogs.get(market) for market in self._catalogs.markets)
        if self._symbols[0] != catalogs:
            markets = {
                market.value: list(catalog) if catalog else []
                for market, catalog in zip(self._catalogs.markets, catalogs, strict=True)
            }
            self._symbols = (catalogs, msgspec.json.encode(markets))
        return self._symbols[1]

    async def _price(self, request: web.Request) -> web.Response:
        stream = StreamName.of(Market.SPOT, request.match_info["symbol"], Kind.TICKER)
        visitor_of(request).grant.guarding(self._catalogs.check)(stream)
        if last := self._hub.last(stream):
            return _success(msgspec.Raw(views.price_update(_decode_ticker(last.payload))), source="cache")
        (cached,) = await self._bus.get([price_key(stream.symbol)])
        if cached is not None:
            return _success(msgspec.Raw(cached), source="cache")
        body = await self._rest.ticker_24h(Market.SPOT, [stream.symbol.upper()])
        return _success(msgspec.Raw(views.price_update(ticker_from_rest(body))), source="api")

    async def _latest_prices(self, request: web.Request) -> web.Response:
        grant = visitor_of(request).grant
        streams = self._hub.streams
        tickers = {s.symbol.upper() for s in streams if s.market is Market.SPOT and s.kind is Kind.TICKER}
        known = sorted(tickers | set(self._identity.default_symbols))
        symbols = [symbol for symbol in known if grant.covers_parts(Market.SPOT, symbol, Kind.TICKER)]
        cached = await self._bus.get([price_key(symbol) for symbol in symbols])
        prices = {symbol: msgspec.Raw(value) for symbol, value in zip(symbols, cached, strict=True) if value}
        body = {"prices": prices, "count": len(prices), "source": "cache", "timestamp": _timestamp()}
        return as_json({"success": True, **body})

    async def _klines(self, request: web.Request) -> web.Response:
        query = _kline_query(request)
        check_covered(query, visitor_of(request).grant)
        check_symbol(query, self._catalogs)
        rows = await self._history.klines(query)
        head = {"symbol": query.symbol.upper(), "market": query.market, "interval": query.interval}
        return _success({**head, "klines": msgspec.Raw(rows)}, source=self._identity.source)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        self._operators.check(request)
        return await self._metrics.answer(request)

    def _why_away(self) -> str:
        trouble = self._bus.trouble
        return f"not reachable{f' ({trouble})' if trouble else ''}; serving without it"

    def _active_symbols(self) -> list[str]:
        return sorted({stream.pair.upper() for stream in self._hub.streams if stream.symbol not in (ALL, ARRAY)})

    def _uptime(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}h {minutes}m {seconds}s"


def _kline_query(request: web.Request) -> KlineQuery:
    query = request.query
    check_single(request, _KLINE_PARAMETERS)
    try:
        market = Market(query.get("market", "spot"))
    except ValueError:
        raise MarketError(Code.BAD_REQUEST, "market must be spot, futures or bybit") from None
    limit = whole_number(request, "limit")
    return KlineQuery(
        market,
        request.match_info["symbol"].lower(),
        query.get("interval", "1m"),
        DEFAULT_ROWS if limit is None else limit,
        whole_number(request, "startTime"),
        whole_number(request, "endTime"),
    )


def _dependency(healthy: bool, good: str, bad: str) -> dict[str, str]:  # noqa: FBT001 # one of two texts
    return {"status": "healthy" if healthy else "unhealthy", "message": good if healthy else bad}


def _timestamp() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _success(data: object, **more: object) -> web.Response:
    return as_json({"success": True, "data": data, **more})
