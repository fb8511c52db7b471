"""How long messages take for each hop of their way: of about one in SAMPLE_EVERY. Pure; the caller brings the clock.

Times are in us since the epoch, as ingestors note them (market/messages.py): they cross processes, so that
clocks that differ show up as times that end before they begin, which are counted apart.
"""

import random
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from prometheus_client.core import Metric

from market.streams import Kind
from telemetry.families import counters, histograms
from telemetry.histograms import Histogram

SAMPLE_EVERY: Final = 64
"""About one message in so many is sampled, at most one of a batch."""


class Hop(StrEnum):
    """A part of a message's way; docs/metrics.md says from where to where."""

    EXCHANGE = "exchange"
    PUBLISH = "publish"
    BUS = "bus"
    SOCKET = "socket"


class Sampler:
    """Chooses messages at random distances: at fixed ones, a feed that repeats itself would show one stream alone."""

    __slots__ = ("due",)

    def __init__(self) -> None:
        self.due = 1
        """The number of the next message that is sampled; the first one is 1."""

    def pick(self, total: int, batch: int) -> int:
        """Where the sampled one stands in a batch of `batch` messages that ends with number `total`, at least `due`."""
        at = self.due - 1 - (total - batch)
        if at < 0:
            at = random.randrange(batch)  # noqa: S311 # spreads samples, guards nothing
        self.due = total + random.randrange(1, 2 * SAMPLE_EVERY)  # noqa: S311 # spreads samples, guards nothing
        return at

    def hasten(self) -> None:
        """Sample one of the next batch: call it at intervals, so that quiet streams are seen as well."""
        self.due = 0


class Latencies:
    """The times of one process's hops, by kind of stream."""

    def __init__(self, *hops: Hop) -> None:
        self._histograms: dict[tuple[Hop, Kind], Histogram] = {}
        # From the start: a counter that appears with its first count hides it from `increase`.
        self._negatives = Counter[Hop](dict.fromkeys(hops, 0))

    def note(self, hop: Hop, kind: Kind, begin_us: int, end_us: int) -> None:
        """Count one time, or that it was negative."""
        if end_us < begin_us:
            self._negatives[hop] += 1
            return
        histogram = self._histograms.get((hop, kind))
        if histogram is None:
            histogram = self._histograms[hop, kind] = Histogram()
        histogram.observe((end_us - begin_us) / 1_000_000)

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        yield histograms(
            "hop_latency_seconds",
            "Time that sampled messages took for one hop",
            ["hop", "kind"],
            (((hop, kind), histogram) for (hop, kind), histogram in self._histograms.items()),
        )
        yield counters(
            "hop_negative_latencies",
            "Samples that end before they begin, because clocks differ",
            "hop",
            {str(hop): count for hop, count in self._negatives.items()},
        )
