"""What stands before every REST route: the rate limit, and the shape of refusals.

Refusals are `{"success": false, "error": <sentence>, "code": <stable code>}`.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from binance.errors import BinanceError, RateLimited, RestError
from market.errors import Code, MarketError
from server.addresses import ProxyPolicy
from server.ratelimit import LIMIT, WINDOW_S, RateLimit

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_UNLIMITED: Final = ("/socket.io", "/assets/", "/health", "/metrics")
_STATUS: Final[dict[Code, int]] = {
    Code.UNKNOWN_SYMBOL: 404,
    Code.NOT_TRADING: 404,
    Code.NOT_FOUND: 404,
    Code.UPSTREAM: 503,
}


def rest_guard(proxies: ProxyPolicy) -> Middleware:
    """Count requests per client address (document 002: 300 a minute) and turn refusals into JSON.

    Pages, health checks, metrics and `/socket.io/` are not counted.
    """
    limit = RateLimit()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/" or request.path.startswith(_UNLIMITED):
            return await handler(request)
        allowance = limit.count(proxies.client_address(request))
        if allowance.allowed:
            response = await _answer(request, handler)
        else:
            response = _too_many(retry_after_s=int(WINDOW_S))
        response.headers["X-RateLimit-Limit"] = str(LIMIT)
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
    except MarketError as error:
        return _refusal(_STATUS.get(error.code, 400), error.message, error.code, error.suggestion)
    except RateLimited as error:
        response = _refusal(503, f"The exchange allows no request now: {error}", Code.UPSTREAM)
        response.headers["Retry-After"] = str(int(error.retry_after_s) + 1)
        return response
    except BinanceError as error:
        return _refusal(400, f"Binance API error: {error.message}", Code.UPSTREAM)
    except RestError as error:
        return _refusal(503, f"The exchange is not reachable: {error}", Code.UPSTREAM)
    except web.HTTPNotFound:
        return _refusal(404, f"No such path: {request.path[:100]}", Code.NOT_FOUND)


def _refusal(status: int, message: str, code: Code, suggestion: str | None = None) -> web.Response:
    body = {"success": False, "error": message, "code": code.value}
    return as_json(body | ({"suggestion": suggestion} if suggestion else {}), status)


def _too_many(retry_after_s: int) -> web.Response:
    message = f"Maximum {LIMIT} requests per minute allowed"
    body = {"success": False, "error": "Rate limit exceeded", "message": message, "retry_after": retry_after_s}
    response = as_json({**body, "code": Code.RATE_LIMITED.value}, status=429)
    response.headers["Retry-After"] = str(retry_after_s)
    return response
