"""The whole cluster as one replica sees it: what every process said last of itself, and how long ago. Pure.

A process that says nothing for SILENT_AFTER_S is marked silent and no longer counted in the totals;
after FORGOTTEN_AFTER_S it is gone. The clock is the caller's (`time.monotonic()`).
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from market.announcements import LEASE_S, FeedStatus
from market.figures import ReplicaFigures, StreamFigures

SILENT_AFTER_S: Final = LEASE_S
FORGOTTEN_AFTER_S: Final = 60.0
MAX_PROCESSES: Final = 1_000
"""Replicas, and ingestors, that are kept; what more of them say is counted and ignored."""

Said = TypeVar("Said", ReplicaFigures, FeedStatus)


class Sighting(NamedTuple, Generic[Said]):
    """What a process said last, how long ago in s, and what it had said before, where that was the same process."""

    said: Said
    age_s: float
    before: Said | None

    @property
    def is_silent(self) -> bool:
        """Whether it should have said something since."""
        return self.age_s >= SILENT_AFTER_S


class Sightings(Generic[Said]):
    """The processes of one sort by name: bounded in number, forgotten in time."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, Said, Said | None]] = {}
        self.ignored_total = 0
        """What was said by processes past MAX_PROCESSES."""

    def note(self, name: str, said: Said, now: float) -> None:
        """Keep what the process `name` says at `now`."""
        self._forget(now)
        known = self._seen.get(name)
        if known is None and len(self._seen) >= MAX_PROCESSES:
            self.ignored_total += 1
            return
        self._seen[name] = (now, said, known[1] if known and _uptime_s(known[1]) <= _uptime_s(said) else None)

    def list(self, now: float) -> list[Sighting[Said]]:
        """All that are not forgotten, by name."""
        self._forget(now)
        return [Sighting(said, now - at, before) for _, (at, said, before) in sorted(self._seen.items())]

    def _forget(self, now: float) -> None:
        for name in [name for name, seen in self._seen.items() if now - seen[0] >= FORGOTTEN_AFTER_S]:
            del self._seen[name]


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One replica as `/cluster` shows it: s, bytes, and rates over the last two announcements (None before)."""

    replica: str
    host: str
    pid: int
    version: str
    source: str
    silent: bool
    age_s: float
    uptime_s: float
    draining: bool
    clients: int
    connections: dict[str, dict[str, int]]
    streams: int
    subscriptions: int
    messages_in_per_s: float | None
    messages_out_per_s: float | None
    bytes_out_per_s: float | None
    lagging_clients: int
    conflated_total: int
    dropped_total: int
    slow_consumers_total: int
    bus_connected: bool
    bus_round_trip_s: float
    loop_lag_s: float
    memory_bytes: int
    top_streams: list[StreamFigures]
    gaps_total: int
    refused: dict[str, int]


class IngestorView(msgspec.Struct, frozen=True, kw_only=True):
    """One ingestor as `/cluster` shows it; `stalled` counts streams silent on a connection that is well."""

    ingestor: str
    source: str
    silent: bool
    age_s: float
    uptime_s: float
    phase: str
    connected: bool
    connections: dict[str, int]
    streams: int
    groups: dict[str, dict[str, object]]
    messages_per_s: float | None
    lag_s: float
    last_message_ms: int
    stalled: int
    books: int
    books_refused: int
    connections_opened_total: int
    handovers: dict[str, int]
    troubles: dict[str, int]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that are not silent, added up."""

    replicas: int
    ingestors: int
    clients: int
    subscriptions: int
    lagging_clients: int
    messages_in_per_s: float
    messages_out_per_s: float
    bytes_out_per_s: float
    groups: int
    """Groups of symbols that some ingestor carries."""
    fewest_copies: int
    """How many ingestors carry, subscribed, the group that the fewest do; 0 without groups."""


def clients_of(figures: ReplicaFigures) -> int:
    """How many clients a replica has, at all doors."""
    return sum(count for transports in figures.connections.values() for count in transports.values())


