"""One replica: its parts wired together, started and stopped in order."""

import asyncio
import contextlib
from typing import Final

import structlog
from aiohttp import web

from binance.rest import RestClient
from bus.base import Bus
from server.access.admin_login import AdminLogin
from server.access.authenticator import open_authenticator
from server.access.gate import Gate
from server.access.operators import Operators
from server.access.passwords import PasswordHash
from server.access.quotas import Quotas
from server.addresses import ProxyPolicy, origin_policy
from server.catalogs import Catalogs
from server.cluster.figures import FiguresExchange, OwnFigures
from server.delivery import Delivery
from server.doors import documents, page
from server.doors.admin import AdminDoor
from server.doors.binance_rest import BinanceRestDoor
from server.doors.binance_ws import BinanceDoor
from server.doors.client_time import ClientTime
from server.doors.cluster import ClusterDoor
from server.doors.control_start import control_spec
from server.doors.cross_origin import cross_origin
from server.doors.json_ws import JsonDoor
from server.doors.replay_rest import ReplayRestDoor
from server.doors.rest import Identity, RestDoor
from server.doors.rest_access import rest_access
from server.doors.rest_guard import rest_guard
from server.doors.socketio import SocketIODoor
from server.drain import Drain
from server.history.klines import History
from server.hub import Hub
from server.liveness import Liveness
from server.metrics.cluster import ClusterFigures
from server.metrics.replica import ReplicaMetrics
from server.replay.recordings import Recordings
from server.replay.replays import Replays
from server.rest_cache import RestCache
from server.settings import ReplicaSettings
from server.traces import CommandTraces, MessageTraces
from server.transport.server import Patience, PatientRunner
from server.venues import Venues, open_bybit
from telemetry.exposition import Exposition
from telemetry.loop_lag import LoopLag
from telemetry.shared_parts import BusFigures, RestFigures
from telemetry.tracing import Tracing

SHUTDOWN_S = 5.0
BUS_WAIT_S: Final = 2.0
"""How long clients are kept waiting at the start for a bus that is not connected yet, in s."""

_LOOK_S: Final = 0.01

log = structlog.get_logger(__name__)


