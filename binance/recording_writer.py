"""Writes recordings (binance/recordings.py has the format).

Lines gather until they are flushed, then go to disk as one gzip member in one write: whatever happens
to the process, the file on disk ends with a whole member and any gzip reader reads it to the end.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import structlog

from binance.recordings import SUFFIX, encode_line, encode_member
from market.streams import Market

FLUSH_S: Final = 1.0
"""How often whoever writes flushes, in s: what a killed process loses at most."""
FLUSH_BYTES: Final = 256 * 1024
"""Bytes of lines at which a member is written without being asked for."""

_log = structlog.get_logger(__name__)


class RecordingWriter:
    """Writes one recording to files of a folder, a new one after `rotate_bytes` on disk or `rotate_s` seconds.

    Files are named `<name>-<UTC time of the beginning>-<number>.ndjson.gz`; together they are one
    recording. Raises OSError where the disk refuses; the next flush then begins a new file.
    """

    def __init__(self, folder: Path, name: str, *, rotate_bytes: int, rotate_s: float) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.recording = f"{name}-{stamp}"
        self.lines_total = 0
        self.files_total = 0
        self.path: Path | None = None
        """The latest file."""
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._earliest_ms = self._latest_ms = 0
        self._file = -1
        self._written = 0
        self._opened_at = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, ts_ms: int, market: Market, path: str, raw: bytes) -> None:
        """Take one message received at `ts_ms` on a connection of URL path `path`.

        Raises ValueError for one that no line can hold.
        """
        line = encode_line(ts_ms, market, path, raw)
        if not self._gathered:
            self._earliest_ms = self._latest_ms = ts_ms
        self._earliest_ms = min(self._earliest_ms, ts_ms)
        self._latest_ms = max(self._latest_ms, ts_ms)
        self._gathered.append(line)
        self._gathered_bytes += len(line)
        if self._gathered_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put what has gathered on disk; where that fails it is lost."""
        if not self._gathered:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        member = encode_member(b"".join(gathered), self._earliest_ms, self._latest_ms)
        try:
            self._rotate_if_due()
            rest = member
            while rest:
                rest = rest[os.write(self._file, rest) :]
            self._written += len(member)
        except OSError:
            self._give_up_file()
            raise
        self.lines_total += len(gathered)

    def close(self) -> None:
        """Put everything on disk and end the file."""
        try:
            self.flush()
            if self._file >= 0:
                os.fsync(self._file)
        finally:
            self._end_file()

    def _rotate_if_due(self) -> None:
        now = time.monotonic()
        is_full = self._written >= self._rotate_bytes or now - self._opened_at >= self._rotate_s
        if self._file >= 0 and not is_full:
            return
        if self._file >= 0:
            os.fsync(self._file)
            self._end_file()
        path = self._folder / f"{self.recording}-{self.files_total:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._written, self._opened_at = 0, now
        self.files_total += 1
        self.path = path
        _log.info("recording to a new file", path=str(path))

    def _give_up_file(self) -> None:
        """End a file that may end in a part of a member; without a whole one it is of no use."""
        path, self.path = self.path, None
        self._end_file()
        if path is not None and not self._written:
            path.unlink(missing_ok=True)

    def _end_file(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
