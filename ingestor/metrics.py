"""Prometheus metrics of one ingestor, read from its parts when somebody asks. docs/metrics.md lists them."""

import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from binance.counters import Leaving, Trouble
from ingestor.members import Phase
from ingestor.service import Ingestor
from telemetry.families import counter, counters, gauge, labelled_counters, labelled_gauges


class IngestorMetrics:
    """Everything that an ingestor alone counts; what it has in common with replicas is telemetry/'s."""

    def __init__(self, ingestor: Ingestor) -> None:
        self._ingestor = ingestor

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        yield from self._connections()
        yield from self._upstream()
        yield from self._demand()
        yield from self._roster()
        yield from self._publisher()
        yield from self._past()
        yield from self._books()
        yield from self._polls()
        yield from self._repairs()

    def _connections(self) -> Iterator[Metric]:
        feed = self._ingestor.feed
        states: Counter[tuple[str, str, str]] = Counter()
        for connection in feed.connections:
            state = "connected" if connection.connected else "lost" if connection.lost else "opening"
            states[connection.tally.market, connection.tally.route, state] += 1
        yield labelled_gauges(
            "upstream_connections",
            "Connections to the exchange that are needed now: connected, opening, or lost",
            ["market", "route", "state"],
            states.items(),
        )
        yield labelled_counters(
            "upstream_messages",
            "Messages that the exchange sent",
            ["market", "route"],
            (((tally.market, tally.route), tally.messages) for tally in feed.tallies),
        )
        silence_s = max(0.0, time.time() - feed.last_message_ms / 1_000)
        yield labelled_gauges(
            "upstream_silence_seconds",
            "How long ago the exchange last sent anything",
            [],
            [((), silence_s)] if feed.last_message_ms else [],
        )
        stalled = "Streams that stay silent on a connection that is well"
        yield gauge("upstream_stalled_streams", stalled, len(feed.stalled))

    def _upstream(self) -> Iterator[Metric]:
        """How the connections to Binance fare."""
        figures = self._ingestor.upstream.counters
        # All of them from the start: a counter that appears with its first count hides it from `increase`.
        yield counter("upstream_connections_opened", "Connections to Binance that were opened", figures.opened)
        yield counter("upstream_attempts", "Attempts to connect to Binance", figures.attempts)
        yield counters(
            "upstream_handovers",
            "Connections to Binance replaced while they lived: age, shutdown, silence",
            "reason",
            {reason: figures.handovers[reason] for reason in Leaving},
        )
        yield counters(
            "upstream_troubles",
            "What went wrong on connections to Binance, by the names of binance/counters.py",
            "trouble",
            {trouble: figures.troubles[trouble] for trouble in Trouble},
        )

    def _demand(self) -> Iterator[Metric]:
        """What replicas want."""
        leases = self._ingestor.leases
        wanted = "Streams that replicas want, or that are always wanted"
        yield gauge("ingestor_wanted_streams", wanted, len(leases.wanted))
        yield gauge("ingestor_replicas", "Replicas that want anything", len(leases))
        streams = "Wanted streams left out: no such stream, or too many"
        yield counter("ingestor_ignored_streams", streams, leases.ignored_streams_total)
        replicas = "Announcements of replicas left out: too many replicas"
        yield counter("ingestor_ignored_replicas", replicas, leases.ignored_replicas_total)
        malformed = "Announcements and questions of replicas that were not understood"
        yield counter("ingestor_malformed_questions", malformed, self._ingestor.malformed_demands_total)

    def _roster(self) -> Iterator[Metric]:
        """What of all that is wanted falls to this one."""
        roster, feed = self._ingestor.roster, self._ingestor.feed
        members = roster.members
        yield labelled_gauges(
            "ingestor_streams",
            "Streams that this ingestor carries",
            ["market", "kind"],
            Counter((stream.market, stream.kind) for stream in feed.streams).items(),
        )
        yield gauge("ingestor_groups", "Groups of symbols that this ingestor carries", len(roster.carried))
        maintained = "Groups of which it alone keeps books, polls and repairs"
        yield gauge("ingestor_maintained_groups", maintained, len(roster.maintained))
        live = "Live ingestors in the roster, this one included"
        yield gauge("ingestor_members", live, 1 + len(members.others))
        yield labelled_gauges(
            "ingestor_phase",
            "1 for where it stands in its life: joining, live, or leaving",
            ["phase"],
            (((phase,), roster.phase is phase) for phase in Phase),
        )
        clashes = "Announcements of another process under its name"
        yield counter("ingestor_name_clashes", clashes, members.clashes_total)
        ignored = "Announcements of other ingestors that were late or too large"
        yield counter("ingestor_ignored_announcements", ignored, members.ignored_total)

    def _publisher(self) -> Iterator[Metric]:
        """What goes to the bus, and how fast."""
        publisher = self._ingestor.publisher
        yield from publisher.latencies.collect()
        yield counter("ingestor_published_messages", "Messages given to the bus", publisher.published_total)
        yield gauge("ingestor_backlog_messages", "Messages that wait for the bus", len(publisher.backlog))
        yield counters(
            "ingestor_dropped_messages",
            "Messages that the bus was too slow for: conflated, or past the backlog (backlog_full)",
            "reason",
            {"conflated": publisher.backlog.conflated_total, "backlog_full": publisher.backlog.dropped_total},
        )
        malformed = "Payloads without a cursor or a price"
        yield counter("ingestor_malformed_payloads", malformed, publisher.malformed_total)

    def _past(self) -> Iterator[Metric]:
        """What is remembered and recorded."""
        memory, recorder = self._ingestor.memory, self._ingestor.recorder
        yield gauge("ingestor_remembered_streams", "Event streams whose past it remembers", len(memory))
        yield counter("ingestor_forgotten_streams", "Pasts given up for want of room", memory.forgotten_total)
        yield counter("ingestor_cut_answers", "Answers about the past that were cut short", memory.cut_total)
        recorded = recorder.recorded_total if recorder else 0
        yield counter("ingestor_recorded_messages", "Messages recorded on disk", recorded)
        lacking = "Messages that recordings lack: the disk was too slow, or refused them"
        yield counter("ingestor_unrecorded_messages", lacking, recorder.dropped_total if recorder else 0)

    def _books(self) -> Iterator[Metric]:
        books = self._ingestor.books
        yield gauge("ingestor_books", "Books that it maintains", len(books))
        yield gauge("ingestor_refused_books", "Books wanted that it has no room for", len(books.refused))
        syncs = "Snapshots of books joined: one for each book, and one after each gap"
        yield counter("ingestor_book_syncs", syncs, books.synced_total)
        yield counter("ingestor_book_gaps", "Books that had a gap, or crossed", books.gaps_total)
        yield counter("ingestor_malformed_books", "Changes of books that were not understood", books.malformed_total)

    def _polls(self) -> Iterator[Metric]:
        poller = self._ingestor.poller
        yield gauge("ingestor_silent_streams", "Streams that are polled because they are silent", poller.silent)
        yield counter("ingestor_polls", "Polls of silent streams", poller.polls_total)
        yield counter("ingestor_failed_polls", "Polls that brought no answer", poller.failed_total)
        yield counter("ingestor_polled_messages", "Messages published that polls brought", poller.published_total)

    def _repairs(self) -> Iterator[Metric]:
        repair = self._ingestor.repair
        yield counter("ingestor_repairs", "Holes that it was asked to repair and took on", repair.asked_total)
        failed = "Holes that could not be filled, or not entirely"
        yield counter("ingestor_failed_repairs", failed, repair.failed_total)
        yield counters(
            "ingestor_repaired_messages",
            "Messages of holes that it had itself (memory) or fetched (rest)",
            "source",
            {"memory": repair.remembered_total, "rest": repair.repaired_total},
        )
        malformed = "Questions for repairs that were not understood"
        yield counter("ingestor_malformed_repairs", malformed, repair.malformed_total)
