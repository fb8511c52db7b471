"""Prometheus metrics of one replica, read from its parts when somebody asks."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from binance.rest import RestClient
from bus.base import Bus
from server.access.over_quota import Reason
from server.access.quotas import Quotas
from server.delivery import Delivery
from server.doors.binance_rest import BinanceRestDoor
from server.doors.binance_ws import BinanceDoor
from server.doors.json_ws import JsonDoor
from server.doors.socketio import SocketIODoor
from server.history import History
from server.hub import Hub
from server.liveness import Liveness
from server.replays import Replays
from server.rest_cache import RestCache

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class ReplicaMetrics(Collector):
    """Everything a replica counts, by Prometheus's conventions (base units, `_total`)."""

    def __init__(
        self,
        hub: Hub,
        bus: Bus,
        delivery: Delivery,
        liveness: Liveness,
        *,
        door: SocketIODoor,
        json_door: JsonDoor,
        binance_door: BinanceDoor,
        binance_rest: BinanceRestDoor,
        cache: RestCache,
        rest: RestClient,
        history: History,
        replays: Replays,
        quotas: Quotas,
    ) -> None:
        self._hub = hub
        self._bus = bus
        self._delivery = delivery
        self._door = door
        self._json_door = json_door
        self._binance_door = binance_door
        self._binance_rest = binance_rest
        self._cache = cache
        self._rest = rest
        self._history = history
        self._replays = replays
        self._quotas = quotas
        self._liveness = liveness
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        hub, bus, delivery = self._hub, self._bus, self._delivery
        yield _counter("messages_received", "Messages from the bus", hub.received_total)
        yield _counter("messages_unwanted", "Messages of streams that nobody here wants", hub.unwanted_total)
        yield _counter("messages_delivered", "Messages handed to connections", hub.figures.delivered_total)
        yield _counter("encode_errors", "Messages that could not be encoded", hub.figures.encode_errors_total)
        yield _counter("socket_writes", "Writes to client transports", delivery.writes_total)
        yield _counter("socket_written_bytes", "Bytes written to client transports", delivery.bytes_total)
        yield _counter("slow_consumers", "Clients let go because they did not read", delivery.slow_consumers_total)
        yield _counter(
            "conflated_messages", "Messages replaced by later ones for slow clients", delivery.conflated_total
        )
        yield _counter("dropped_messages", "Messages dropped for slow clients", delivery.dropped_total)
        yield _gauge("lagging_clients", "Clients that read more slowly than they are sent to", delivery.lagging)
        refused = CounterMetricFamily(
            "tickcast_refused_events", "Client events and messages answered with an error", labels=["door"]
        )
        refused.add_metric(["socketio"], self._door.refused_total)
        refused.add_metric(["json"], self._json_door.refused_total)
        refused.add_metric(["binance"], self._binance_door.refused_total)
        yield refused
        yield _counter(
            "rest_limited", "Binance REST requests past their address's weight", self._binance_rest.limited_total
        )
        yield _counter("rest_asked", "Binance REST requests that went to the exchange", self._cache.asked_total)
        yield _counter("rest_shared", "Binance REST requests answered with another's answer", self._cache.shared_total)
        yield from self._upstream()
        yield _counter("bus_dropped", "Messages dropped because the bus was away", bus.dropped_total)
        yield _counter("bus_handler_errors", "Bus handlers that raised", bus.handler_errors_total)
        control = self._door.server.manager
        yield _counter("control_requests_dropped", "Control requests past the limit", control.dropped_total)
        yield _counter("control_requests_malformed", "Control requests not understood", control.malformed_total)
        yield _counter("resume_questions", "Questions to ingestors about the past", hub.resume.asked_total)
        yield _counter("resume_unasked", "Questions not asked: too many were under way", hub.resume.unasked_total)
        yield _counter("resume_unanswered", "Questions that no ingestor answered", hub.resume.unanswered_total)
        yield _counter("resume_malformed", "Answers that were not understood", hub.resume.invalid_total)
        yield _counter("refusals_malformed", "Refusals of books not understood", hub.books.invalid_total)
        yield from self._arbitration()
        yield from self._ingestors()
        yield from self._limits()
        yield _gauge("replays", "Replays that clients receive now", len(self._replays))
        replayed = self._replays.figures
        yield _counter("replays_started", "Replays that began", replayed.started_total)
        yield _counter("replays_refused", "Replays refused: too many at once", replayed.refused_total)
        yield _counter("replayed_messages", "Stored messages sent to clients", replayed.messages_total)
        yield _counter("replay_encode_errors", "Stored messages not encoded", replayed.encode_errors_total)
        yield _gauge("streams", "Streams that this replica receives", len(hub.streams))
        yield _gauge("bus_connected", "1 while the bus is reachable", bus.connected)
        yield _gauge("exchange_connected", "1 while an ingestor has its feed", self._liveness.exchange == "connected")
        yield _gauge("bus_round_trip_seconds", "Latest canary over the bus", self._liveness.round_trip_us / 1e6)
        connections = GaugeMetricFamily("tickcast_connections", "Connected clients", labels=["door", "transport"])
        for transport, count in self._door.connections_by_transport().items():
            connections.add_metric(["socketio", transport], count)
        connections.add_metric(["json", "websocket"], self._json_door.connections)
        connections.add_metric(["binance", "websocket"], self._binance_door.connections)
        yield connections

    def _limits(self) -> Iterator[Metric]:
        """What was refused because somebody had used up what they may; docs/quotas.md has the reasons."""
        quotas = self._quotas
        refused = CounterMetricFamily("tickcast_refused", "What was refused, by the limit it met", labels=["reason"])
        counts = {**quotas.refused, Reason.SLOW_MESSAGE.value: self._delivery.slow_senders_total}
        for reason in Reason:
            refused.add_metric([reason.value], counts.get(reason.value, 0))
        yield refused
        yield _gauge("addresses", "Client addresses that are remembered", quotas.addresses)
        yield _counter("addresses_forgotten", "Addresses forgotten to make room for others", quotas.forgotten_total)
        yield _counter("quota_news_malformed", "Announcements of use that were not understood", quotas.invalid_total)

    def _ingestors(self) -> Iterator[Metric]:
        """What the live ingestors say of their memory and their books, added up: a label each would have no bound."""
        feeds = self._liveness.feeds
        remembered = sum(feed.remembered for feed in feeds)
        forgotten = sum(feed.forgotten_total for feed in feeds)
        cut = sum(feed.cut_total for feed in feeds)
        refused = sum(feed.books_refused for feed in feeds)
        yield _gauge("ingestor_remembered_streams", "Event streams whose past ingestors remember", remembered)
        yield _counter("ingestor_forgotten_streams", "Pasts that ingestors gave up for want of room", forgotten)
        yield _counter("ingestor_cut_answers", "Answers about the past that were cut short", cut)
        yield _gauge("ingestor_books", "Books that ingestors maintain", sum(feed.books for feed in feeds))
        recorded = sum(feed.recorded_total for feed in feeds)
        unrecorded = sum(feed.record_dropped_total for feed in feeds)
        yield _counter("ingestor_recorded_messages", "Messages that ingestors recorded", recorded)
        yield _counter("ingestor_unrecorded_messages", "Messages that recordings lack: the disk's fault", unrecorded)
        yield _gauge("ingestor_books_refused", "Books wanted that ingestors have no room for", refused)
        yield from self._upstream_connections()

    def _upstream_connections(self) -> Iterator[Metric]:
        """How the live ingestors' connections to the exchange fare, as they announce it."""
        opened = CounterMetricFamily(
            "tickcast_upstream_opened", "Connections to the exchange that were opened", labels=["ingestor"]
        )
        handovers = CounterMetricFamily(
            "tickcast_upstream_handovers",
            "Connections to the exchange replaced while they lived",
            labels=["ingestor", "reason"],
        )
        troubles = CounterMetricFamily(
            "tickcast_upstream_troubles",
            "What went wrong between the exchange and the ingestors",
            labels=["ingestor", "trouble"],
        )
        stalled = GaugeMetricFamily(
            "tickcast_upstream_stalled_streams", "Streams silent on a connection that is well", labels=["ingestor"]
        )
        for feed in self._liveness.feeds:
            opened.add_metric([feed.ingestor], feed.upstream.opened)
            stalled.add_metric([feed.ingestor], len(feed.stalled))
            for reason, count in feed.upstream.handovers.items():
                handovers.add_metric([feed.ingestor, reason], count)
            for trouble, count in feed.upstream.troubles.items():
                troubles.add_metric([feed.ingestor, trouble], count)
        yield from (opened, handovers, troubles, stalled)

    def _arbitration(self) -> Iterator[Metric]:
        """What came twice, late or not at all."""
        figures, repairs = self._hub.arbitration, self._hub.repairs
        yield _counter("duplicates_dropped", "Messages that came before: the other copy's", figures.duplicates_total)
        yield _counter("late_messages", "Messages older than what was handed on", figures.late_total)
        yield _counter("held_messages", "Messages that waited for one before them", figures.held_total)
        yield _counter("repair_questions", "Holes that an ingestor was asked to repair", repairs.asked_total)
        yield _counter("repair_malformed", "Repairs that were not understood", repairs.invalid_total)
        yield _counter("repaired_messages", "Messages that only Binance's REST API had", figures.repaired_total)
        yield _counter("upstream_gaps", "Holes that stayed, of which clients were told", figures.gaps_total)
        yield _counter("epochs", "Times that a stream's ids began anew", figures.epochs_total)

    def _upstream(self) -> Iterator[Metric]:
        """What the exchange's REST API costs, and what was not asked because it was known."""
        blocks = self._history.blocks
        yield _counter("history_asked", "Requests for candles to the exchange", blocks.asked_total)
        yield _counter("history_joined", "Requests that waited for another's answer", blocks.flights.joined_total)
        yield _counter("history_cache_hits", "Closed blocks of candles found on the bus", blocks.slots.hits_total)
        yield _counter("history_cache_misses", "Blocks of candles not found on the bus", blocks.slots.misses_total)
        used = GaugeMetricFamily("tickcast_rest_weight", "Request weight used this minute", labels=["market"])
        refused = CounterMetricFamily(
            "tickcast_rest_refused", "Requests not sent: no weight left, or Binance's pause", labels=["market"]
        )
        for market, budget in self._rest.budgets.items():
            used.add_metric([market], budget.used)
            refused.add_metric([market], budget.refused_total)
        yield used
        yield refused
        yield _counter("bus_spent_alone", "Amounts counted alone because the bus was away", self._bus.spent_alone_total)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tickcast_{name}", text, value=value)


def _gauge(name: str, text: str, value: Any) -> Metric:  # noqa: ANN401 # bool or number
    return GaugeMetricFamily(f"tickcast_{name}", text, value=float(value))
