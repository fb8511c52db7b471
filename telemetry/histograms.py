"""A histogram of times. Pure."""

from bisect import bisect_left
from typing import Final, TypeAlias

from prometheus_client.core import Exemplar

Row: TypeAlias = tuple[str, float] | tuple[str, float, Exemplar]
"""A bucket's upper end, how many times were not longer, and the latest trace of its own where there is one."""

BUCKETS_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends of the buckets, in s; what took longer is in a last one."""


class Histogram:
    """How often a time fell into each of BUCKETS_S."""

    __slots__ = ("_counts", "_exemplars", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._exemplars: dict[int, Exemplar] = {}
        self.sum_s = 0.0

    def observe(self, seconds: float, trace_id: str | None = None) -> None:
        """Count one time, and remember the trace that shows it."""
        bucket = bisect_left(BUCKETS_S, seconds)
        self._counts[bucket] += 1
        self.sum_s += seconds
        if trace_id is not None:
            self._exemplars[bucket] = Exemplar({"trace_id": trace_id}, seconds)

    def cumulative(self) -> list[Row]:
        """All buckets, as Prometheus has them; `+Inf` is the last one's end."""
        rows: list[Row] = []
        count = 0
        for bucket, upper in enumerate((*map(str, BUCKETS_S), "+Inf")):
            count += self._counts[bucket]
            exemplar = self._exemplars.get(bucket)
            rows.append((upper, count) if exemplar is None else (upper, count, exemplar))
        return rows
