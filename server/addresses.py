"""Whose request is it: the client's address, and whether a page's origin may connect."""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias

from aiohttp import web

OriginPolicy: TypeAlias = Callable[[str, dict[str, Any]], bool]
"""May a page of this origin connect? Takes the origin and the WSGI environ of the request (its `HTTP_HOST`)."""

_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# What browsers send (RFC 6454, 6.2) has nothing before the host, nothing behind the port.
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?\Z", re.IGNORECASE)
_HOST: Final = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?\Z", re.IGNORECASE)
_PASSED_ON: Final = ("X-Real-IP", "X-Forwarded-For", "Forwarded")
"""Headers of a request that came through a proxy, or says that it did."""


class Networks:
    """Addresses and networks that were named in a setting. Raises ValueError for one that is none."""

    def __init__(self, names: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(name, strict=False) for name in names]

    def __contains__(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


class ProxyPolicy:
    """Believes X-Real-IP only from the proxies it was told of (addresses or networks), and X-Forwarded-For never.

    Raises ValueError for an address that is none.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = Networks(trusted)

    def client_address(self, request: web.Request) -> str:
        """The address of the client behind `request`."""
        return self._told(request) or request.remote or ""

    def trusts(self, peer: str) -> bool:
        """Whether `peer` is one of our proxies."""
        return peer in self._trusted

    def sure_address(self, request: web.Request) -> str | None:
        """The client's address; None where a proxy that is not trusted may stand in between."""
        if any(name in request.headers for name in _PASSED_ON):
            return self._told(request)
        return request.remote

    def _told(self, request: web.Request) -> str | None:
        """What a trusted proxy says."""
        told = request.headers.get("X-Real-IP", "")
        if not told or not self.trusts(request.remote or ""):
            return None
        address = _address(told)
        return str(address) if address is not None else None


def origin_policy(allowed: Sequence[str]) -> OriginPolicy:
    """The policy of a replica, one for all doors.

    Without configured origins: the page's own origin and pages served from localhost, so that a
    front end in development just connects. With them: these and the page's own; `*` = all. Upper
    and lower case, and a port that goes without saying, make no difference. Source: RFC 6454, 4 and 6.
    """
    names = frozenset(_canonical(name) for name in allowed)

    def is_allowed(origin: str, environ: dict[str, Any]) -> bool:
        if "*" in names or _canonical(origin) in names:
            return True
        parts = _ORIGIN.match(origin)
        if parts is None:
            return False
        scheme, host = parts[1].lower(), parts[2].lower()
        own = _HOST.match(environ.get("HTTP_HOST") or "")
        default = _DEFAULT_PORTS[scheme]
        if own is not None and (own[1].lower(), own[2] or default) == (host, parts[3] or default):
            return True
        return not names and host in _LOCAL_HOSTS

    return is_allowed


def allows(policy: OriginPolicy, request: web.Request) -> bool:
    """Whether `request` may be served: it comes from no page (no `Origin`), or from one whose origin may connect."""
    origin = request.headers.get("Origin")
    return origin is None or policy(origin, {"HTTP_HOST": request.host})


def _canonical(origin: str) -> str:
    """An origin as browsers write it; what is none (`null`, `*`, an app's own scheme) as it is."""
    parts = _ORIGIN.match(origin.rstrip("/"))
    if parts is None:
        return origin
    scheme, host, port = parts[1].lower(), parts[2].lower(), parts[3]
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[scheme] else "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, None for a text that is none; an IPv4 one that came to an IPv6 socket is itself again."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
