"""One worker carries one group of symbols of one market."""

from collections.abc import Hashable, Iterable

from market.streams import StreamName
from market.venue import VenueCarrier, VenueConnection


class Worker:
    """Carries the streams of one group over connections of its own, as its venue splits them."""

    def __init__(self, carrier: VenueCarrier) -> None:
        self._carrier = carrier
        self._connections: dict[Hashable, VenueConnection] = {}

    @property
    def connections(self) -> list[VenueConnection]:
        """The connections that are needed now."""
        return list(self._connections.values())

    @property
    def connected(self) -> bool:
        """Whether every connection that is needed is open."""
        return all(connection.connected for connection in self._connections.values())

    @property
    def settled(self) -> bool:
        """Whether it is connected and the exchange has answered for every stream."""
        return all(connection.connected and connection.settled for connection in self._connections.values())

    def carry(self, streams: Iterable[StreamName]) -> list[VenueConnection]:
        """Carry exactly `streams` from now on; returns the connections that are needed no longer, for closing."""
        parts = self._carrier.parts(streams)
        surplus = [self._connections.pop(key) for key in self._connections.keys() - parts.keys()]
        for connection in surplus:
            # Silent from now on: what it still receives may already come over another one.
            connection.want(())
        for key, part in parts.items():
            if key not in self._connections:
                self._connections[key] = self._carrier.open(part)
            self._connections[key].want(part)
        return surplus
