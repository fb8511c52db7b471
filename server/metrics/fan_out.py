"""Metrics of the way from the bus to clients: streams, subscriptions, frames, writes, and who lags."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from server.delivery import Delivery
from server.hub import Hub
from telemetry.families import counter, counters, gauge, labelled_gauges


def fan_out_figures(hub: Hub, delivery: Delivery) -> Iterator[Metric]:
    """What comes, what goes out, and to how many."""
    yield from _streams(hub)
    received = "Messages that came over the bus, second copies included"
    yield counter("messages_received", received, hub.received_total)
    yield counter("messages_unwanted", "Messages of streams that nobody here wants", hub.unwanted_total)
    figures = hub.figures
    delivered = "Messages handed to clients, counted once for each client"
    yield counter("messages_delivered", delivered, figures.delivered_total)
    encoded = "Frames made of messages; each is shared by all clients with one encoding and pace"
    yield counter("frames_encoded", encoded, figures.encoded_total)
    yield counter("encode_errors", "Messages that could not be encoded", figures.encode_errors_total)
    yield counter("socket_writes", "Writes to clients' transports", delivery.writes_total)
    yield counter("socket_written_bytes", "Bytes written to clients' transports", delivery.bytes_total)
    yield gauge("lagging_clients", "Clients that read more slowly than they are sent to", delivery.lagging)
    yield counters(
        "client_dropped_messages",
        "Messages that lagging clients did not get: conflated, or past their buffer (buffer_full)",
        "reason",
        {"conflated": delivery.conflated_total, "buffer_full": delivery.dropped_total},
    )
    slow = "Clients let go because they lagged for too long"
    yield counter("slow_consumers", slow, delivery.slow_consumers_total)


def _streams(hub: Hub) -> Iterator[Metric]:
    subscriptions: Counter[tuple[str, str]] = Counter()
    for stream, members in hub.member_counts().items():
        subscriptions[stream.market, stream.kind] += members
    yield labelled_gauges(
        "subscriptions",
        "Streams that clients are subscribed to now, counted once for each client",
        ["market", "kind"],
        subscriptions.items(),
    )
    yield labelled_gauges(
        "streams",
        "Streams that this replica receives now",
        ["market", "kind"],
        Counter((stream.market, stream.kind) for stream in hub.streams).items(),
    )
