"""Metrics of what comes from ingestors: its order, its past, and how their feeds stand."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.hub import Hub
from server.liveness import Liveness
from telemetry.families import counter, gauge, labelled_gauges


def arbitration_figures(hub: Hub) -> Iterator[Metric]:
    """What came twice, late or not at all."""
    figures, repairs = hub.arbitration, hub.repairs
    duplicates = "Messages that had come before: mostly the other ingestor's copy"
    yield counter("duplicates_dropped", duplicates, figures.duplicates_total)
    yield counter("late_messages", "Messages older than what was handed on", figures.late_total)
    yield counter("held_messages", "Messages that waited for one before them", figures.held_total)
    yield counter("repair_questions", "Holes that an ingestor was asked to repair", repairs.asked_total)
    yield counter("repair_malformed", "Repairs that were not understood", repairs.malformed_total)
    repaired = "Messages that neither copy brought and a repair did"
    yield counter("repaired_messages", repaired, figures.repaired_total)
    yield counter("upstream_gaps", "Holes that stayed, of which clients were told", figures.gaps_total)
    yield counter("epochs", "Times that the ids of a stream began anew", figures.epochs_total)


def resume_figures(hub: Hub) -> Iterator[Metric]:
    """What ingestors were asked about the past."""
    resume = hub.resume
    yield counter("resume_questions", "Questions to ingestors about the past", resume.asked_total)
    unasked = "Questions about the past not asked: too many were under way"
    yield counter("resume_unasked", unasked, resume.unasked_total)
    unanswered = "Questions about the past that no ingestor answered"
    yield counter("resume_unanswered", unanswered, resume.unanswered_total)
    yield counter("resume_malformed", "Answers about the past that were not understood", resume.malformed_total)
    refusals = "Refusals of books that were not understood"
    yield counter("refusals_malformed", refusals, hub.books.malformed_total)


def feed_figures(liveness: Liveness) -> Iterator[Metric]:
    """Whether ingestors have their feeds, and how the bus does; ingestors tell the rest themselves."""
    feeds = liveness.feeds
    connected = sum(feed.connected for feed in feeds)
    yield gauge("exchange_connected", "1 while an ingestor has its feed", liveness.exchange == "connected")
    yield labelled_gauges(
        "feed_ingestors",
        "Live ingestors that have their feed (connected), or not (disconnected)",
        ["state"],
        [(("connected",), connected), (("disconnected",), len(feeds) - connected)],
    )
    malformed = "Canaries and announcements of ingestors that were not understood"
    yield counter("feed_malformed", malformed, liveness.malformed_total)
    round_trip = "How long the latest canary took over the bus"
    yield gauge("bus_round_trip_seconds", round_trip, liveness.round_trip_us / 1_000_000)
