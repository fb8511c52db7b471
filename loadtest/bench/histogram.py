"""Quantiles of any number of durations in bounded memory. Pure."""

from typing import Final

STEP_US: Final = 50
LONGEST_US: Final = 10_000_000
"""Longer durations count as this one."""


class Histogram:
    """Durations in us, counted in steps of STEP_US up to LONGEST_US."""

    def __init__(self) -> None:
        self.count = 0
        self._counts = [0] * (LONGEST_US // STEP_US + 1)

    def add(self, duration_us: int) -> None:
        """Count one duration; a negative one, of a clock that was set back, counts as none."""
        self.count += 1
        self._counts[max(0, min(duration_us, LONGEST_US)) // STEP_US] += 1

    def quantile(self, part: float) -> float:
        """What `part` of all durations do not exceed, in us, to the upper end of a step; 0.0 without any."""
        rank, passed = part * self.count, 0
        for step, count in enumerate(self._counts):
            passed += count
            if count and passed >= rank:
                return float((step + 1) * STEP_US)
        return 0.0
