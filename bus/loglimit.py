"""Keeps a fault that repeats thousands of times a second from filling the log."""

import time
from collections.abc import Callable
from typing import Final

LOG_INTERVAL_S: Final = 10.0
"""How far apart two log lines about the same fault are at least, in s."""


class LogLimit:
    """Admits one log line per LOG_INTERVAL_S and counts the ones it held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = float("-inf")
        self._held_back = 0

    def admit(self) -> int | None:
        """How many lines were held back since the last one admitted; None where this one is held back too."""
        now = self._clock()
        if now < self._next:
            self._held_back += 1
            return None
        self._next = now + LOG_INTERVAL_S
        held_back, self._held_back = self._held_back, 0
        return held_back
