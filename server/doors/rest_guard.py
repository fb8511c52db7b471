"""What stands before every REST route: the rate limit, and the shape of refusals.

Refusals are `{"success": false, "error": <sentence>, "code": <stable code>}`, at Binance's paths
`{"code": <number>, "msg": <sentence>}`; also where nothing is served, or not by this method.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from market.errors import Code, MarketError
from market.venue import RestError
from server.access.over_quota import OverQuotaError
from server.access.quotas import Quotas
from server.access.requests import WINDOW_S
from server.addresses import ProxyPolicy
from server.refusals import Refusal, refusal_of

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Binance's paths have Binance's own limits, and words for what is refused: binance_ws.py, binance_rest.py.
BINANCE: Final = ("/ws", "/stream", "/public/", "/market/", "/private/", "/spot/", "/futures/", "/api/v", "/fapi/")
_UNLIMITED: Final = ("/socket.io", "/assets/", "/health", "/metrics", "/cluster", "/admin", *BINANCE)
_NOT_FOUND: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
_NO_SUCH_PATH: Final = -5000
"""Binance's code for a path, or a method of one, that it does not have."""
_TOO_MANY: Final = -1003
"""Binance's code for too many requests."""

log = structlog.get_logger(__name__)


def rest_guard(proxies: ProxyPolicy, quotas: Quotas) -> Middleware:
    """Count requests per client address (document 002: 300 a minute) and turn refusals into JSON.

    Pages, health checks, metrics and `/socket.io/` are not counted.
    """
    limit = quotas.limits.requests_per_minute

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/" or request.path.startswith(_UNLIMITED):
            return await _answer(request, handler)
        try:
            allowance = quotas.count_request(proxies.client_address(request))
        except OverQuotaError as error:
            return refused(refusal_of(error))
        if allowance.allowed:
            response = await _answer(request, handler)
        else:
            response = _too_many(limit, retry_after_s=int(WINDOW_S))
        response.headers["X-RateLimit-Limit"] = str(limit)
        response.headers["X-RateLimit-Remaining"] = str(allowance.remaining)
        response.headers["X-RateLimit-Reset"] = str(int(time.time() + allowance.reset_s))
        return response

    return guard


def as_json(body: object, status: int = 200) -> web.Response:
    """A JSON response; `msgspec.Raw` parts of `body` stay as they are."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (MarketError, RestError) as error:
        refusal = refusal_of(error)
        if isinstance(error, OverQuotaError) and request.path.startswith(BINANCE):
            return as_json({"code": _TOO_MANY, "msg": refusal.message}, refusal.status)
        return refused(refusal)
    except web.HTTPException as error:
        return _in_our_words(request, error)
    except Exception:
        log.exception("request failed", method=request.method, path=request.path[:100])
        return refused(Refusal(Code.INTERNAL, "Something went wrong here; it was logged"))


def _in_our_words(request: web.Request, error: web.HTTPException) -> web.Response:
    """What aiohttp refuses, in the shape of the protocol that the path belongs to."""
    # That there is a folder is nobody's business.
    status = HTTPStatus.NOT_FOUND if error.status in _NOT_FOUND else error.status
    path, method = request.path[:100], request.method[:20]
    if request.path.startswith(BINANCE):
        body = {"code": _NO_SUCH_PATH, "msg": f"Path {path}, Method {method} is invalid"}
        response = as_json(body, status)
    elif status == HTTPStatus.NOT_FOUND:
        response = refused(Refusal(Code.NOT_FOUND, f"No such path: {path}"))
    else:
        response = refused(Refusal(Code.BAD_REQUEST, f"{error.reason}: {method} {path}"), status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    return response


def refused(refusal: Refusal, status: int | None = None, headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal as a JSON response, with these headers."""
    body = {"success": False, "error": refusal.message, "code": refusal.code.value}
    response = as_json(body | refusal.details, status or refusal.status)
    response.headers.update(refusal.headers)
    response.headers.update(headers or {})
    return response


def _too_many(limit: int, retry_after_s: int) -> web.Response:
    message = f"Maximum {limit} requests per minute allowed"
    body = {"success": False, "error": "Rate limit exceeded", "message": message, "retry_after": retry_after_s}
    response = as_json({**body, "code": Code.RATE_LIMITED.value}, status=429)
    response.headers["Retry-After"] = str(retry_after_s)
    return response
