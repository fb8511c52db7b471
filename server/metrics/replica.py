"""All that one replica counts by itself, put together from its parts."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.access.gate import Gate
from server.access.operators import Operators
from server.access.quotas import Quotas
from server.delivery import Delivery
from server.doors.binance_rest import BinanceRestDoor
from server.doors.binance_ws import BinanceDoor
from server.doors.control_signing import Flaw
from server.doors.json_ws import JsonDoor
from server.doors.socketio import SocketIODoor
from server.drain import Drain
from server.history.klines import History
from server.hub import Hub
from server.liveness import Liveness
from server.metrics.access import access_figures, quota_figures
from server.metrics.fan_out import fan_out_figures
from server.metrics.feed import arbitration_figures, feed_figures, resume_figures
from server.metrics.requests import history_figures, replay_figures, rest_door_figures
from server.replay.replays import Replays
from server.rest_cache import RestCache
from telemetry.families import counter, gauge, labelled_counters, labelled_gauges


class ReplicaMetrics:
    """Everything that a replica alone counts; what it has in common with ingestors is telemetry/'s."""

    def __init__(
        self,
        hub: Hub,
        delivery: Delivery,
        liveness: Liveness,
        *,
        door: SocketIODoor,
        json_door: JsonDoor,
        binance_door: BinanceDoor,
        binance_rest: BinanceRestDoor,
        cache: RestCache,
        history: History,
        replays: Replays,
        drain: Drain,
        gate: Gate,
        operators: Operators,
        quotas: Quotas,
    ) -> None:
        self._hub = hub
        self._delivery = delivery
        self._liveness = liveness
        self._door = door
        self._json_door = json_door
        self._binance_door = binance_door
        self._binance_rest = binance_rest
        self._cache = cache
        self._history = history
        self._replays = replays
        self._drain = drain
        self._gate = gate
        self._operators = operators
        self._quotas = quotas

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        is_ready = self._liveness.hears_the_bus and not self._drain.is_draining
        yield gauge("ready", "1 while /health/ready answers 200", is_ready)
        yield from self._clients()
        yield from fan_out_figures(self._hub, self._delivery)
        yield from self._delivery.journeys.collect()
        yield from arbitration_figures(self._hub)
        yield from resume_figures(self._hub)
        yield from feed_figures(self._liveness)
        yield gauge("draining", "1 while the replica takes leave of its clients", self._drain.is_draining)
        yield counter("drained_clients", "Clients closed because the replica ends", self._drain.dismissed_total)
        yield from access_figures(self._gate, self._operators)
        yield from quota_figures(self._quotas, self._delivery)
        yield from self._control_plane()
        yield from history_figures(self._history)
        yield from rest_door_figures(self._binance_rest, self._cache)
        yield from replay_figures(self._replays)

    def _clients(self) -> Iterator[Metric]:
        """Who is connected, and what was refused."""
        doors: dict[str, SocketIODoor | JsonDoor | BinanceDoor] = {
            "socketio": self._door,
            "json": self._json_door,
            "binance": self._binance_door,
        }
        transports = self._door.connections_by_transport().items()
        yield labelled_gauges(
            "connections",
            "Clients connected now",
            ["door", "transport"],
            [
                *((("socketio", transport), count) for transport, count in transports),
                (("json", "websocket"), self._json_door.connections),
                (("binance", "websocket"), self._binance_door.connections),
            ],
        )
        yield labelled_counters(
            "connections_opened",
            "Clients that connected",
            ["door"],
            (((name,), door.opened_total) for name, door in doors.items()),
        )
        yield labelled_counters(
            "refused_events",
            "Events and messages of clients answered with an error",
            ["door"],
            (((name,), door.refused_total) for name, door in doors.items()),
        )

    def _control_plane(self) -> Iterator[Metric]:
        """What other processes ask of this replica's clients."""
        manager = self._door.server.manager
        dropped = "Requests of the Socket.IO control plane past the limit, or without a server"
        yield counter("control_requests_dropped", dropped, manager.dropped_total)
        yield labelled_counters(
            "control_requests_refused",
            "Requests of the Socket.IO control plane that were not obeyed",
            ["reason"],
            [((flaw.value,), manager.refused[flaw]) for flaw in Flaw],
        )
