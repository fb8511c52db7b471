"""Who may use REST: the visitor behind each request. Refusals take their shape in rest_guard.py."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from server.access.gate import Gate
from server.access.visitors import Visitor
from server.doors.rest_guard import BINANCE

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_VISITOR: Final = web.RequestKey("visitor", Visitor)
_OPEN: Final = ("/", "/openapi.yaml", "/asyncapi.yaml")
# Files and probes are for everybody, /metrics and the like for operators; the other doors see to themselves.
_OPEN_BELOW: Final = ("/assets/", "/health", "/metrics", "/cluster", "/admin", "/socket.io/", *BINANCE)


def rest_access(gate: Gate) -> Middleware:
    """Let nobody past whom `gate` does not admit, to whichever path: UnauthorizedError."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _OPEN and not request.path.startswith(_OPEN_BELOW):
            request[_VISITOR] = await gate.admit(request)
        return await handler(request)

    return admit


def visitor_of(request: web.Request) -> Visitor:
    """The visitor behind a request that `rest_access` let past."""
    return request[_VISITOR]
