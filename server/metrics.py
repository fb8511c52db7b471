"""Prometheus metrics of one replica, read from its parts when somebody asks."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.base import Bus
from server.delivery import Delivery
from server.doors.socketio import SocketIODoor
from server.hub import Hub
from server.liveness import Liveness

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class ReplicaMetrics(Collector):
    """Everything a replica counts, by Prometheus's conventions (base units, `_total`)."""

    def __init__(self, hub: Hub, bus: Bus, delivery: Delivery, door: SocketIODoor, liveness: Liveness) -> None:
        self._hub = hub
        self._bus = bus
        self._delivery = delivery
        self._door = door
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
        yield _counter("refused_events", "Client events answered with an error", self._door.refused_total)
        yield _counter("bus_dropped", "Messages dropped because the bus was away", bus.dropped_total)
        yield _counter("bus_handler_errors", "Bus handlers that raised", bus.handler_errors_total)
        yield _gauge("streams", "Streams that this replica receives", len(hub.streams))
        yield _gauge("bus_connected", "1 while the bus is reachable", bus.connected)
        yield _gauge("exchange_connected", "1 while an ingestor has its feed", self._liveness.exchange == "connected")
        yield _gauge("bus_round_trip_seconds", "Latest canary over the bus", self._liveness.round_trip_us / 1e6)
        connections = GaugeMetricFamily("tickcast_connections", "Connected clients", labels=["door", "transport"])
        for transport, count in self._door.connections_by_transport().items():
            connections.add_metric(["socketio", transport], count)
        yield connections


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tickcast_{name}", text, value=value)


def _gauge(name: str, text: str, value: Any) -> Metric:  # noqa: ANN401 # bool or number
    return GaugeMetricFamily(f"tickcast_{name}", text, value=float(value))
