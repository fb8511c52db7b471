"""All connections to the exchange that the carried streams need: one worker per group."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from ingestor.groups import GroupKey
from ingestor.worker import Worker
from market.streams import Market, StreamName
from market.venue import Tally, VenueCarrier, VenueConnection


class Feed:
    """Carries groups of streams, each over connections of its own.

    A stream that two groups have comes twice. Groups of a market that no carrier stands for are left out.
    """

    def __init__(self, carriers: Mapping[Market, VenueCarrier]) -> None:
        self.streams: frozenset[StreamName] = frozenset()
        self._carriers = carriers
        self._workers: dict[GroupKey, Worker] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> list[VenueConnection]:
        """The connections that are needed now."""
        return [connection for worker in self._workers.values() for connection in worker.connections]

    @property
    def open_connections(self) -> Counter[str]:
        """How many connections are open, by market and route: `spot/stream`, `futures/market`."""
        return Counter(
            f"{connection.tally.market}/{connection.tally.route}"
            for connection in self.connections
            if connection.connected
        )

    @property
    def tallies(self) -> list[Tally]:
        """What came over all connections, closed ones included, by market and route."""
        return [tally for carrier in dict.fromkeys(self._carriers.values()) for tally in carrier.tallies]

    @property
    def connected(self) -> bool:
        """Whether some connection is open, and none is lost: one that is just being opened is missed by nobody yet."""
        connections = self.connections
        return any(one.connected for one in connections) and not any(one.lost for one in connections)

    @property
    def connected_groups(self) -> set[GroupKey]:
        """The groups whose connections are all open."""
        return {key for key, worker in self._workers.items() if worker.connected}

    @property
    def settled_groups(self) -> set[GroupKey]:
        """The groups whose streams the exchange has all answered for."""
        return {key for key, worker in self._workers.items() if worker.settled}

    @property
    def last_message_ms(self) -> int:
        """When the exchange last sent any of these streams, in ms since the epoch; 0 = never."""
        return max((connection.last_message_ms for connection in self.connections), default=0)

    @property
    def stalled(self) -> frozenset[StreamName]:
        """Streams that stay silent although their connections are well."""
        return frozenset().union(*(connection.stalled for connection in self.connections))

    def carry(self, groups: Mapping[GroupKey, AbstractSet[StreamName]]) -> None:
        """Carry exactly `groups` from now on."""
        groups = {key: streams for key, streams in groups.items() if key.market in self._carriers}
        self.streams = frozenset(stream for streams in groups.values() for stream in streams)
        surplus: list[VenueConnection] = []
        for key in self._workers.keys() - groups.keys():
            surplus += self._workers.pop(key).carry(())
        for key, streams in groups.items():
            if key not in self._workers:
                self._workers[key] = Worker(self._carriers[key.market])
            surplus += self._workers[key].carry(streams)
        for connection in surplus:
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections. Nothing is handed over afterwards."""
        self.carry({})
        await asyncio.gather(*self._closing)
        await asyncio.gather(*(carrier.close() for carrier in set(self._carriers.values())))