class Replica:
    """Bus -> clients. The bus is handed in: `make run` shares a process with the ingestor."""

    def __init__(self, settings: ReplicaSettings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._rest = RestClient(settings.endpoints, ledger=bus)
        self._bybit = open_bybit(settings)
        venues = Venues(self._rest, self._bybit) if self._bybit is not None else Venues(self._rest)
        self._delivery = Delivery(
            settings.flush_interval_ms,
            buffer_bytes=settings.client_buffer_bytes,
            lag_limit_s=settings.slow_consumer_s,
            message_limit_s=settings.request_timeout_s,
        )
        self._drain = Drain(settings.name, settings.drain_seconds)
        self._hub = Hub(bus, settings.name, self._delivery, always=settings.default_tickers)
        self._catalogs = Catalogs(venues, self._hub.follow)
        self._history = History(venues, bus)
        self._cache = RestCache(self._rest)
        self._is_allowed_origin = is_allowed_origin = origin_policy(settings.cors_origins)
        self._proxies = ProxyPolicy(settings.trusted_proxies)
        gate = self._gate = Gate(self._proxies, open_authenticator(settings))
        self._operators = Operators(settings.operators, self._proxies, gate)
        self._tracing = Tracing(settings.trace_sample, settings.name) if settings.trace_sample else None
        self._traces = CommandTraces(self._tracing)
        if self._tracing:
            self._delivery.journeys.observer = MessageTraces(self._tracing)
        self._quotas = quotas = Quotas(settings, bus, settings.name)
        self._binance = BinanceDoor(
            self._hub,
            self._catalogs,
            self._delivery,
            is_allowed_origin=is_allowed_origin,
            gate=gate,
            traces=self._traces,
            quotas=quotas,
        )
        self._replays = Replays(Recordings(settings.recordings))
        self._json = JsonDoor(
            self._hub,
            self._catalogs,
            self._history,
            self._delivery,
            replays=self._replays,
            is_allowed_origin=is_allowed_origin,
            gate=gate,
            traces=self._traces,
            quotas=quotas,
        )
        self._door = SocketIODoor(
            self._hub,
            self._catalogs,
            self._history,
            self._delivery,
            replays=self._replays,
            replica=settings.name,
            source=settings.source,
            clock=ClientTime(self._delivery.journeys, lambda: self._liveness.feeds),
            update_interval_ms=settings.update_interval,
            bus=bus,
            control=control_spec(settings),
            is_allowed_origin=is_allowed_origin,
            gate=gate,
            traces=self._traces,
            quotas=quotas,
        )
        self._liveness = Liveness(bus, settings.name, settings.source, self._door.set_status)
        self._own_figures = OwnFigures(
            replica=settings.name,
            source=settings.source,
            hub=self._hub,
            bus=bus,
            delivery=self._delivery,
            liveness=self._liveness,
            connections=self._connections,
            opened_total=lambda: self._door.opened_total,
            refused=self._refused,
            drain=self._drain,
        )
        self._figures = FiguresExchange(bus, self._liveness, self._own_figures)
        self._admin = self._open_admin() if settings.admin_user else None
        self.exposition = Exposition("replica")
        """What `/metrics` shows."""
        self._loop_lag = LoopLag(self._delivery.journeys.sampler.hasten)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen and serve; the port. Serves also while bus and exchange are away, for which it waits BUS_WAIT_S.

        Raises SettingsError.
        """
        await self._gate.start()
        patience = Patience(self._quotas, self._proxies)
        runner = self._runner = PatientRunner(self._app(), patience, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        site = web.TCPSite(runner, self._settings.host, self._settings.port, backlog=4096)
        self._catalogs.start()
        self._liveness.start()
        self._figures.start()
        self._quotas.start()
        self._door.start()
        self._loop_lag.start()
        await self._hub.start()
        await self._await_bus()
        await site.start()
        port: int = runner.addresses[0][1]
        log.info("replica serves", replica=self._settings.name, port=port, source=self._settings.source)
        return port

    async def drain(self) -> None:
        """Take no new clients, and send those that are here elsewhere over `DRAIN_SECONDS`; `close` ends the rest."""
        await self._drain.run([*self._door.drain(), *self._json.drain(), *self._binance.drain()])

    async def close(self) -> None:
        """Close all clients and stop; the bus stays open for whoever handed it in."""
        await asyncio.gather(self._door.close(), self._json.close(), self._binance.close())
        if self._admin is not None:
            await self._admin.close()
        await self._gate.close()
        self._delivery.close()
        await self._hub.close()
        await self._figures.close()
        self._loop_lag.close()
        await self._liveness.close()
        await self._quotas.close()
        await self._catalogs.close()
        if self._runner:
            await self._runner.cleanup()
        await self._replays.close()
        await self._history.close()
        await self._cache.close()
        await self._rest.close()
        if self._bybit is not None:
            await self._bybit.close()
        if self._tracing:
            await self._tracing.close()

    def _open_admin(self) -> AdminDoor:
        settings = self._settings
        login = AdminLogin(settings.admin_user, PasswordHash.parse(settings.admin_password_hash))
        return AdminDoor(
            self._door.server, self._door.connections, self._figures, login, read_only=settings.admin_read_only
        )

    def _connections(self) -> dict[str, dict[str, int]]:
        """How many clients are connected now, by door and transport."""
        return {
            "socketio": self._door.connections_by_transport(),
            "json": {"websocket": self._json.connections},
            "binance": {"websocket": self._binance.connections},
        }

    def _refused(self) -> dict[str, int]:
        """What clients were refused, by the limit it met, and credentials; what never was is left out."""
        counts = {str(reason): count for reason, count in self._quotas.refused.items()}
        counts["credentials"] = sum(self._gate.refused.values())
        return {reason: count for reason, count in counts.items() if count}

    async def _await_bus(self) -> None:
        """Wait for the bus, but not for long.

        Clients of a replica that was restarted are back the moment it listens, and what they missed comes over the bus.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUS_WAIT_S):
                while not self._bus.connected:  # noqa: ASYNC110 # each bus has its own way of connecting
                    await asyncio.sleep(_LOOK_S)

    def _app(self) -> web.Application:
        settings = self._settings
        proxies = self._proxies
        traced = [self._traces.middleware] if self._traces.is_on else []
        app = web.Application(
            middlewares=[
                cross_origin(self._is_allowed_origin),
                rest_guard(proxies, self._quotas),
                rest_access(self._gate),
                *traced,
            ]
        )
        binance_rest = BinanceRestDoor(self._cache, self._history, self._catalogs, proxies, gate=self._gate)
        identity = Identity(settings.name, settings.port, settings.source, settings.default_symbols)
        metrics = ReplicaMetrics(
            self._hub,
            self._delivery,
            self._liveness,
            door=self._door,
            json_door=self._json,
            binance_door=self._binance,
            binance_rest=binance_rest,
            cache=self._cache,
            history=self._history,
            replays=self._replays,
            drain=self._drain,
            gate=self._gate,
            operators=self._operators,
            quotas=self._quotas,
        )
        cluster = ClusterFigures(self._figures, self._admin)
        for figures in (metrics, BusFigures(self._bus), RestFigures(self._rest), self._loop_lag, cluster):
            self.exposition.add(figures)
        RestDoor(
            hub=self._hub,
            bus=self._bus,
            catalogs=self._catalogs,
            liveness=self._liveness,
            metrics=self.exposition,
            rest=self._rest,
            history=self._history,
            identity=identity,
            drain=self._drain,
            operators=self._operators,
        ).attach(app)
        ClusterDoor(settings.name, self._figures, self._operators.check).attach(app)
        ReplayRestDoor(self._replays.recordings).attach(app)
        self._door.attach(app)
        self._binance.attach(app)
        binance_rest.attach(app)
        documents.attach(app)
        page.attach(app, self._json.upgrade)
        return app
