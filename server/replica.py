"""One replica: its parts wired together, started and stopped in order."""

import asyncio

import structlog
from aiohttp import web

from binance.rest import RestClient
from bus.base import Bus
from server.access.gate import Gate
from server.access.quotas import Quotas
from server.addresses import ProxyPolicy, origin_policy
from server.catalogs import Catalogs
from server.delivery import Delivery
from server.doors import documents, page
from server.doors.binance_rest import BinanceRestDoor
from server.doors.binance_ws import BinanceDoor
from server.doors.cross_origin import cross_origin
from server.doors.json_ws import JsonDoor
from server.doors.replay_rest import ReplayRestDoor
from server.doors.rest import Identity, RestDoor
from server.doors.rest_guard import rest_guard
from server.doors.socketio import SocketIODoor
from server.history import History
from server.http_server import Patience, PatientRunner
from server.hub import Hub
from server.liveness import Liveness
from server.metrics import ReplicaMetrics
from server.recordings import Recordings
from server.replays import Replays
from server.rest_cache import RestCache
from server.settings import ReplicaSettings
from server.venues import Venues, open_bybit

SHUTDOWN_S = 5.0

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
        self._hub = Hub(bus, settings.name, self._delivery, always=settings.default_tickers)
        self._catalogs = Catalogs(venues, self._hub.follow)
        self._history = History(venues, bus)
        self._cache = RestCache(self._rest)
        self._is_allowed_origin = is_allowed_origin = origin_policy(settings.cors_origins)
        self._proxies = ProxyPolicy(settings.trusted_proxies)
        gate = Gate(self._proxies)
        self._quotas = quotas = Quotas(settings, bus, settings.name)
        self._binance = BinanceDoor(
            self._hub, self._catalogs, self._delivery, is_allowed_origin=is_allowed_origin, gate=gate, quotas=quotas
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
            update_interval_ms=settings.update_interval,
            bus=bus,
            bus_url=settings.resolved_bus_url,
            is_allowed_origin=is_allowed_origin,
            gate=gate,
            quotas=quotas,
        )
        self._liveness = Liveness(bus, settings.name, settings.source, self._door.set_status)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen and serve; the port. Serves also while bus and exchange are away."""
        patience = Patience(self._quotas, self._proxies)
        runner = self._runner = PatientRunner(self._app(), patience, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        site = web.TCPSite(runner, self._settings.host, self._settings.port, backlog=4096)
        self._catalogs.start()
        self._liveness.start()
        self._quotas.start()
        self._door.start()
        await self._hub.start()
        await site.start()
        port: int = runner.addresses[0][1]
        log.info("replica serves", replica=self._settings.name, port=port, source=self._settings.source)
        return port

    async def close(self) -> None:
        """Close all clients and stop; the bus stays open for whoever handed it in."""
        await asyncio.gather(self._door.close(), self._json.close(), self._binance.close())
        self._delivery.close()
        await self._hub.close()
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

    def _app(self) -> web.Application:
        settings = self._settings
        proxies = self._proxies
        app = web.Application(middlewares=[cross_origin(self._is_allowed_origin), rest_guard(proxies, self._quotas)])
        binance_rest = BinanceRestDoor(self._cache, self._history, self._catalogs, proxies)
        identity = Identity(settings.name, settings.port, settings.source, settings.default_symbols)
        metrics = ReplicaMetrics(
            self._hub,
            self._bus,
            self._delivery,
            self._liveness,
            door=self._door,
            json_door=self._json,
            binance_door=self._binance,
            binance_rest=binance_rest,
            cache=self._cache,
            rest=self._rest,
            history=self._history,
            replays=self._replays,
            quotas=self._quotas,
        )
        RestDoor(
            hub=self._hub,
            bus=self._bus,
            catalogs=self._catalogs,
            liveness=self._liveness,
            metrics=metrics,
            rest=self._rest,
            history=self._history,
            identity=identity,
        ).attach(app)
        ReplayRestDoor(self._replays.recordings).attach(app)
        self._door.attach(app)
        self._binance.attach(app)
        binance_rest.attach(app)
        documents.attach(app)
        page.attach(app, self._json.upgrade)
        return app
