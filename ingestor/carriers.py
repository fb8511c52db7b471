"""How each venue carries a group's streams: which go over one connection, and how it is opened (market/venue.py)."""

from collections.abc import Callable, Hashable, Iterable, Mapping

from binance.connection import Connection
from binance.routes import MAX_STREAMS, Route, route_of
from binance.routes import is_served as is_served_by_binance
from binance.upstream import Upstream
from bybit.connection import Connection as BybitConnection
from bybit.connection import connection_attempts
from bybit.endpoints import endpoints
from bybit.names import MAX_TOPICS, topic_of
from bybit.names import is_served as is_served_by_bybit
from bybit.rest import RestClient as BybitRestClient
from ingestor.books import upstream_of
from ingestor.groups import split
from ingestor.settings import IngestorSettings
from market.streams import BINANCE_MARKETS, Market, StreamName
from market.venue import MessageCallback, Tally, Venue, VenueCarrier, VenueConnection


def is_served(stream: StreamName) -> bool:
    """Whether a venue has what `stream` is made of."""
    upstream = upstream_of(stream)
    return is_served_by_bybit(upstream) if stream.market is Market.BYBIT else is_served_by_binance(upstream)


def open_carriers(
    settings: IngestorSettings, upstream: Upstream, on_message: MessageCallback, on_state: Callable[[], None]
) -> dict[Market, VenueCarrier]:
    """The carriers of the venues that `VENUES` names, by market; `upstream` is Binance's."""
    carriers: dict[Market, VenueCarrier] = dict.fromkeys(
        BINANCE_MARKETS, BinanceCarrier(upstream, on_message, on_state)
    )
    if Venue.BYBIT in settings.venues:
        carriers[Market.BYBIT] = BybitCarrier(settings.bybit_stand_in, on_message, on_state)
    return carriers


class BinanceCarrier:
    """A connection per route, several where the route's streams exceed what one may carry."""

    def __init__(self, upstream: Upstream, on_message: MessageCallback, on_state: Callable[[], None]) -> None:
        self._upstream = upstream
        self._on_message = on_message
        self._on_state = on_state

    def parts(self, streams: Iterable[StreamName]) -> Mapping[Hashable, list[StreamName]]:
        """The streams of each connection, as still as groups are (ingestor/groups.py)."""
        by_route: dict[Route, dict[str, StreamName]] = {}
        for stream in streams:
            by_route.setdefault(route_of(stream), {})[stream.binance_name] = stream
        return {
            (route, part): [by_name[name] for name in names]
            for route, by_name in by_route.items()
            for part, names in split(by_name, MAX_STREAMS).items()
        }

    def open(self, streams: Iterable[StreamName]) -> VenueConnection:
        """A started connection for a part's streams, all of one route."""
        route = route_of(next(iter(streams)))
        connection = Connection(route, self._upstream, self._on_message, self._on_state)
        connection.start()
        return connection

    @property
    def tallies(self) -> Iterable[Tally]:
        """What came over its connections, by market and route."""
        return self._upstream.tallies.values()

    async def close(self) -> None:
        """Nothing is left open beside the connections."""


class BybitCarrier:
    """A connection per MAX_TOPICS topics. `stand_in` is the base URL of what plays Bybit, None = Bybit itself."""

    def __init__(self, stand_in: str | None, on_message: MessageCallback, on_state: Callable[[], None]) -> None:
        self._url = endpoints(stand_in).ws
        self._rest = BybitRestClient(endpoints(stand_in).rest)
        self._on_message = on_message
        self._on_state = on_state
        self._attempts = connection_attempts()
        self._tally = Tally(Market.BYBIT, "stream")

    def parts(self, streams: Iterable[StreamName]) -> Mapping[Hashable, list[StreamName]]:
        """The streams of each connection, those of one topic together."""
        by_topic: dict[str, list[StreamName]] = {}
        for stream in streams:
            by_topic.setdefault(topic_of(stream), []).append(stream)
        return {
            part: [stream for topic in topics for stream in by_topic[topic]]
            for part, topics in split(by_topic, MAX_TOPICS).items()
        }

    def open(self, streams: Iterable[StreamName]) -> VenueConnection:  # noqa: ARG002 # every stream has the same URL
        """A started connection."""
        recent = self._rest.recent_trades
        connection = BybitConnection(
            self._url, self._attempts, recent, self._on_message, self._on_state, tally=self._tally
        )
        connection.start()
        return connection

    @property
    def tallies(self) -> Iterable[Tally]:
        """What came over its connections."""
        return (self._tally,)

    async def close(self) -> None:
        """Close what the connections share."""
        await self._rest.close()
