"""How late messages are, over all and second by second, in bounded memory. Pure; times are handed in."""

from typing import Final, NamedTuple

from loadtest.bench.histogram import Histogram

SECONDS_MAX: Final = 7_200
"""Seconds of which the course is kept; later ones count in the figures over all."""
KEPT: Final = 2_000
"""Durations of one second that its quantiles are made of; more messages are counted."""


class Second(NamedTuple):
    """What came within one second of the run."""

    at_s: int
    messages: int
    p99_ms: float


class Quantiles(NamedTuple):
    """Of all durations, in ms; of none all are 0."""

    messages: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Latency:
    """Durations in us of one kind of message and one part of the way."""

    def __init__(self) -> None:
        self.course: list[Second] = []
        self._all = Histogram()
        self._longest_us = 0
        self._second = 0
        self._count = 0
        self._durations_us: list[int] = []

    def add(self, duration_us: int, at_s: float) -> None:
        """Count one message that came `at_s` into the run; times do not go back."""
        if int(at_s) != self._second:
            self.end()
            self._second = int(at_s)
        self._count += 1
        if len(self._durations_us) < KEPT:
            self._durations_us.append(duration_us)
        self._all.add(duration_us)
        self._longest_us = max(self._longest_us, duration_us)

    def end(self) -> None:
        """Close the second under way."""
        if self._count and len(self.course) < SECONDS_MAX:
            ordered = sorted(self._durations_us)
            p99_us = ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
            self.course.append(Second(self._second, self._count, max(0, p99_us) / 1000))
        self._count = 0
        self._durations_us.clear()

    @property
    def quantiles(self) -> Quantiles:
        """The figures over all."""
        return Quantiles(
            self._all.count,
            self._all.quantile(0.5) / 1000,
            self._all.quantile(0.99) / 1000,
            self._longest_us / 1000,
        )
