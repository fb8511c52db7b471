"""What sampled messages live through on this replica: received, pushed to members, written to their transports."""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from prometheus_client.core import Metric

from market.event_times import event_ms
from market.messages import Message
from market.streams import Kind
from telemetry.families import histograms
from telemetry.histograms import Histogram
from telemetry.latency import Hop, Latencies, Sampler
from telemetry.recent import RecentTimes

MAX_UNDER_WAY: Final = 256
"""Messages that wait for the write to be timed; further ones are not."""


class Journey(NamedTuple):
    """When one message was where, in us since the epoch; `event_us` is None where the exchange does not say."""

    message: Message
    event_us: int | None
    replica_us: int
    written_us: int


class JourneyObserver(Protocol):
    """Somebody who wants to know of whole journeys."""

    def observe(self, journey: Journey) -> str | None:
        """Take one; called in the loop, must not raise or wait. The id of its trace, where it has one."""


class Journeys:
    """Times of one replica's sampled messages. The hub says what came, delivery when it was written."""

    def __init__(self) -> None:
        self.sampler = Sampler()
        self.latencies = Latencies(Hop.BUS, Hop.SOCKET)
        self.recent = {Hop.BUS: RecentTimes(), Hop.SOCKET: RecentTimes()}
        """How long messages took of late, those aside that end before they begin: clients are told."""
        self.observer: JourneyObserver | None = None
        """Told of each whole journey; nobody while nothing is traced."""
        self.under_way: list[tuple[Message, int]] = []
        """Messages whose frames leave with the next write, and when each was received."""
        self._end_to_end: dict[Kind, Histogram] = {}

    def note_received(self, message: Message) -> int:
        """A sampled message has just come over the bus; returns when, in us since the epoch."""
        now_us = time.time_ns() // 1_000
        self._note(Hop.BUS, message.stream.kind, message.received_us, now_us)
        return now_us

    def note_pushed(self, message: Message, replica_us: int) -> None:
        """It was pushed to members, who get it at the end of the turn."""
        if len(self.under_way) < MAX_UNDER_WAY:
            self.under_way.append((message, replica_us))

    def note_written(self) -> None:
        """Everything that is under way has just been written."""
        under_way, self.under_way = self.under_way, []
        written_us = time.time_ns() // 1_000
        for message, replica_us in under_way:
            kind = message.stream.kind
            self._note(Hop.SOCKET, kind, replica_us, written_us)
            at_ms = event_ms(message.payload)
            event_us = None if at_ms is None else at_ms * 1_000
            trace_id = None
            if self.observer is not None:
                trace_id = self.observer.observe(Journey(message, event_us, replica_us, written_us))
            if event_us is not None and event_us <= written_us:
                histogram = self._end_to_end.get(kind)
                if histogram is None:
                    histogram = self._end_to_end[kind] = Histogram()
                histogram.observe((written_us - event_us) / 1_000_000, trace_id)

    def _note(self, hop: Hop, kind: Kind, begin_us: int, end_us: int) -> None:
        self.latencies.note(hop, kind, begin_us, end_us)
        if end_us >= begin_us:
            self.recent[hop].note(end_us - begin_us, time.monotonic())

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        yield from self.latencies.collect()
        yield histograms(
            "end_to_end_latency_seconds",
            "Time from the exchange's event to clients' transports, of sampled messages",
            ["kind"],
            (((kind,), histogram) for kind, histogram in self._end_to_end.items()),
        )
