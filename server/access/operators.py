"""Operators: who may read `/metrics` and `/cluster` and use the admin surface. Nobody else, by default."""

from collections.abc import Sequence

from aiohttp import web

from market.errors import Code, MarketError
from server.access.gate import Gate
from server.addresses import Networks, ProxyPolicy


class Operators:
    """Knows operators by their address, or by a grant that says so.

    A request that came through a proxy, or claims to, has an address only if that proxy is trusted.
    Raises ValueError for a network that is none.
    """

    def __init__(self, networks: Sequence[str], proxies: ProxyPolicy, gate: Gate) -> None:
        self._networks = Networks(networks)
        self._proxies = proxies
        self._gate = gate
        self.refused_total = 0

    def check(self, request: web.Request) -> None:
        """Raise MarketError (forbidden) where `request` is no operator's."""
        address = self._proxies.sure_address(request)
        if address is not None and address in self._networks:
            return
        if self._gate.grant_of(request).is_operator:
            return
        self.refused_total += 1
        raise MarketError(Code.FORBIDDEN, "This is for operators: see OPERATORS in docs/auth.md")
