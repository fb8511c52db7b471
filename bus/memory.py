"""The bus within one process: no server, no copies, the same guarantees as across processes."""

import asyncio
import heapq
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from bus.base import VALUE_TTL_S, BusEnd, check_sizes
from bus.counters import Counters
from market.messages import Message
from market.streams import StreamName

VALUES_MAX: Final = 50_000
"""How many values a broker keeps; past it the one goes that would go first anyway."""
VALUES_MAX_BYTES: Final = 256 * 1024 * 1024
"""How many bytes of values a broker keeps; past it likewise."""
_SPARE_DEADLINES: Final = 1_000


class _Value(NamedTuple):
    """One kept value. `number` tells it from earlier values under its key."""

    deadline: float
    number: int
    body: bytes


class Values:
    """Bytes under keys, each for its own time, VALUES_MAX and VALUES_MAX_BYTES at most."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        limit: int = VALUES_MAX,
        limit_bytes: int = VALUES_MAX_BYTES,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._values: dict[str, _Value] = {}
        # A heap; entries of values that were replaced since are passed over.
        self._deadlines: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._size = 0
        self.evicted_total = 0
        """Values that had to go before their time."""

    def __len__(self) -> int:
        return len(self._values)

    def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep `values` from now on; what has expired makes room first, then what would expire next."""
        now = self._clock()
        for key, body in values.items():
            self._remove(key)
            value = self._values[key] = _Value(now + ttl_s, next(self._numbers), body)
            self._size += len(body)
            heapq.heappush(self._deadlines, (value.deadline, value.number, key))
        self._make_room(now)
        if len(self._deadlines) > 2 * len(self._values) + _SPARE_DEADLINES:
            self._deadlines = [(value.deadline, value.number, key) for key, value in self._values.items()]
            heapq.heapify(self._deadlines)

    def get(self, key: str) -> bytes | None:
        """The value under `key`, or None where there is none or its time is over."""
        value = self._values.get(key)
        return value.body if value is not None and self._clock() < value.deadline else None

    def _make_room(self, now: float) -> None:
        while self._deadlines:
            deadline, number, key = self._deadlines[0]
            value = self._values.get(key)
            if value is not None and value.number == number:
                fits = len(self._values) <= self._limit and self._size <= self._limit_bytes
                if deadline > now and fits:
                    return
                self._remove(key)
                self.evicted_total += deadline > now
            heapq.heappop(self._deadlines)

    def _remove(self, key: str) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._size -= len(value.body)


class MemoryBroker:
    """What the ends of one memory bus share: who receives what, the values and the budgets."""

    def __init__(self, values: Values | None = None) -> None:
        self.values = values or Values()
        self.counters = Counters()
        # Dicts for sets: deliveries go out in the order in which ends joined.
        self._receivers: defaultdict[StreamName, dict[MemoryBus, None]] = defaultdict(dict)
        self._listeners: defaultdict[str, dict[MemoryBus, None]] = defaultdict(dict)

    def join(self, end: "MemoryBus", streams: Iterable[StreamName]) -> None:
        """Let `end` receive these streams."""
        for stream in streams:
            self._receivers[stream][end] = None

    def leave(self, end: "MemoryBus", streams: Iterable[StreamName]) -> None:
        """Let `end` receive these streams no longer."""
        for stream in streams:
            if (receivers := self._receivers.get(stream)) is None:
                continue
            receivers.pop(end, None)
            if not receivers:
                del self._receivers[stream]

    def join_topics(self, end: "MemoryBus", topics: Iterable[str]) -> None:
        """Let `end` receive what is announced on these topics."""
        for topic in topics:
            self._listeners[topic][end] = None

    def leave_topics(self, end: "MemoryBus", topics: Iterable[str]) -> None:
        """Let `end` receive what is announced on these topics no longer."""
        for topic in topics:
            self._listeners[topic].pop(end, None)
            if not self._listeners[topic]:
                del self._listeners[topic]

    def batches(self, messages: Iterable[Message]) -> dict["MemoryBus", list[Message]]:
        """What each end receives of `messages`, in their order."""
        batches: dict[MemoryBus, list[Message]] = {}
        for message in messages:
            for end in self._receivers.get(message.stream, ()):
                batches.setdefault(end, []).append(message)
        return batches

    def listeners(self, topic: str) -> list["MemoryBus"]:
        """The ends that listen to `topic`."""
        return list(self._listeners.get(topic, ()))


_shared: Final[WeakValueDictionary[str, MemoryBroker]] = WeakValueDictionary()


def shared_broker(url: str) -> MemoryBroker:
    """The process's one broker for `url`; it lives as long as an end holds it."""
    broker = _shared.get(url)
    if broker is None:
        broker = _shared[url] = MemoryBroker()
    return broker


class MemoryBus(BusEnd):
    """One end on a broker of this process; messages arrive as the objects that were published.

    Receivers' handlers run within `publish` and `announce`, which then give way to the loop once:
    a publisher that never waits for anything else starves nobody.
    """

    trouble: str = ""
    connects_total: int = 0

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        super().__init__()
        self._broker = broker or MemoryBroker()
        self._streams: set[StreamName] = set()
        self._open = False

    @property
    def connected(self) -> bool:
        """Whether the bus is started and not closed."""
        return self._open

    async def start(self) -> None:
        """Join the broker."""
        self._started = self._open = True
        self.connects_total += 1
        self._broker.join(self, self._streams)
        self._broker.join_topics(self, self._topics)

    async def close(self) -> None:
        """Leave the broker. Nothing is delivered afterwards."""
        if not self._open:
            return
        self._open = False
        self._broker.leave(self, self._streams)
        self._broker.leave_topics(self, self._topics)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Hand the batch to every end that subscribed; dropped and counted unless started."""
        if not self._open:
            self.dropped_total += len(messages)
            return
        for end, batch in self._broker.batches(messages).items():
            # A handler that ran just before may have closed this end.
            if end.connected:
                end._deliver(batch)  # noqa: SLF001 # ends of one class
        await asyncio.sleep(0)

    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on."""
        added = set(streams)
        self._streams |= added
        if self._open:
            self._broker.join(self, added)

    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""
        removed = set(streams)
        self._streams -= removed
        self._broker.leave(self, removed)

    async def announce(self, topic: str, body: bytes) -> None:
        """Hand `body` to every end that listens to `topic`; dropped and counted unless started."""
        if not self._open:
            self.dropped_total += 1
            return
        for end in self._broker.listeners(topic):
            if end.connected:
                end._deliver_announcement(topic, body)  # noqa: SLF001 # ends of one class
        await asyncio.sleep(0)

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""
        check_sizes(values)
        if self._open:
            self._broker.values.put(values, ttl_s)

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        values = self._broker.values
        return [values.get(key) if self._open else None for key in keys]

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        if not self._open:
            return self._spend_alone(key, amount, limit, ttl_s)
        return self._broker.counters.spend(key, amount, limit, ttl_s)
