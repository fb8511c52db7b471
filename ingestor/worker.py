"""One worker carries one group of symbols of one market."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from binance.connection import Connection
from binance.routes import MAX_STREAMS, Route, route_of
from ingestor.groups import split
from market.streams import StreamName

OpenConnection: TypeAlias = Callable[[Route], Connection]


class Worker:
    """Carries the streams of one group over its own connection per route.

    Where a route's streams exceed what one connection may carry, they are split over several,
    as still as groups are (ingestor/groups.py).
    """

    def __init__(self, open_connection: OpenConnection) -> None:
        self._open = open_connection
        self._connections: dict[tuple[Route, int], Connection] = {}
        self._names: dict[tuple[Route, int], frozenset[str]] = {}

    @property
    def connections(self) -> list[Connection]:
        """The connections that are needed now."""
        return list(self._connections.values())

    @property
    def connected(self) -> bool:
        """Whether every connection that is needed is open."""
        return all(connection.connected for connection in self._connections.values())

    @property
    def settled(self) -> bool:
        """Whether it is connected and the exchange has answered for every stream."""
        return self.connected and all(
            self._names[key] <= connection.confirmed | connection.refused
            for key, connection in self._connections.items()
        )

    def carry(self, streams: Iterable[StreamName]) -> list[Connection]:
        """Carry exactly `streams` from now on; returns the connections that are needed no longer, for closing."""
        parts = _parts(streams)
        self._names = {key: frozenset(stream.binance_name for stream in part) for key, part in parts.items()}
        surplus = [self._connections.pop(key) for key in self._connections.keys() - parts.keys()]
        for connection in surplus:
            # Silent from now on: what it still receives may already come over another one.
            connection.want(())
        for key, part in parts.items():
            if key not in self._connections:
                self._connections[key] = self._open(key[0])
            self._connections[key].want(part)
        return surplus


def _parts(streams: Iterable[StreamName]) -> dict[tuple[Route, int], list[StreamName]]:
    by_route: dict[Route, dict[str, StreamName]] = {}
    for stream in streams:
        by_route.setdefault(route_of(stream), {})[stream.binance_name] = stream
    return {
        (route, part): [by_name[name] for name in names]
        for route, by_name in by_route.items()
        for part, names in split(by_name, MAX_STREAMS).items()
    }
