"""The stored recordings that this replica can replay: which there are, and reading them without stopping the loop."""

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog

from binance.recordings import SUFFIX, decode_line, lines, members
from market.errors import Code, MarketError

MAX_FILES: Final = 1_024
"""Files that are looked at; of more the ones with the last names."""
_NUMBER: Final = re.compile(r"-\d{6}\Z")
_FIRST_LINES: Final = 1_000
_FIRST_BYTES: Final = 1 << 20
_MAX_STREAMS: Final = 200

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Part(NamedTuple):
    """One file of a recording, and the times it holds (ms); `end_ms` is None where it does not say."""

    path: Path
    size: int
    start_ms: int
    end_ms: int | None
    streams: frozenset[str]
    """Names (text form) among its first messages."""


class Recording(NamedTuple):
    """Files that continue each other, under the name they share."""

    id: str
    parts: tuple[Part, ...]

    @property
    def body(self) -> dict[str, object]:
        """`{id, startTime, endTime, bytes, files, streams}`, as clients are told; times in ms."""
        streams = sorted(frozenset[str]().union(*(part.streams for part in self.parts)))
        return {
            "id": self.id,
            "startTime": self.parts[0].start_ms,
            "endTime": self.parts[-1].end_ms,
            "bytes": sum(part.size for part in self.parts),
            "files": len(self.parts),
            "streams": streams[:_MAX_STREAMS],
        }


class Recordings:
    """The recordings of one folder, read in a thread of their own.

    Readers take turns, and after each turn the thread rests for as long as it took: however many
    replays there are, most of the time is the live clients'. None for the folder = there are none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._parts: dict[Path, Part] = {}
        self._walked: dict[Path, int] = {}
        self._thread = ThreadPoolExecutor(1, "recordings")
        self._turn = asyncio.Lock()
        self._rests_until = 0.0

    async def list(self) -> list[Recording]:
        """What there is now, the latest beginning first."""
        found = await self.read(self._list)
        return sorted(found.values(), key=lambda recording: recording.parts[0].start_ms, reverse=True)

    async def find(self, recording_id: str) -> Recording:
        """The recording of that id. Raises MarketError (unknown_recording)."""
        recording = (await self.read(self._list)).get(recording_id)
        if recording is None:
            raise MarketError(Code.UNKNOWN_RECORDING, f"Unknown recording: {recording_id[:80]}")
        return recording

    async def read(self, work: Callable[[], T]) -> T:
        """Run `work`, which should take but a few ms, in the thread when its turn has come."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._rests_until - time.monotonic()))
            began = time.monotonic()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            finally:
                now = time.monotonic()
                self._rests_until = now + (now - began)

    def release(self, work: Callable[[], None]) -> None:
        """Have `work` run in the thread after all that runs there; nobody waits for it."""
        self._thread.submit(work)

    async def close(self) -> None:
        """Finish what is being read."""
        await asyncio.to_thread(self._thread.shutdown)

    def _list(self) -> dict[str, Recording]:
        paths = [] if self._folder is None else sorted(self._folder.glob(f"*{SUFFIX}"))[-MAX_FILES:]
        self._parts = {path: part for path in paths if (part := self._look_at(path)) is not None}
        self._walked = {path: offset for path, offset in self._walked.items() if path in self._parts}
        by_id: dict[str, list[Part]] = {}
        for path, part in self._parts.items():
            by_id.setdefault(_NUMBER.sub("", path.name.removesuffix(SUFFIX)), []).append(part)
        return {name: Recording(name, tuple(parts)) for name, parts in by_id.items()}

    def _look_at(self, path: Path) -> Part | None:
        """What a file holds, None if nothing; of one that has grown only what is new is looked at."""
        try:
            size = path.stat().st_size
            known = self._parts.get(path)
            if known is not None and known.size == size:
                return known
            if known is None or size < known.size:
                self._walked.pop(path, None)
                known = _first_look(path, size)
            return None if known is None else self._walk(known._replace(size=size))
        except OSError as error:  # gone meanwhile, or not ours to read
            log.warning("recording not readable", path=str(path), error=str(error))
            return None

    def _walk(self, part: Part) -> Part:
        start_ms, end_ms, offset = part.start_ms, part.end_ms, self._walked.get(part.path, 0)
        for member in members(part.path, offset):
            start_ms = min(start_ms, member.earliest_ms)
            end_ms = max(end_ms or 0, member.latest_ms)
            offset = member.offset + member.size
        self._walked[part.path] = offset
        return part._replace(start_ms=start_ms, end_ms=end_ms)


def _first_look(path: Path, size: int) -> Part | None:
    """What the first lines of a file say; None where no message is among them."""
    start_ms = None
    streams: set[str] = set()
    room = _FIRST_BYTES
    for line in islice(lines(path), _FIRST_LINES):
        if room < 0:
            break
        room -= len(line)
        try:
            message = decode_line(line)
        except (msgspec.MsgspecError, ValueError):
            continue  # whoever reads the file reports it
        if message is not None and message.stream is not None and message.ts is not None:
            start_ms = message.ts if start_ms is None else start_ms
            streams.add(f"{message.market}:{message.stream}")
    return None if start_ms is None else Part(path, size, start_ms, None, frozenset(streams))
