"""The feeds of all venues as one: each carries the streams of its own markets (market/venue.py: VenueFeed)."""

from collections.abc import Callable, Iterable, Mapping

from binance.routes import is_served as is_served_by_binance
from binance.settings import Endpoints
from bybit.names import is_served as is_served_by_bybit
from ingestor.books import upstream_of
from ingestor.bybit_feed import BybitFeed
from ingestor.feed import Feed
from ingestor.settings import IngestorSettings
from market.streams import BINANCE_MARKETS, Market, StreamName
from market.venue import MessageCallback, Venue, VenueConnection, VenueFeed


def is_served(stream: StreamName) -> bool:
    """Whether a venue has what `stream` is made of."""
    upstream = upstream_of(stream)
    return is_served_by_bybit(upstream) if stream.market is Market.BYBIT else is_served_by_binance(upstream)


def open_feeds(
    settings: IngestorSettings, endpoints: Endpoints, on_message: MessageCallback, on_state: Callable[[], None]
) -> "Feeds":
    """The feeds of the venues that `VENUES` names; `endpoints` are Binance's."""
    binance = Feed(endpoints, settings.symbols_per_worker, on_message, on_state)
    feeds: dict[Market, VenueFeed] = dict.fromkeys(BINANCE_MARKETS, binance)
    if Venue.BYBIT in settings.venues:
        feeds[Market.BYBIT] = BybitFeed(settings.bybit_stand_in, on_message, on_state)
    return Feeds(feeds)


class Feeds:
    """Carries streams of several venues; those of a market without a venue here are left out."""

    def __init__(self, feeds: Mapping[Market, VenueFeed]) -> None:
        self._by_market = feeds
        self._feeds = list(dict.fromkeys(feeds.values()))

    @property
    def streams(self) -> frozenset[StreamName]:
        """The streams that are carried now."""
        return frozenset[StreamName]().union(*(feed.streams for feed in self._feeds))

    @property
    def connections(self) -> list[VenueConnection]:
        """The connections that are needed now."""
        return [connection for feed in self._feeds for connection in feed.connections]

    @property
    def connected(self) -> bool:
        """Whether every connection that the streams need is open."""
        return all(connection.connected for connection in self.connections)

    @property
    def last_message_ms(self) -> int:
        """When an exchange last sent any of these streams, in ms since the epoch; 0 = never."""
        return max((connection.last_message_ms for connection in self.connections), default=0)

    def carry(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on."""
        by_feed: dict[VenueFeed, list[StreamName]] = {feed: [] for feed in self._feeds}
        for stream in streams:
            if feed := self._by_market.get(stream.market):
                by_feed[feed].append(stream)
        for feed, wanted in by_feed.items():
            feed.carry(wanted)

    async def close(self) -> None:
        """Close all connections. Nothing is handed over afterwards."""
        for feed in self._feeds:
            await feed.close()
