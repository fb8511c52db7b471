"""The symbol catalogs of a replica: loaded from the venues in the background, refreshed every hour."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from market.streams import ALL, ARRAY, Market, StreamName
from market.symbols import Catalog
from market.venue import RestError
from server.venues import Venues

REFRESH_S: Final = 3600.0
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0

log = structlog.get_logger(__name__)


class Catalogs:
    """The catalog of each market, as far as the exchange has answered.

    Until it has, every well-formed name is accepted: a client is better served by a stream that
    starts late than by a refusal that is wrong. `on_loaded` is called with each catalog that came.
    """

    def __init__(self, venues: Venues, on_loaded: Callable[[Catalog], None]) -> None:
        self._venues = venues
        self._on_loaded = on_loaded
        self._catalogs: dict[Market, Catalog] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to load; each market by itself."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_fresh(market)) for market in self._venues.bases]

    async def close(self) -> None:
        """Stop refreshing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def markets(self) -> tuple[Market, ...]:
        """The markets that are served."""
        return tuple(self._venues.bases)

    def get(self, market: Market) -> Catalog | None:
        """The catalog of `market`, or None while it is unknown."""
        return self._catalogs.get(market)

    def check(self, stream: StreamName) -> None:
        """Raise MarketError (invalid_stream, unknown_symbol, not_trading) if `stream` cannot deliver."""
        self._venues.check(stream.market)
        catalog = self._catalogs.get(stream.market)
        if catalog is not None and stream.symbol not in (ALL, ARRAY):
            catalog.check(stream)

    async def _keep_fresh(self, market: Market) -> None:
        delay = RETRY_FIRST_S
        while True:
            try:
                catalog = self._catalogs[market] = await self._venues.catalog(market)
                self._on_loaded(catalog)
                log.info("catalog loaded", market=market, symbols=len(catalog))
                delay = RETRY_FIRST_S
                await asyncio.sleep(REFRESH_S)
            except (RestError, msgspec.DecodeError) as error:
                log.warning("catalog not loaded", market=market, error=str(error), retry_s=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAX_S)
