"""Does a figure of a long run drift? Pure: the slope of what was sampled after the warm-up, against a tolerance."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

WARM_UP: Final = 0.25
"""The part of a run whose samples do not count: caches fill, pools and allocators grow to what they need."""
SAMPLES_MIN: Final = 6
"""Fewer samples after the warm-up say nothing about a slope."""


class Measure(NamedTuple):
    """What is watched, and by how much it may grow in a run: this part of its level, or so many units if it is more."""

    name: str
    unit: str
    part: float
    units: float


MEMORY: Final = Measure("memory", "MB", 0.05, 4.0)
DESCRIPTORS: Final = Measure("descriptors", "", 0.05, 10.0)
THREADS: Final = Measure("threads", "", 0.0, 1.5)
TASKS: Final = Measure("tasks", "", 0.05, 10.0)
LATENCY: Final = Measure("latency p99", "ms", 0.5, 20.0)


class Point(NamedTuple):
    """One sample: when, in s since the begin, and how much."""

    at_s: float
    value: float


class Trend(NamedTuple):
    """How one figure of one process went; `growth` is what its slope makes of the whole time that counts."""

    process: str
    measure: Measure
    level: float
    growth: float
    samples: int

    @property
    def tolerance(self) -> float:
        """How much growth is none."""
        return max(self.measure.part * self.level, self.measure.units)

    @property
    def drifts(self) -> bool:
        """Whether it grows."""
        return self.growth > self.tolerance

    @property
    def line(self) -> str:
        """One line for a person to read."""
        unit = f" {self.measure.unit}" if self.measure.unit else ""
        return (
            f"{self.process:<18} {self.measure.name:<12} {self.level:10.1f}{unit:<3} grew by {self.growth:8.2f} "
            f"(may: {self.tolerance:.1f}) {'DRIFTS' if self.drifts else 'ok'}"
        )


def trend_of(process: str, measure: Measure, points: Sequence[Point]) -> Trend | None:
    """The trend of what was sampled; None where too little was.

    The slope is the median of those between all pairs of samples, which single outliers do not bend (Theil 1950,
    Sen 1968, "Estimates of the regression coefficient based on Kendall's tau").
    """
    if not points:
        return None
    begin = points[0].at_s + WARM_UP * (points[-1].at_s - points[0].at_s)
    counted = [point for point in points if point.at_s >= begin]
    if len(counted) < SAMPLES_MIN:
        return None
    slopes = [(late.value - early.value) / (late.at_s - early.at_s) for early, late in combinations(counted, 2)]
    level = median(point.value for point in counted)
    return Trend(process, measure, level, median(slopes) * (counted[-1].at_s - counted[0].at_s), len(counted))
