"""The roster's way over the bus: this ingestor's announcements, and those of the others."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.members import ANNOUNCE_S, Presence
from ingestor.roster import Roster
from market.announcements import encode

logger = structlog.get_logger(__name__)

ROSTER_TOPIC: Final = "roster"
"""Ingestor -> ingestors: that it lives and what it carries (`Presence`)."""
_MAX_BYTES: Final = 1024 * 1024

_decode: Final = msgspec.json.Decoder(Presence).decode


class RollCall:
    """Announces `roster`'s presence and lets it hear the others'; `on_change` is called when it has heard something.

    Make it before the bus is started.
    """

    def __init__(self, bus: Bus, roster: Roster, on_change: Callable[[], None]) -> None:
        self.malformed_total = 0
        self._bus = bus
        self._roster = roster
        self._on_change = on_change
        self._due = asyncio.Event()
        self._malformed_log = LogLimit()
        self._clash_log = LogLimit()
        self._task: asyncio.Task[None] | None = None
        bus.listen(ROSTER_TOPIC, self._hear)

    def start(self) -> None:
        """Begin to announce."""
        self._task = asyncio.create_task(self._announce())

    def announce_now(self) -> None:
        """Announce at once: something has changed, or somebody new must know."""
        self._due.set()

    async def close(self) -> None:
        """Stop, with a last announcement."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            await self._send()

    def _hear(self, body: bytes) -> None:
        try:
            if len(body) > _MAX_BYTES:
                raise ValueError(f"{len(body)} bytes")  # noqa: TRY301 # one place deals with what is malformed
            presence = _decode(body)
            clashes = self._roster.members.clashes_total
            is_new = self._roster.hear(presence, time.monotonic())
        except (msgspec.MsgspecError, ValueError) as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                logger.warning("malformed presence", error=str(error), start=body[:200], held_back=held_back)
            return
        if self._roster.members.clashes_total > clashes and self._clash_log.admit() is not None:
            logger.error("another ingestor has this one's name", member=presence.ingestor)
        if is_new:
            logger.info("ingestor heard", member=presence.ingestor, phase=presence.phase)
            self.announce_now()
        self._on_change()

    async def _announce(self) -> None:
        while True:
            self._due.clear()
            await self._send()
            # Time for the next one, whether or not anything changes before.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_S):
                    await self._due.wait()

    async def _send(self) -> None:
        try:
            await self._bus.announce(ROSTER_TOPIC, encode(self._roster.presence()))
        except Exception:  # the next one may arrive
            logger.exception("presence not announced")