def replica_view(seen: Sighting[ReplicaFigures]) -> ReplicaView:
    """How `/cluster` shows a replica."""
    said = seen.said
    return ReplicaView(
        replica=said.replica,
        host=said.host,
        pid=said.pid,
        version=said.version,
        source=said.source,
        silent=seen.is_silent,
        age_s=round(seen.age_s, 3),
        uptime_s=round(said.uptime_s, 3),
        draining=said.draining,
        clients=clients_of(said),
        connections=said.connections,
        streams=said.streams,
        subscriptions=said.subscriptions,
        messages_in_per_s=_rate(seen, lambda one: one.received_total),
        messages_out_per_s=_rate(seen, lambda one: one.delivered_total),
        bytes_out_per_s=_rate(seen, lambda one: one.written_bytes_total),
        lagging_clients=said.lagging,
        conflated_total=said.conflated_total,
        dropped_total=said.dropped_total,
        slow_consumers_total=said.slow_consumers_total,
        bus_connected=said.bus_connected,
        bus_round_trip_s=said.bus_round_trip_us / 1e6,
        loop_lag_s=said.loop_lag_us / 1e6,
        memory_bytes=said.memory_bytes,
        top_streams=said.top_streams,
        gaps_total=said.gaps_total,
        refused=said.refused,
    )


def ingestor_view(seen: Sighting[FeedStatus]) -> IngestorView:
    """How `/cluster` shows an ingestor."""
    said, figures = seen.said, seen.said.figures
    return IngestorView(
        ingestor=said.ingestor,
        source=said.source,
        silent=seen.is_silent,
        age_s=round(seen.age_s, 3),
        uptime_s=round(figures.uptime_s, 3),
        phase=figures.phase,
        connected=said.connected,
        connections=figures.connections,
        streams=said.streams,
        groups={key: msgspec.structs.asdict(group) for key, group in figures.groups.items()},
        messages_per_s=_rate(seen, lambda one: one.figures.published_total),
        lag_s=figures.lag_us / 1e6,
        last_message_ms=said.last_message_ms,
        stalled=len(said.stalled),
        books=said.books,
        books_refused=said.books_refused,
        connections_opened_total=said.upstream.opened,
        handovers=said.upstream.handovers,
        troubles=said.upstream.troubles,
    )


def totals(replicas: Iterable[ReplicaView], ingestors: Iterable[IngestorView]) -> Totals:
    """The sum over all that are not silent."""
    here = [one for one in replicas if not one.silent]
    feeding = [one for one in ingestors if not one.silent]
    copies: dict[str, int] = {}
    for one in feeding:
        for key, group in one.groups.items():
            copies[key] = copies.get(key, 0) + bool(group["subscribed"])
    return Totals(
        replicas=len(here),
        ingestors=len(feeding),
        clients=sum(one.clients for one in here),
        subscriptions=sum(one.subscriptions for one in here),
        lagging_clients=sum(one.lagging_clients for one in here),
        messages_in_per_s=round(sum(one.messages_in_per_s or 0.0 for one in here), 1),
        messages_out_per_s=round(sum(one.messages_out_per_s or 0.0 for one in here), 1),
        bytes_out_per_s=round(sum(one.bytes_out_per_s or 0.0 for one in here), 1),
        groups=len(copies),
        fewest_copies=min(copies.values(), default=0),
    )


def _uptime_s(said: ReplicaFigures | FeedStatus) -> float:
    return said.uptime_s if isinstance(said, ReplicaFigures) else said.figures.uptime_s


def _rate(seen: Sighting[Said], total: Callable[[Said], int]) -> float | None:
    """How fast a total grew, per s; None where it is not known from two announcements."""
    if seen.before is None:
        return None
    elapsed_s = _uptime_s(seen.said) - _uptime_s(seen.before)
    return round((total(seen.said) - total(seen.before)) / elapsed_s, 1) if elapsed_s > 0 else None
