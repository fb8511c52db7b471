"""The Binance door's REST: Binance's public endpoints, read-only, answered for many clients by few requests.

What does not depend on where data comes from is binance/rest_gate.py's, as in the exchange stand-in.
Klines come from server/history/klines.py; everything else is the exchange's own answer, kept for a moment.
No key is logged. Shapes: docs/protocol.md.
"""

import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from aiohttp import web

from binance.budget import Budget, Verdict
from binance.endpoints import EmptyQuery, KlinesQuery
from binance.errors import BinanceError
from binance.params import Params
from binance.rest_gate import TIME_UNIT, Admitted, Answer, Asked, RestGate, answer, limited, refusal
from market.errors import Code, MarketError
from market.streams import Market
from market.venue import RateLimited, RestError
from server.access.gate import Gate
from server.addresses import ProxyPolicy
from server.catalogs import Catalogs
from server.doors.binance_grants import covers
from server.history.klines import History, KlineQuery
from server.refusals import refusal_of
from server.rest_cache import Question, RestCache

# How old an answer may be, in s: about the pace at which clients of REST poll.
_TTL_S: Final[Mapping[str, float]] = {
    "exchangeInfo": 60.0,
    "klines": 1.0,
    "uiKlines": 1.0,
    "continuousKlines": 1.0,
    "depth": 0.25,
    "trades": 0.5,
    "aggTrades": 0.5,
    "avgPrice": 1.0,
    "ticker/24hr": 1.0,
    "ticker/price": 0.5,
    "ticker/bookTicker": 0.5,
    "premiumIndex": 1.0,
    "openInterest": 3.0,
}

NOT_PERMITTED: Final = BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", HTTPStatus.UNAUTHORIZED)
"""Credentials are missing, no good, or do not cover what is asked for."""

log = structlog.get_logger(__name__)


class BinanceRestDoor:
    """Answers Binance's REST clients of one replica. They have Binance's weight a minute, each address its own."""

    def __init__(
        self, cache: RestCache, history: History, catalogs: Catalogs, proxies: ProxyPolicy, *, gate: Gate
    ) -> None:
        self._cache = cache
        self._history = history
        self._catalogs = catalogs
        self._proxies = proxies
        self._access = gate
        # Banning for days is Binance's to do: addresses here may be offices, or a proxy nobody told us of.
        self._budget = Budget(bans=False)
        self._gate = RestGate(self._budget, self._is_listed)

    @property
    def limited_total(self) -> int:
        """Requests that were refused because their address had used its weight."""
        return self._budget.refused_total

    def attach(self, app: web.Application) -> None:
        """Serve `/api/v3/...`, `/fapi/v1/...`, and the same below `/spot` and `/futures`, in `app`."""
        app.router.add_route("*", r"/{api:(?:spot/)?api/v\d+/.*|(?:futures/)?fapi/.*}", self._on_request)

    async def _on_request(self, request: web.Request) -> web.Response:
        try:
            visitor = await self._access.admit(request)
        except MarketError as error:
            return refused(error)
        asked = Asked(
            request.method,
            request.path,
            list(request.query.items()),
            self._proxies.client_address(request),
            request.headers.get(TIME_UNIT, ""),
        )
        admitted = self._gate.admit(asked)
        if isinstance(admitted, Answer):
            return as_response(admitted)
        if not covers(visitor.grant, admitted):
            return as_response(refusal(NOT_PERMITTED, admitted.used))
        return as_response(await self._answer(admitted))

    async def _answer(self, admitted: Admitted) -> Answer:
        try:
            return answer(await self._fetch(admitted), admitted.used)
        except BinanceError as error:
            return refusal(_in_binances_words(error), admitted.used)
        except RateLimited as error:
            return _pass_on(error, admitted)
        except MarketError as error:
            return _from_history(error, admitted)
        except RestError as error:
            log.warning("exchange not reachable for a client", path=admitted.endpoint.name, error=str(error))
            text = "Internal error; unable to process your request. Please try again."
            return refusal(BinanceError(-1001, text, HTTPStatus.SERVICE_UNAVAILABLE), admitted.used)

    async def _fetch(self, admitted: Admitted) -> bytes:
        endpoint, query = admitted.endpoint, admitted.query
        if isinstance(query, EmptyQuery):
            now = {"serverTime": time.time_ns() // 1_000_000} if endpoint.name == "time" else {}
            return msgspec.json.encode(now)
        if isinstance(query, KlinesQuery) and endpoint.name == "klines" and not query.zone_ms:
            return await self._history.klines(
                KlineQuery(
                    endpoint.market, query.symbol.lower(), query.interval, query.limit, query.start_ms, query.end_ms
                )
            )
        params = tuple(sorted(admitted.params.items()))
        weight = endpoint.weigh(Params(endpoint.market, params, endpoint.known))
        return await self._cache.get(Question(endpoint.market, endpoint.name, params, weight), _TTL_S[endpoint.name])

    def _is_listed(self, market: Market, symbol: str) -> bool:
        """Whether `symbol` exists, as far as is known: while it is not, the exchange is asked."""
        catalog = self._catalogs.get(market)
        info = catalog.get(symbol) if catalog else None
        return catalog is None or (info is not None and info.symbol == symbol)


def refused(error: MarketError) -> web.Response:
    """The gate's refusal as Binance has it: -2015 with 401, and -1003 with 429 for what is too many."""
    told = refusal_of(error)
    shown = NOT_PERMITTED if error.code is Code.UNAUTHORIZED else BinanceError(-1003, error.message, told.status)
    return as_response(refusal(shown, used=0))


def as_response(answered: Answer) -> web.Response:
    """The HTTP response of an answer."""
    return web.Response(
        status=answered.status, body=answered.body, headers=answered.headers, content_type="application/json"
    )


def _in_binances_words(error: BinanceError) -> BinanceError:
    """The exchange's refusal; what a proxy or a firewall said in its place becomes -1000."""
    if error.code:
        return error
    text = "An unknown error occurred while processing the request."
    return BinanceError(-1000, text, HTTPStatus.BAD_GATEWAY)


def _pass_on(error: RateLimited, admitted: Admitted) -> Answer:
    """429 or 418 as the exchange said it; where our own budget is spent, 429 in the exchange's words."""
    wait_s = math.ceil(error.retry_after_s)
    if error.http_status is None:
        return limited(admitted.endpoint.market, Verdict(admitted.used, HTTPStatus.TOO_MANY_REQUESTS, wait_s))
    return refusal(BinanceError(-1003, error.message, error.http_status), admitted.used, wait_s)


def _from_history(error: MarketError, admitted: Admitted) -> Answer:
    """What server/history/klines.py refuses, in the exchange's words."""
    if error.code is Code.RATE_LIMITED:
        return limited(admitted.endpoint.market, Verdict(admitted.used, HTTPStatus.TOO_MANY_REQUESTS, 1))
    return refusal(BinanceError(-1130, error.message, HTTPStatus.BAD_REQUEST), admitted.used)
