"""A replica tells all others its figures every REPEAT_S, and keeps what they tell: each can answer for the cluster."""

import asyncio
import heapq
import os
import socket
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from market.announcements import REPEAT_S, FeedStatus, Source, encode
from market.figures import FIGURES_TOPIC, MAX_FIGURES_BYTES, TOP_STREAMS, ReplicaFigures, StreamFigures
from server.cluster.view import Sighting, Sightings
from server.delivery import Delivery
from server.drain import Drain
from server.hub import Hub
from server.liveness import Liveness
from version import VERSION

_STATM: Final = Path("/proc/self/statm")

log = structlog.get_logger(__name__)

_decode: Final = msgspec.json.Decoder(ReplicaFigures).decode


class OwnFigures:
    """What this replica says of itself, read from its parts when it is time."""

    def __init__(
        self,
        *,
        replica: str,
        source: Source,
        hub: Hub,
        bus: Bus,
        delivery: Delivery,
        liveness: Liveness,
        connections: Callable[[], dict[str, dict[str, int]]],
        opened_total: Callable[[], int],
        refused: Callable[[], dict[str, int]],
        drain: Drain,
    ) -> None:
        self._replica = replica
        self._source = source
        self._hub = hub
        self._bus = bus
        self._delivery = delivery
        self._liveness = liveness
        self._connections = connections
        self._opened_total = opened_total
        self._refused = refused
        self._began = time.monotonic()
        self._host = socket.gethostname()
        self._drain = drain

    def read(self, loop_lag_us: int) -> ReplicaFigures:
        """The figures of this moment."""
        hub, delivery = self._hub, self._delivery
        members = hub.member_counts()
        most = heapq.nlargest(TOP_STREAMS, members.items(), key=itemgetter(1))
        return ReplicaFigures(
            replica=self._replica,
            host=self._host,
            pid=os.getpid(),
            version=VERSION,
            source=self._source,
            uptime_s=time.monotonic() - self._began,
            draining=self._drain.is_draining,
            connections=self._connections(),
            opened_total=self._opened_total(),
            streams=len(hub.streams),
            subscriptions=sum(members.values()),
            received_total=hub.received_total,
            delivered_total=hub.figures.delivered_total,
            written_bytes_total=delivery.bytes_total,
            conflated_total=delivery.conflated_total,
            dropped_total=delivery.dropped_total,
            slow_consumers_total=delivery.slow_consumers_total,
            lagging=delivery.lagging,
            bus_connected=self._bus.connected,
            bus_round_trip_us=self._liveness.round_trip_us,
            loop_lag_us=loop_lag_us,
            memory_bytes=_resident_bytes(),
            top_streams=[StreamFigures(str(stream), count) for stream, count in most],
            gaps_total=hub.arbitration.gaps_total,
            refused=self._refused(),
        )


class FiguresExchange:
    """Announces what `own` reads, and keeps what all replicas and ingestors announce."""

    def __init__(self, bus: Bus, liveness: Liveness, own: OwnFigures) -> None:
        self._bus = bus
        self._own = own
        self._replicas = Sightings[ReplicaFigures]()
        self._ingestors = Sightings[FeedStatus]()
        self._task: asyncio.Task[None] | None = None
        self._malformed_log = LogLimit()
        self.malformed_total = 0
        bus.listen(FIGURES_TOPIC, self._hear)
        liveness.on_feed_status = self._note_feed

    @property
    def ignored_total(self) -> int:
        """Announcements of more processes than are kept."""
        return self._replicas.ignored_total + self._ingestors.ignored_total

    def start(self) -> None:
        """Begin to announce."""
        self._task = asyncio.get_running_loop().create_task(self._announce())

    async def close(self) -> None:
        """Stop; the others find this replica silent."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def replicas(self) -> list[Sighting[ReplicaFigures]]:
        """Every replica heard in the last FORGOTTEN_AFTER_S, by name."""
        return self._replicas.list(time.monotonic())

    def ingestors(self) -> list[Sighting[FeedStatus]]:
        """Every ingestor heard in the last FORGOTTEN_AFTER_S, by name."""
        return self._ingestors.list(time.monotonic())

    async def _announce(self) -> None:
        late_us = 0
        while True:
            try:
                await self._bus.announce(FIGURES_TOPIC, encode(self._own.read(late_us)))
            except Exception:  # the next one may arrive
                log.exception("figures not announced")
            due = time.monotonic() + REPEAT_S
            await asyncio.sleep(REPEAT_S)
            late_us = int(max(0.0, time.monotonic() - due) * 1e6)

    def _hear(self, body: bytes) -> None:
        try:
            if len(body) > MAX_FIGURES_BYTES:
                raise ValueError(f"{len(body)} bytes")  # noqa: TRY301 # one place deals with what is malformed
            figures = _decode(body)
        except (msgspec.MsgspecError, ValueError) as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                log.warning("malformed figures", error=str(error), start=body[:200], held_back=held_back)
            return
        self._replicas.note(figures.replica, figures, time.monotonic())

    def _note_feed(self, status: FeedStatus) -> None:
        self._ingestors.note(status.ingestor, status, time.monotonic())


def _resident_bytes() -> int:
    """The process's resident memory (proc(5), "statm"); 0 where the system is not Linux."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
