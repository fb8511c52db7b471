"""The gate: every connection and every request of a client passes here, at whichever door it came."""

from aiohttp import web

from server.access.visitors import ANYONE, Grant, Visitor
from server.addresses import ProxyPolicy


class Gate:
    """Tells who a request comes from."""

    def __init__(self, proxies: ProxyPolicy) -> None:
        self._proxies = proxies

    def admit(self, request: web.Request) -> Visitor:
        """The visitor behind `request`."""
        return Visitor(self._proxies.client_address(request))

    def grant_of(self, _request: web.Request) -> Grant:
        """What the credentials of `request` grant; `ANYONE` where there are none, or none that are good."""
        return ANYONE
