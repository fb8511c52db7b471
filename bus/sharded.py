"""Several buses as one, for when one server is not enough: each stream, topic and key lives on one of them.

Which one is a matter of rendezvous hashing: every process that has the same URLs, in whatever order,
finds the same one, and a server that is added takes its share from all others and moves nothing else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeVar

from bus.base import VALUE_TTL_S, AnnouncementHandler, Bus, MessageHandler, check_sizes
from market.messages import Message
from market.streams import StreamName

_PLACES_MAX: Final = 65_536
"""How many names' places are remembered: finding one costs a hash per server."""

_T = TypeVar("_T")


class ShardedBus(Bus):
    """One process's end of the bus on several servers, by URL. Raises ValueError for fewer than two."""

    def __init__(self, ends: Mapping[str, Bus]) -> None:
        if len(ends) < 2:  # noqa: PLR2004 # one is no several
            raise ValueError("sharding takes two different servers")
        self._ends = tuple(ends.values())
        urls = tuple(ends)
        self._end_of: Callable[[str], Bus] = lru_cache(maxsize=_PLACES_MAX)(lambda name: ends[server_of(name, urls)])

    def on_messages(self, handler: MessageHandler) -> None:
        """Have `handler` called with every batch of received messages; a batch is of one server."""
        for end in self._ends:
            end.on_messages(handler)

    def listen(self, topic: str, handler: AnnouncementHandler) -> None:
        """Have `handler` called with every body announced on `topic`. Raises RuntimeError after `start`."""
        self._end_of(topic).listen(topic, handler)

    @property
    def connected(self) -> bool:
        """Whether all servers are reachable and all subscriptions stand."""
        return all(end.connected for end in self._ends)

    @property
    def trouble(self) -> str:
        """Why the latest attempt to connect to one of them was in vain; empty while there is no trouble."""
        return next((end.trouble for end in self._ends if end.trouble), "")

    async def start(self) -> None:
        """Begin to connect to all; returns at once, also when servers are away."""
        await asyncio.gather(*(end.start() for end in self._ends))

    async def close(self) -> None:
        """End all connections and tasks. Nothing is delivered afterwards."""
        await asyncio.gather(*(end.close() for end in self._ends))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send a batch, in order for each stream."""
        parts = self._by_end(messages, lambda message: message.stream.channel)
        await asyncio.gather(*(end.publish(part) for end, part in parts.items()))

    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on. Returns once the servers know, or at once while they are away."""
        parts = self._by_end(streams, lambda stream: stream.channel)
        await asyncio.gather(*(end.subscribe(part) for end, part in parts.items()))

    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""
        parts = self._by_end(streams, lambda stream: stream.channel)
        await asyncio.gather(*(end.unsubscribe(part) for end, part in parts.items()))

    async def announce(self, topic: str, body: bytes) -> None:
        """Send `body` to all listeners of `topic`, this process's own included."""
        await self._end_of(topic).announce(topic, body)

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""
        check_sizes(values)
        parts = self._by_end(values, str)
        await asyncio.gather(*(end.put({key: values[key] for key in keys}, ttl_s) for end, keys in parts.items()))

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        parts = self._by_end(keys, str)
        answers = await asyncio.gather(*(end.get(part) for end, part in parts.items()))
        found = {
            key: value
            for part, answer in zip(parts.values(), answers, strict=True)
            for key, value in zip(part, answer, strict=True)
        }
        return [found[key] for key in keys]

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        return await self._end_of(key).spend(key, amount, limit, ttl_s)

    @property
    def dropped_total(self) -> int:
        """Messages and announcements that were given to the bus and never reached a server."""
        return sum(end.dropped_total for end in self._ends)

    @property
    def handler_errors_total(self) -> int:
        """How often a handler raised."""
        return sum(end.handler_errors_total for end in self._ends)

    @property
    def malformed_total(self) -> int:
        """Received bytes that were no message."""
        return sum(end.malformed_total for end in self._ends)

    @property
    def spent_alone_total(self) -> int:
        """Amounts that were counted here alone because a server was away."""
        return sum(end.spent_alone_total for end in self._ends)

    @property
    def connects_total(self) -> int:
        """How often the servers were connected, added up."""
        return sum(end.connects_total for end in self._ends)

    @property
    def last_received(self) -> float:
        """`time.monotonic()` of the latest message or announcement; 0.0 before the first."""
        return max(end.last_received for end in self._ends)

    def _by_end(self, items: Iterable[_T], name_of: Callable[[_T], str]) -> dict[Bus, list[_T]]:
        parts: defaultdict[Bus, list[_T]] = defaultdict(list)
        for item in items:
            parts[self._end_of(name_of(item))].append(item)
        return parts


def server_of(name: str, urls: Sequence[str]) -> str:
    """The one of `urls` that a stream's channel, a topic or a key lives on; credentials change nothing."""
    return max(urls, key=lambda url: blake2b(f"{_without_credentials(url)} {name}".encode()).digest())


def _without_credentials(url: str) -> str:
    """What processes that log in as different users have in common."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
