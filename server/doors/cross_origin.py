"""What pages of other origins may read over HTTP: the policy that decides who connects decides here too.

Source: Fetch standard, "HTTP CORS protocol".
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from binance.rest_gate import USED_WEIGHT
from server.addresses import OriginPolicy, allows

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHODS: Final = "GET, HEAD"
_READABLE: Final = f"Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, {USED_WEIGHT}"
_REMEMBER_S: Final = 600
"""How long a browser need not ask again, in s."""


def cross_origin(policy: OriginPolicy) -> Middleware:
    """Let pages of allowed origins read the answers, refusals included; say nothing to others. Cookies are never read.

    `/socket.io/` sees to itself: python-socketio's clients send credentials.
    """

    @web.middleware
    async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/socket.io"):
            return await handler(request)
        is_shared = hdrs.ORIGIN in request.headers and allows(policy, request)
        if is_shared and _is_preflight(request):
            response: web.StreamResponse = _permission(request)
        else:
            response = await handler(request)
        # Also without an origin: a cache must not hand this answer to a page.
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if is_shared:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READABLE
        return response

    return share


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def _permission(request: web.Request) -> web.Response:
    """The answer to "CORS-preflight request": reading, with whatever headers."""
    response = web.Response(status=HTTPStatus.NO_CONTENT)
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(_REMEMBER_S)
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
    if asked is not None:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
    return response
