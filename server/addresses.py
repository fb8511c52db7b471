"""Whose request is it: the client's address, and whether a page's origin may connect."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

OriginPolicy: TypeAlias = Callable[[str, dict[str, Any]], bool]
"""May a page of this origin connect? Takes the origin and the WSGI environ of the request (its `HTTP_HOST`)."""

_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ProxyPolicy:
    """Believes X-Real-IP only from the proxies it was told of (addresses or networks).

    Raises ValueError for an address that is none.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [ip_network(network, strict=False) for network in trusted]

    def client_address(self, request: web.Request) -> str:
        """The address of the client behind `request`."""
        peer = request.remote or ""
        told = request.headers.get("X-Real-IP", "")
        if not told or not self.trusts(peer):
            return peer
        try:
            return str(ip_address(told))
        except ValueError:
            return peer

    def trusts(self, peer: str) -> bool:
        """Whether `peer` is one of our proxies."""
        if not self._networks:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def origin_policy(allowed: Sequence[str]) -> OriginPolicy:
    """The policy of a replica, one for all doors.

    Without configured origins: the page's own origin and pages served from localhost, so that a
    front end in development just connects. With them: these and the page's own; `*` = all.
    """
    names = frozenset(allowed)

    def is_allowed(origin: str, environ: dict[str, Any]) -> bool:
        if "*" in names or origin in names:
            return True
        parts = urlsplit(origin)
        if parts.netloc and parts.netloc == environ.get("HTTP_HOST"):
            return True
        return not names and parts.hostname in _LOCAL_HOSTS

    return is_allowed


def allows(policy: OriginPolicy, request: web.Request) -> bool:
    """Whether `request` may be served: it comes from no page (no `Origin`), or from one whose origin may connect."""
    origin = request.headers.get("Origin")
    return origin is None or policy(origin, {"HTTP_HOST": request.host})
