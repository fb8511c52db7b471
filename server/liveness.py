"""What a replica knows of its own health: does it hear the bus, and how does the exchange's feed stand."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from market.announcements import CANARY_TOPIC, FEED_TOPIC, LEASE_S, Canary, FeedStatus, Source, encode
from server.repeating import repeat

CANARY_EVERY_S: Final = 1.0
DEAF_AFTER_S: Final = 3.0
"""Without a canary for this long the replica is not ready."""
LOST_AFTER_S: Final = 1.0
"""How long no ingestor may have its feed before clients are told, in s."""
MAX_INGESTORS: Final = 1000

log = structlog.get_logger(__name__)

_decode_canary: Final = msgspec.json.Decoder(Canary).decode
_decode_feed: Final = msgspec.json.Decoder(FeedStatus).decode


class Liveness:
    """Sends a canary over the bus every second and keeps the ingestors' announcements.

    `on_feed_change` is called with (`connected`|`disconnected`, source) whenever the sum of the
    feeds may have changed.
    """

    def __init__(self, bus: Bus, replica: str, source: Source, on_feed_change: Callable[[str, Source], None]) -> None:
        self._bus = bus
        self._replica = replica
        self._source = source
        self._on_feed_change = on_feed_change
        self._heard_at: float | None = None
        self._feeds: dict[str, tuple[float, FeedStatus]] = {}
        self._lost_at: float | None = -math.inf
        """Since when no ingestor has its feed; None while one has."""
        self._has_listened = False
        """Whether ingestors have had the time to speak."""
        self._task: asyncio.Task[None] | None = None
        self.round_trip_us = 0
        """How long the latest canary took over the bus, in us."""
        self.malformed_total = 0
        self.on_feed_status: Callable[[FeedStatus], None] | None = None
        """Called with every ingestor's announcement, where somebody wants to know."""
        bus.listen(CANARY_TOPIC, self._hear)
        bus.listen(FEED_TOPIC, self._note_feed)

    def start(self) -> None:
        """Begin to send canaries."""
        self._task = asyncio.get_running_loop().create_task(repeat(self._sing, CANARY_EVERY_S, "canary not sent"))

    async def close(self) -> None:
        """Stop."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def hears_the_bus(self) -> bool:
        """Whether a canary came back within DEAF_AFTER_S."""
        return self._heard_at is not None and time.monotonic() - self._heard_at < DEAF_AFTER_S

    @property
    def feeds(self) -> list[FeedStatus]:
        """What the live ingestors said last."""
        now = time.monotonic()
        return [status for at, status in self._feeds.values() if now - at < LEASE_S]

    @property
    def exchange(self) -> str:
        """`connected` while some ingestor has its feed, `disconnected` when none has had it for LOST_AFTER_S."""
        is_lost = self._lost_at is not None and time.monotonic() - self._lost_at >= LOST_AFTER_S
        return "disconnected" if is_lost else "connected"

    async def _sing(self) -> None:
        if self._has_listened:
            self._judge()
        self._has_listened = True
        await self._bus.announce(CANARY_TOPIC, encode(Canary(self._replica, time.time_ns() // 1000)))

    def _judge(self) -> None:
        if any(feed.connected for feed in self.feeds):
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = time.monotonic()
        self._on_feed_change(self.exchange, self._source)

    def _hear(self, body: bytes) -> None:
        try:
            canary = _decode_canary(body)
        except msgspec.DecodeError:
            self.malformed_total += 1
            return
        if canary.replica == self._replica:
            self._heard_at = time.monotonic()
            self.round_trip_us = time.time_ns() // 1000 - canary.sent_us

    def _note_feed(self, body: bytes) -> None:
        try:
            status = _decode_feed(body)
        except msgspec.DecodeError:
            self.malformed_total += 1
            return
        now = time.monotonic()
        self._feeds = {name: kept for name, kept in self._feeds.items() if now - kept[0] < LEASE_S}
        if len(self._feeds) < MAX_INGESTORS:
            self._feeds[status.ingestor] = (now, status)
        self._source = status.source
        if self.on_feed_status is not None:
            self.on_feed_status(status)
        self._judge()
