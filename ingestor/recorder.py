"""Records what was published on the bus, so that what clients saw can be replayed. Never in the data path's way."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from binance.frames import wrap_payload
from binance.recording_writer import FLUSH_S, RecordingWriter
from binance.recordings import SUFFIX
from binance.routes import route_of
from bus.loglimit import LogLimit
from ingestor.backlog import MESSAGE_BYTES
from ingestor.books import upstream_of
from ingestor.settings import IngestorSettings
from market.messages import Message

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of messages that may wait for the disk; past it they are dropped from the recording."""
ROTATE_S: Final = 3600.0
ROTATE_BYTES: Final = 100_000_000
FILES_KEPT: Final = 8
"""Files that the allowed bytes are divided into at least: what goes at once is an eighth of them."""
PREFIX: Final = "bus-"
"""What recordings of ingestors are called in front; no other file is ever deleted."""

logger = structlog.get_logger(__name__)


class Recorder:
    """Writes published messages in a thread, as the lines that a recorder at the exchange would have written.

    `keep` never waits. What the disk is too slow for, or refuses, is left out of the recording and
    counted. Of all ingestors' recordings in `folder` the oldest files go once they take more than
    `max_bytes`.
    """

    def __init__(self, folder: Path, name: str, max_bytes: int, waiting_bytes: int = WAITING_BYTES) -> None:
        self.dropped_total = 0
        self._folder = folder
        self._max_bytes = max_bytes
        rotate_bytes = min(ROTATE_BYTES, max_bytes // FILES_KEPT)
        self._writer = RecordingWriter(folder, PREFIX + name, rotate_bytes=rotate_bytes, rotate_s=ROTATE_S)
        self._limit = self._room = waiting_bytes
        self._waiting: list[Message] = []
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._task: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()
        self._drop_log = LogLimit()

    @property
    def recorded_total(self) -> int:
        """Messages that are on disk, or were before their file had to go."""
        return self._writer.lines_total

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_regularly())

    async def close(self) -> None:
        """Write what waits and end the file."""
        # Not cancelled: a batch that waits for the thread would be lost.
        self._is_closing.set()
        if self._task is not None:
            await self._task
        await self._write_waiting()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown()

    def keep(self, messages: Sequence[Message]) -> None:
        """Have messages recorded, as far as there is room for them to wait; returns at once."""
        for number, message in enumerate(messages):
            self._room -= len(message.payload) + MESSAGE_BYTES
            if self._room < 0:
                self._note_dropped(len(messages) - number, "the disk is too slow")
                return
            self._waiting.append(message)

    async def _write_regularly(self) -> None:
        while not self._is_closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._is_closing.wait()
            try:
                await self._write_waiting()
            except Exception:  # a fault of ours must not end the recording
                logger.exception("recording failed")

    async def _write_waiting(self) -> None:
        """Write what waits; what comes meanwhile waits for the next turn."""
        waiting, self._waiting, self._room = self._waiting, [], self._limit
        if waiting:
            lost = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, waiting)
            self._note_dropped(*lost)

    def _write(self, messages: Sequence[Message]) -> tuple[int, str]:
        """Put messages on disk, in the thread; how many were lost, and why."""
        before, refused, reason = self._writer.lines_total, 0, ""
        try:
            for message in messages:
                try:
                    self._write_one(message)
                except ValueError as error:
                    refused, reason = refused + 1, str(error)
            self._writer.flush()
            self._delete_oldest()
        except OSError as error:
            return len(messages) - (self._writer.lines_total - before), str(error)
        return refused, reason

    def _write_one(self, message: Message) -> None:
        stream = message.stream
        frame = wrap_payload(stream.binance_name, message.payload)
        path = f"{route_of(upstream_of(stream))}/stream"
        self._writer.write(message.received_us // 1_000, stream.market, path, frame)

    def _delete_oldest(self) -> None:
        """Delete the oldest files until those of all ingestors fit; another one may do so, too."""
        found = []
        for path in self._folder.glob(f"{PREFIX}*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, path, status.st_size))
        excess = sum(size for _, _, size in found) - self._max_bytes
        for _, path, size in sorted(found):
            if excess <= 0 or path == self._writer.path:
                return
            path.unlink(missing_ok=True)
            excess -= size
            logger.info("oldest recording deleted", path=str(path), bytes=size)

    def _end(self) -> None:
        try:
            self._writer.close()
        except OSError as error:
            logger.warning("recording not ended", error=str(error))

    def _note_dropped(self, messages: int, reason: str) -> None:
        self.dropped_total += messages
        if messages and (held_back := self._drop_log.admit()) is not None:
            logger.warning("messages not recorded", messages=messages, reason=reason, held_back=held_back)


def open_recorder(settings: IngestorSettings) -> Recorder | None:
    """The recorder that the settings ask for, None where they ask for none.

    Raises OSError for a folder that cannot be made.
    """
    if settings.record is None:
        return None
    name = re.sub(r"[^A-Za-z0-9_.]", "_", settings.instance)[:80]
    return Recorder(settings.record, name, settings.record_max_bytes)
