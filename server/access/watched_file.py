"""A file of settings that is read again when it changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

MAX_BYTES: Final = 1024 * 1024
WATCH_S: Final = 1.0
"""How often is looked whether it changed, in s."""

log = structlog.get_logger(__name__)


class WatchedFile:
    """Hands a file's bytes to `take`, at `load` and whenever they changed; what it last took stays where that fails.

    `take` raises ValueError for what it cannot use.
    """

    def __init__(self, path: Path, take: Callable[[bytes], None]) -> None:
        self._path = path
        self._take = take
        self._seen: tuple[int, ...] = ()
        self.failures_total = 0

    def load(self) -> None:
        """Read it now. Raises OSError or ValueError."""
        self._seen = self._state()
        with self._path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        self._take(data)

    async def watch(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read it whenever it changed, and call `changed`, for ever."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._check():
                changed()

    def _check(self) -> bool:
        """Read it if it changed; what is wrong with it is logged, once for each change."""
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            self.load()
        except (OSError, ValueError) as error:
            self.failures_total += 1
            log.warning("file not taken, the last good one still holds", path=str(self._path), error=str(error))
            return False
        log.info("file read again", path=str(self._path))
        return True

    def _state(self) -> tuple[int, ...]:
        """What tells two versions apart; empty while it is not there."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
