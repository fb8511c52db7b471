"""What visitors use at the other replicas, as these announce it: nobody asks the bus while a client waits.

Each replica tells once a second who uses much here: REST requests by address, connections by subject.
An announcement replaces the one before it, and ends with its window or its lease. What is used within
that second at several replicas is let through: docs/quotas.md says how much that is.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from bus.base import Bus
from market.announcements import LEASE_S, QUOTA_TOPIC, encode
from server.repeating import repeat

TELL_EVERY_S: Final = 1.0
MAX_TOLD: Final = 1_000
"""Addresses, and subjects, of one announcement."""
MAX_REPLICAS: Final = 256
"""Replicas whose announcements are kept; ingestors know as many (ingestor/demand.py)."""


class Requests(msgspec.Struct, frozen=True, array_like=True):
    """REST requests of one address in a window that lasts `left_s` more seconds."""

    used: int
    left_s: float


class Use(msgspec.Struct, frozen=True):
    """What is used at one replica: by address, and by subject."""

    replica: str
    requests: dict[str, Requests]
    connections: dict[str, int]


class _Heard(msgspec.Struct, frozen=True):
    at: float
    use: Use


_decode: Final = msgspec.json.Decoder(Use).decode


class Elsewhere:
    """Tells the other replicas what is used here (`own`), and knows what is used there."""

    def __init__(self, bus: Bus, replica: str, own: Callable[[], Use]) -> None:
        self._bus = bus
        self._replica = replica
        self._own = own
        self._heard: dict[str, _Heard] = {}
        self._task: asyncio.Task[None] | None = None
        self._told_nothing = True
        self.malformed_total = 0
        bus.listen(QUOTA_TOPIC, self._hear)

    @property
    def is_known(self) -> bool:
        """Whether the bus is there to tell."""
        return self._bus.connected

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.get_running_loop().create_task(repeat(self._tell, TELL_EVERY_S, "use not announced"))

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def requests_of(self, network: str) -> int:
        """REST requests that `network` has made elsewhere in windows that still last."""
        now = time.monotonic()
        found = ((heard.at, heard.use.requests.get(network)) for heard in self._heard.values())
        return sum(told.used for at, told in found if told is not None and now < at + told.left_s)

    def connections_of(self, subject: str) -> int:
        """Connections that `subject` has elsewhere."""
        oldest = time.monotonic() - LEASE_S
        return sum(heard.use.connections.get(subject, 0) for heard in self._heard.values() if heard.at > oldest)

    async def _tell(self) -> None:
        """Announce what is used here; nothing, where that was nothing the last time, too."""
        use = self._own()
        is_empty = not use.requests and not use.connections
        if not (is_empty and self._told_nothing):
            await self._bus.announce(QUOTA_TOPIC, encode(use))
        self._told_nothing = is_empty

    def _hear(self, body: bytes) -> None:
        try:
            use = _decode(body)
        except msgspec.DecodeError:
            self.malformed_total += 1
            return
        if max(len(use.requests), len(use.connections)) > MAX_TOLD:
            self.malformed_total += 1
        elif use.replica != self._replica:
            self._heard.pop(use.replica, None)
            if len(self._heard) >= MAX_REPLICAS:
                del self._heard[next(iter(self._heard))]
            self._heard[use.replica] = _Heard(time.monotonic(), use)
