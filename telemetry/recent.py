"""Times of the last few seconds, and what they were like by percentiles. Pure; the caller brings the clock."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

WINDOW_S: Final = 10.0
MAX_TIMES: Final = 1_024
"""Times that are kept; past them the oldest make room."""
RECKON_EVERY_S: Final = 1.0
"""How old an answer may be: many clients may ask."""


class Percentiles(NamedTuple):
    """Half of `samples` times were not longer than `p50_us`, 95 of a hundred not longer than `p95_us`; in us."""

    p50_us: int
    p95_us: int
    samples: int


def percentiles(times_us: Sequence[int]) -> Percentiles | None:
    """The percentiles by nearest rank; None of no times."""
    if not times_us:
        return None
    ordered = sorted(times_us)
    last = len(ordered) - 1
    return Percentiles(ordered[round(last * 0.50)], ordered[round(last * 0.95)], len(ordered))


class RecentTimes:
    """Times that were noted in the last WINDOW_S, MAX_TIMES of them at most."""

    def __init__(self) -> None:
        self._times: deque[tuple[float, int]] = deque(maxlen=MAX_TIMES)
        self._reckoned_at = float("-inf")
        self._percentiles: Percentiles | None = None

    def note(self, time_us: int, now_s: float) -> None:
        """Keep one time, noted at `now_s` of a clock that never goes back."""
        self._times.append((now_s, time_us))

    def percentiles(self, now_s: float) -> Percentiles | None:
        """Those of the last WINDOW_S, as of at most RECKON_EVERY_S ago; None where nothing was noted."""
        if now_s - self._reckoned_at >= RECKON_EVERY_S:
            while self._times and now_s - self._times[0][0] > WINDOW_S:
                self._times.popleft()
            self._reckoned_at = now_s
            self._percentiles = percentiles([time_us for _, time_us in self._times])
        return self._percentiles
