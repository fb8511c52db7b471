"""The venues of a replica as one: symbols and candles of every market that is served (market/venue.py: VenueRest)."""

from collections.abc import Mapping
from typing import Final

from bybit.endpoints import endpoints
from bybit.rest import RestClient as BybitRestClient
from market.errors import Code, MarketError
from market.streams import Market
from market.symbols import Catalog
from market.venue import Venue, VenueRest
from server.settings import ReplicaSettings


def open_bybit(settings: ReplicaSettings) -> BybitRestClient | None:
    """What answers for Bybit, None where `VENUES` does not name it."""
    if Venue.BYBIT not in settings.venues:
        return None
    return BybitRestClient(endpoints(settings.bybit_stand_in).rest)


class Venues:
    """Asks whoever answers for a market; MarketError (invalid_stream) where nobody does."""

    def __init__(self, *rests: VenueRest) -> None:
        self._by_market: Final = {market: rest for rest in rests for market in rest.bases}
        self.bases: Mapping[Market, str] = {market: base for rest in rests for market, base in rest.bases.items()}

    def check(self, market: Market) -> None:
        """Raise MarketError (invalid_stream) for a market that is not served here."""
        if market not in self._by_market:
            raise MarketError(Code.INVALID_STREAM, f"This server does not serve {market}")

    async def catalog(self, market: Market) -> Catalog:
        """The symbols of `market`; see `VenueRest`."""
        return await self._of(market).catalog(market)

    async def klines(
        self,
        market: Market,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> bytes:
        """Candles; see `VenueRest`."""
        rest = self._of(market)
        return await rest.klines(market, symbol, interval, limit, start_ms=start_ms, end_ms=end_ms)

    def _of(self, market: Market) -> VenueRest:
        self.check(market)
        return self._by_market[market]
