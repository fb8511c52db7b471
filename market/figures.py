"""How replicas and ingestors stand, in numbers, as they tell each other on the bus: small JSON bodies.

Totals, not rates: whoever hears two announcements of a process knows its rates, also where one between them was lost.
"""

from typing import Final

import msgspec

FIGURES_TOPIC: Final = "figures"
"""Replica -> replicas: how it stands (`ReplicaFigures`), every REPEAT_S."""
MAX_FIGURES_BYTES: Final = 16 * 1024
"""No announcement of a replica's figures is longer: some twenty numbers and a few names."""
GROUPS_NAMED: Final = 200
"""Groups that one `FeedFigures` names, at most: 20,000 symbols in groups of 100."""


TOP_STREAMS: Final = 10
"""Streams that one `ReplicaFigures` names, at most: those with the most members."""


class StreamFigures(msgspec.Struct, frozen=True):
    """A stream (text form) and how many members it has on one replica."""

    stream: str
    members: int


class HopFigures(msgspec.Struct, frozen=True):
    """How long the sampled messages of the last 10 s took for one hop, in us."""

    p50_us: int
    p95_us: int
    samples: int


class ReplicaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One replica's figures. Totals count since its start, `uptime_s` ago; sizes are in bytes, times in us."""

    replica: str
    host: str
    pid: int
    version: str
    source: str
    uptime_s: float
    draining: bool
    connections: dict[str, dict[str, int]]
    """Clients now, by door and transport."""
    opened_total: int
    """Socket.IO clients that connected."""
    streams: int
    """Streams that it receives."""
    subscriptions: int
    """Memberships of clients in streams."""
    received_total: int
    delivered_total: int
    written_bytes_total: int
    conflated_total: int
    dropped_total: int
    slow_consumers_total: int
    lagging: int
    """Clients that read more slowly than they are sent to."""
    bus_connected: bool
    bus_round_trip_us: int
    loop_lag_us: int
    """How late its event loop was when it last looked."""
    memory_bytes: int
    """Resident; 0 where the system does not say."""
    top_streams: list[StreamFigures] = []
    """Those with the most members, most first."""
    gaps_total: int = 0
    """Holes that nobody could fill."""
    refused: dict[str, int] = {}
    """What clients were refused, by the limit it met, and credentials; since its start."""


class GroupFigures(msgspec.Struct, frozen=True):
    """One group of symbols that an ingestor carries."""

    streams: int
    subscribed: bool
    """Whether the exchange has answered for every stream of it."""
    carriers: list[str]
    """The ingestors that should carry it, as this one sees it."""


class FeedFigures(msgspec.Struct, frozen=True):
    """What an ingestor carries and how fast; a part of its `FeedStatus`."""

    uptime_s: float = 0.0
    phase: str = ""
    """Where it is between joining the roster and leaving it."""
    published_total: int = 0
    lag_us: int = 0
    """How long the latest batch took from being received to being published."""
    connections: dict[str, int] = {}
    """Open connections to the exchange, by market and route (`spot/stream`, `futures/market`)."""
    groups: dict[str, GroupFigures] = {}
    """By the group's key; GROUPS_NAMED at most."""
    publish: HopFigures | None = None
    """From receiving a message to having published it; None while there is nothing to publish."""
