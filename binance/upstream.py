"""What all connections of one process to one exchange share."""

import random
from typing import Final
from urllib.parse import urlsplit

from binance.attempts import Attempts
from binance.counters import Counters
from binance.ledger import Ledger
from binance.routes import Route, combined_url
from binance.settings import Endpoints
from market.announcements import UpstreamFigures
from market.venue import Tally

LIFETIME_S: Final = 23 * 3600.0
"""Binance closes a connection after 24 h; ours are replaced after this at the latest, in s."""

_EARLIEST: Final = 0.9


class Upstream:
    """Where connections lead, how often they may be opened, how long they live, and what is counted of them.

    Processes that are handed the same `ledger` (a bus) share the attempts of one address and keep one
    another's pauses.
    """

    def __init__(self, endpoints: Endpoints, lifetime_s: float = LIFETIME_S, ledger: Ledger | None = None) -> None:
        self.counters = Counters()
        self._endpoints = endpoints
        self._lifetime_s = lifetime_s
        self._ledger = ledger
        self._attempts: dict[str, Attempts] = {}
        self.tallies = {
            route: Tally(route.market, route.removeprefix("/") or "stream")
            for route in (Route.SPOT, Route.FUTURES_PUBLIC, Route.FUTURES_MARKET)
        }
        """What came over all connections, by route."""

    @property
    def figures(self) -> UpstreamFigures:
        """What was counted, as replicas are told."""
        counters = self.counters
        return UpstreamFigures(
            counters.opened,
            {str(reason): count for reason, count in counters.handovers.items()},
            {str(trouble): count for trouble, count in counters.troubles.items()},
        )

    def url(self, route: Route) -> str:
        """Where a combined connection of `route` is opened."""
        return combined_url(self._endpoints, route)

    def attempts(self, route: Route) -> Attempts:
        """The attempts on the host of `route`; both markets' on a stand-in, which are one host there."""
        host = urlsplit(self.url(route)).netloc
        if host not in self._attempts:
            self._attempts[host] = Attempts(host, self._ledger, self.counters)
        return self._attempts[host]

    def draw_lifetime_s(self) -> float:
        """How long the next connection lives: at random, so that those opened together do not change together."""
        return self._lifetime_s * random.uniform(_EARLIEST, 1.0)  # noqa: S311 # spreads load, guards no secret
