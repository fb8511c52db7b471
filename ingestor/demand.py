"""Which streams are wanted: the union of what replicas announce, each announcement a lease."""

from collections.abc import Iterable
from typing import Final

import msgspec

from ingestor.carriers import is_served
from market.announcements import LEASE_S, MAX_STREAMS_PER_REPLICA, Demand
from market.errors import MarketError
from market.streams import StreamName

MAX_REPLICAS: Final = 256
MAX_STREAMS: Final = 32_768
"""Streams that are carried at most, whoever wants them."""


class _Lease(msgspec.Struct):
    texts: list[str]
    streams: frozenset[StreamName]
    ends: float


class Leases:
    """The wanted streams: those of all live leases and the ones `always` wanted. Pure; the caller brings the clock.

    `now` is `time.monotonic()` in s. What is no stream, or none that an exchange has, is left out
    and counted, as is what exceeds a limit.
    """

    def __init__(self, always: Iterable[StreamName]) -> None:
        self._always = frozenset(always)
        self._leases: dict[str, _Lease] = {}
        self.wanted: frozenset[StreamName] = self._always
        self.ignored_streams_total = 0
        self.ignored_replicas_total = 0

    def __len__(self) -> int:
        return len(self._leases)

    def renew(self, demand: Demand, now: float) -> bool:
        """Take over what a replica wants, for LEASE_S; true = `wanted` has changed."""
        lease = self._leases.get(demand.replica)
        if lease is not None and lease.texts == demand.streams:
            lease.ends = now + LEASE_S
            return False
        if not demand.streams:
            return self._leases.pop(demand.replica, None) is not None and self._unite()
        if lease is None and len(self._leases) >= MAX_REPLICAS:
            self.ignored_replicas_total += 1
            return False
        self._leases[demand.replica] = _Lease(demand.streams, self._parse(demand.streams), now + LEASE_S)
        return self._unite()

    def expire(self, now: float) -> bool:
        """End the leases that nobody renewed; true = `wanted` has changed."""
        ended = [replica for replica, lease in self._leases.items() if lease.ends <= now]
        for replica in ended:
            del self._leases[replica]
        return bool(ended) and self._unite()

    def extend(self, now: float) -> None:
        """Let every lease begin anew: nobody could be heard, which says nothing about what is wanted."""
        for lease in self._leases.values():
            lease.ends = now + LEASE_S

    def _parse(self, texts: list[str]) -> frozenset[StreamName]:
        streams: set[StreamName] = set()
        for text in texts[:MAX_STREAMS_PER_REPLICA]:
            try:
                stream = StreamName.parse(text)
            except MarketError:
                continue
            if is_served(stream):
                streams.add(stream)
        self.ignored_streams_total += len(texts) - len(streams)
        return frozenset(streams)

    def _unite(self) -> bool:
        wanted = self._always.union(*(lease.streams for lease in self._leases.values()))
        if len(wanted) > MAX_STREAMS:
            self.ignored_streams_total += len(wanted) - MAX_STREAMS
            # Sorted, so that every ingestor leaves out the same ones.
            others = sorted(wanted - self._always)
            wanted = self._always.union(others[: MAX_STREAMS - len(self._always)])
        changed = wanted != self.wanted
        self.wanted = wanted
        return changed
