"""Reads streams of a recording in a range of time, a little at a time."""

from collections.abc import Generator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from binance.recordings import decode_line, lines, members
from bus.loglimit import LogLimit
from market.cursors import cursor_of
from market.errors import MarketError
from market.klines import LATEST_MS
from market.messages import Message
from market.payloads import BOOK_SNAPSHOT
from market.streams import Kind, StreamName
from server.every import every_of
from server.replay.recordings import Recording, Recordings

STEP_BYTES: Final = 256 * 1024
"""Bytes of lines that one turn of the thread reads: some 2 ms."""
SLACK_MS: Final = 5_000
"""How far lines may be out of order: a line so far behind the range ends the reading."""
_SNAPSHOT: Final = f'{{"e":"{BOOK_SNAPSHOT}"'.encode()
_STREAM: Final = b'"stream":"'

log = structlog.get_logger(__name__)


class Selection(NamedTuple):
    """Which messages: those of `streams` (ALL among them) received from `start_ms` to `end_ms`, both included."""

    streams: frozenset[StreamName]
    start_ms: int = 0
    end_ms: int = LATEST_MS


class RecordingReader:
    """The messages of a selection, in the order in which they were recorded.

    Of a book the changes before its first snapshot are left out: they change nothing that a client has.
    """

    def __init__(self, recordings: Recordings, recording: Recording, selection: Selection) -> None:
        self.reached_ms = 0
        """Receive time of the latest line read, in ms."""
        self._recordings = recordings
        self._selection = selection
        self._lines = _lines(recording, selection.start_ms)
        self._might_hold = _Names(selection.streams).might_hold
        self._books: set[StreamName] = set()
        self._is_over = False
        self._log = LogLimit()

    async def step(self) -> list[Message] | None:
        """Some messages more, perhaps none; None at the end. Raises OSError where the disk refuses."""
        if self._is_over:
            return None
        return await self._recordings.read(self._step)

    def close(self) -> None:
        """Let go of the file."""
        self._is_over = True
        self._recordings.release(self._lines.close)

    def _step(self) -> list[Message]:
        found: list[Message] = []
        room, latest = STEP_BYTES, None
        for line in self._lines:
            latest = line
            room -= len(line)
            # Most lines are of other streams: they are not decoded.
            if self._might_hold(line) and (message := self._select(line)) is not None:
                found.append(message)
            if room <= 0:
                break
        else:
            self._is_over = True
        if latest is not None:
            self._note_time(latest)
        return found

    def _select(self, line: bytes) -> Message | None:
        try:
            recorded = decode_line(line)
            if recorded is None or recorded.stream is None or recorded.ts is None:
                return None
            if not self._selection.start_ms <= recorded.ts <= self._selection.end_ms:
                return None
            stream = StreamName.parse(recorded.stream, recorded.market)
            if stream not in self._selection.streams and every_of(stream) not in self._selection.streams:
                return None
            if stream.kind is Kind.BOOK and stream not in self._books:
                if not recorded.payload.startswith(_SNAPSHOT):
                    return None
                self._books.add(stream)
            return Message(stream, cursor_of(stream, recorded.payload), recorded.ts * 1_000, recorded.payload)
        except (MarketError, msgspec.MsgspecError, ValueError) as error:
            self._note_malformed(line, error)
            return None

    def _note_time(self, line: bytes) -> None:
        """See how far the reading is, once a step."""
        try:
            recorded = decode_line(line)
        except (msgspec.MsgspecError, ValueError) as error:
            self._note_malformed(line, error)
            return
        if recorded is not None and recorded.ts is not None:
            self.reached_ms = max(self.reached_ms, recorded.ts)
            self._is_over = self._is_over or recorded.ts > self._selection.end_ms + SLACK_MS

    def _note_malformed(self, line: bytes, error: Exception) -> None:
        if (held_back := self._log.admit()) is not None:
            log.warning("recorded line not understood", start=line[:200], error=str(error), held_back=held_back)


def _lines(recording: Recording, start_ms: int) -> Generator[bytes, None, None]:
    """The lines of all parts that may hold what was received from `start_ms` on."""
    for part in recording.parts:
        if part.end_ms is not None and part.end_ms < start_ms:
            continue
        try:
            yield from lines(part.path, _offset(part.path, start_ms))
        except FileNotFoundError:  # the oldest files make room for new ones
            log.warning("recorded file is gone", path=str(part.path))


def _offset(path: Path, start_ms: int) -> int:
    """Where the first member stands that holds `start_ms` or what comes after it; 0 in files without such members."""
    for member in members(path):
        if member.latest_ms >= start_ms:
            return member.offset
    return 0


class _Names:
    """Knows from a line's bytes whether it may be one of a selection's, without decoding it."""

    def __init__(self, streams: frozenset[StreamName]) -> None:
        names = [stream.binance_name.encode() for stream in streams]
        self._names = frozenset(names)
        # ALL is `*@trade`: whatever the symbol.
        self._kinds = frozenset(name[1:] for name in names if name.startswith(b"*@"))

    def might_hold(self, line: bytes) -> bool:
        """Whether the line names one of the streams, or does not name its stream in the usual place."""
        at = line.find(_STREAM)
        if at < 0:
            return True
        name = line[at + len(_STREAM) : line.find(b'"', at + len(_STREAM))]
        return name in self._names or b"\\" in name or name[name.find(b"@") :] in self._kinds
