"""All connections to the exchange that the wanted streams need, grouped into workers."""

import asyncio
from collections.abc import Callable, Iterable

from binance.connection import Connection, connection_attempts
from binance.routes import Route, combined_url
from binance.settings import Endpoints
from ingestor.groups import split
from ingestor.worker import Worker
from market.streams import Market, StreamName
from market.venue import MessageCallback


class Feed:
    """Carries a set of streams: one worker per group of symbols of a market.

    A group is the unit that ingestors will share out among themselves; here every group is ours.
    `on_message` and `on_state` are those of `Connection`.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        symbols_per_worker: int,
        on_message: MessageCallback,
        on_state: Callable[[], None],
    ) -> None:
        self.streams: frozenset[StreamName] = frozenset()
        self._endpoints = endpoints
        self._symbols_per_worker = symbols_per_worker
        self._on_message = on_message
        self._on_state = on_state
        self._attempts = connection_attempts()
        self._workers: dict[tuple[Market, int], Worker] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> list[Connection]:
        """The connections that are needed now."""
        return [connection for worker in self._workers.values() for connection in worker.connections]

    @property
    def connected(self) -> bool:
        """Whether every connection that the streams need is open."""
        return all(connection.connected for connection in self.connections)

    @property
    def last_message_ms(self) -> int:
        """When the exchange last sent any of these streams, in ms since the epoch; 0 = never."""
        return max((connection.last_message_ms for connection in self.connections), default=0)

    def carry(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on."""
        self.streams = frozenset(streams)
        groups = self._groups()
        surplus: list[Connection] = []
        for key in self._workers.keys() - groups.keys():
            surplus += self._workers.pop(key).carry(())
        for key, group in groups.items():
            if key not in self._workers:
                self._workers[key] = Worker(self._open)
            surplus += self._workers[key].carry(group)
        for connection in surplus:
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections. Nothing is handed over afterwards."""
        self.carry(())
        await asyncio.gather(*self._closing)

    def _groups(self) -> dict[tuple[Market, int], list[StreamName]]:
        by_market: dict[Market, dict[str, list[StreamName]]] = {}
        for stream in self.streams:
            by_market.setdefault(stream.market, {}).setdefault(stream.symbol, []).append(stream)
        return {
            (market, group): [stream for symbol in symbols for stream in by_symbol[symbol]]
            for market, by_symbol in by_market.items()
            for group, symbols in split(by_symbol, self._symbols_per_worker).items()
        }

    def _open(self, route: Route) -> Connection:
        connection = Connection(
            combined_url(self._endpoints, route), route, self._attempts, self._on_message, self._on_state
        )
        connection.start()
        return connection
