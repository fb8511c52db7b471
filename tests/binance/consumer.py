"""What stands behind connections in tests: it keeps what they hand over, as a replica would."""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from binance.connection import Connection
from binance.routes import Route
from binance.upstream import Upstream
from market.cursors import cursor_of
from market.streams import StreamName
from tests.exchange.client import Client

Open: TypeAlias = Callable[..., Awaitable[Client]]


class Consumer:
    """Drops second copies by cursor; `cursors` is what is left, by stream and in order of arrival."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.cursors: dict[StreamName, list[int]] = {}
        self.second_copies: Counter[StreamName] = Counter()
        self.states = 0

    def connect(self, upstream: Upstream, *texts: str, route: Route = Route.SPOT) -> Connection:
        """A started connection that carries the streams named."""
        connection = Connection(route, upstream, self.take, self._note_state)
        self.connections.append(connection)
        connection.want(StreamName.parse(text, route.market) for text in texts)
        connection.start()
        return connection

    def take(self, stream: StreamName, payload: bytes, _received_us: int) -> None:
        cursor = cursor_of(stream, payload)
        kept = self.cursors.setdefault(stream, [])
        if kept and cursor <= kept[-1]:
            self.second_copies[stream] += 1
        else:
            kept.append(cursor)

    def count(self, text: str) -> int:
        """How many messages of a stream came, second copies aside."""
        return len(self.cursors.get(StreamName.parse(text), ()))

    def holes(self) -> dict[str, list[int]]:
        """By stream whose cursors are consecutive ids: the ids after which some are missing."""
        found = {}
        for stream, ids in self.cursors.items():
            if stream.kind.value in ("trade", "aggTrade"):
                found[str(stream)] = [one for one, other in itertools.pairwise(ids) if other != one + 1]
        return {name: holes for name, holes in found.items() if holes}

    def _note_state(self) -> None:
        self.states += 1
