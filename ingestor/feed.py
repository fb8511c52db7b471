"""All connections to the exchange that the carried streams need: one worker per group."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from binance.connection import Connection
from binance.routes import Route
from binance.session import MessageCallback
from binance.upstream import Upstream
from ingestor.groups import GroupKey
from ingestor.worker import Worker
from market.streams import StreamName


class Feed:
    """Carries groups of streams, each over connections of its own.

    A stream that two groups have comes twice. `on_message` and `on_state` are those of `Connection`.
    """

    def __init__(self, upstream: Upstream, on_message: MessageCallback, on_state: Callable[[], None]) -> None:
        self.streams: frozenset[StreamName] = frozenset()
        self._upstream = upstream
        self._on_message = on_message
        self._on_state = on_state
        self._workers: dict[GroupKey, Worker] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> list[Connection]:
        """The connections that are needed now."""
        return [connection for worker in self._workers.values() for connection in worker.connections]

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
        self.streams = frozenset(stream for streams in groups.values() for stream in streams)
        surplus: list[Connection] = []
        for key in self._workers.keys() - groups.keys():
            surplus += self._workers.pop(key).carry(())
        for key, streams in groups.items():
            if key not in self._workers:
                self._workers[key] = Worker(self._open)
            surplus += self._workers[key].carry(streams)
        for connection in surplus:
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections. Nothing is handed over afterwards."""
        self.carry({})
        await asyncio.gather(*self._closing)

    def _open(self, route: Route) -> Connection:
        connection = Connection(route, self._upstream, self._on_message, self._on_state)
        connection.start()
        return connection
