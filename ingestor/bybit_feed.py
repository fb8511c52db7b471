"""All connections to Bybit that the wanted streams need (market/venue.py: VenueFeed)."""

import asyncio
from collections.abc import Callable, Iterable

from bybit.connection import Connection, connection_attempts
from bybit.endpoints import endpoints
from bybit.names import MAX_TOPICS, topic_of
from bybit.rest import RestClient
from ingestor.groups import split
from market.streams import StreamName
from market.venue import MessageCallback, VenueConnection


class BybitFeed:
    """Carries a set of Bybit's streams: one connection per group of topics.

    `stand_in` is the base URL of what plays Bybit, None = Bybit itself. `on_message` and `on_state` are those
    of `Connection`.
    """

    def __init__(self, stand_in: str | None, on_message: MessageCallback, on_state: Callable[[], None]) -> None:
        self.streams: frozenset[StreamName] = frozenset()
        self._url = endpoints(stand_in).ws
        self._rest = RestClient(endpoints(stand_in).rest)
        self._on_message = on_message
        self._on_state = on_state
        self._attempts = connection_attempts()
        self._connections: dict[int, Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> list[VenueConnection]:
        """The connections that are needed now."""
        return list(self._connections.values())

    def carry(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on."""
        self.streams = frozenset(streams)
        by_topic: dict[str, list[StreamName]] = {}
        for stream in self.streams:
            by_topic.setdefault(topic_of(stream), []).append(stream)
        groups = split(by_topic, MAX_TOPICS)
        for key in self._connections.keys() - groups.keys():
            self._close(self._connections.pop(key))
        for key, topics in groups.items():
            if key not in self._connections:
                self._connections[key] = self._open()
            self._connections[key].want(stream for topic in topics for stream in by_topic[topic])

    async def close(self) -> None:
        """Close all connections. Nothing is handed over afterwards."""
        self.carry(())
        await asyncio.gather(*self._closing)
        await self._rest.close()

    def _open(self) -> Connection:
        connection = Connection(self._url, self._attempts, self._rest.recent_trades, self._on_message, self._on_state)
        connection.start()
        return connection

    def _close(self, connection: Connection) -> None:
        # Silent from now on: what it still receives may already come over another one.
        connection.want(())
        closing = asyncio.create_task(connection.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
