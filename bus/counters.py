"""Totals under keys that may not exceed a limit, within one process."""

import time
from collections.abc import Callable
from typing import Final

COUNTERS_MAX: Final = 10_000
"""How many totals are kept at once."""


class Counters:
    """Totals, each for its own time from the first amount on; the clock reads s.

    Past COUNTERS_MAX a new key is refused like an amount that exceeds its limit: a budget that
    cannot be kept is no budget.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, limit: int = COUNTERS_MAX) -> None:
        self._clock = clock
        self._limit = limit
        self._totals: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._totals)

    def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` and return the new total; None, and nothing added, where it would exceed `limit`."""
        now = self._clock()
        deadline, total = self._totals.get(key, (0.0, 0))
        if deadline <= now:
            deadline, total = now + ttl_s, 0
            if key not in self._totals and len(self._totals) >= self._limit:
                self._drop_expired(now)
                if len(self._totals) >= self._limit:
                    return None
        if total + amount > limit:
            return None
        self._totals[key] = deadline, total + amount
        return total + amount

    def _drop_expired(self, now: float) -> None:
        self._totals = {key: kept for key, kept in self._totals.items() if kept[0] > now}
