"""A rolling window of events, as Binance counts client messages: strict, no credit for quiet times."""

from collections import deque


class RollingWindow:
    """At most `limit` events within any `period_s` seconds; the caller brings the clock.

    `now` is a reading of a clock that never goes back (`time.monotonic()`), in s. Holds at most
    `limit` readings.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self.limit = limit
        self.period_s = period_s
        self._events: deque[float] = deque(maxlen=limit)

    def allow(self, now: float) -> bool:
        """Whether one more event fits at `now`; if so it is counted, if not nothing changes."""
        if self.wait_s(now) > 0:
            return False
        self._events.append(now)
        return True

    def wait_s(self, now: float) -> float:
        """How long from `now` until one more event fits, in s; 0.0 = it fits at once."""
        if len(self._events) < self.limit:
            return 0.0
        return max(0.0, self._events[0] + self.period_s - now)
