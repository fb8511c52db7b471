"""The exchange process: one port for all markets' WebSocket and REST, fed by a simulation or a recording."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import structlog
from aiohttp import web

from binance.budget import Budget, Verdict
from binance.endpoints import DepthQuery, find
from binance.entrances import ENTRANCES, Entrance
from binance.errors import BinanceError
from binance.rest_gate import TIME_UNIT, Answer, Asked, RestGate, answer, limited, refusal
from binance.settings import SettingsError
from exchange import rest
from exchange.broadcast import Broadcast, StreamKey
from exchange.bybit_rest import BybitRest
from exchange.bybit_sockets import PATH, BybitSockets
from exchange.bybit_topics import BybitMarket
from exchange.connections import Sockets
from exchange.controls import Controls
from exchange.faults import Door, Faults
from exchange.feed import Feed
from exchange.model import SLOT_MS, Simulation
from exchange.recording import survey
from exchange.replay import Replay
from exchange.settings import ExchangeServerSettings
from exchange.venue import Venue
from market.errors import MarketError
from market.streams import BINANCE_MARKETS, Market, StreamName

_CHECK_S: Final = 0.25
_SHUTDOWN_S: Final = 5.0
_DEPTH_WAIT_S: Final = 5.0
_DEPTH_CHECK_S: Final = 0.005
_LONGEST_TURN_MS: Final = 1_000

OnDemand: TypeAlias = Callable[[StreamKey], None]
"""Told of a stream that is wanted from now on, or no longer."""

_log = structlog.get_logger(__name__)


class Exchange:
    """A stand-in for Binance, and below `/bybit`, while it simulates, for Bybit. `start`, use the port, `close`."""

    def __init__(self, settings: ExchangeServerSettings) -> None:
        self._settings = settings
        self._faults = Faults()
        self._budget = Budget(bans=True)
        self._venue = Venue()
        self._gate = RestGate(self._budget, lambda market, symbol: self._venue.get(market, symbol) is not None)
        self._broadcast = Broadcast(self._faults)
        self._sockets = Sockets(settings, self._broadcast, self._faults)
        self._simulation: Simulation | None = None
        self._bybit: BybitSockets | None = None
        self._replay: Replay | None = None
        self._player: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._controls: Controls | None = None
        self._runner: web.AppRunner | None = None
        self._requests_total = 0

    async def start(self) -> int:
        """Listen and go live; returns the port.

        Raises OSError where the port is taken, SettingsError for a recording that holds nothing.
        """
        await self._open_source()
        self._controls = Controls(
            sockets=self._sockets,
            bybit=self._bybit,
            faults=self._faults,
            budget=self._budget,
            venue=self._venue,
            status=self.status,
            restart=self._play if self._replay is not None else None,
        )
        app = web.Application()
        app.add_routes(self._controls.routes() + self._socket_routes())
        if self._bybit is not None:
            app.add_routes([web.get(PATH, self._bybit.serve), *BybitRest(self._venue).routes()])
        app.router.add_route("*", r"/{api:(?:spot/)?api/.*|(?:futures/)?fapi/.*}", self._on_rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        self._play()
        self._keeper = asyncio.create_task(_guarded(self._keep_rules, "connection rules"))
        _log.info("exchange is open", port=port, exchange=self._settings.exchange)
        return port

    async def close(self) -> None:
        """Stop the market, close all connections and the port."""
        if self._controls is not None:
            await self._controls.close()
        tasks = [task for task in (self._player, self._keeper) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sockets.close()
        if self._bybit is not None:
            await self._bybit.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def status(self) -> dict[str, Any]:
        """Mode, connections, subscriptions and counters, as `/control/status` shows them."""
        by_market = {str(market): 0 for market in BINANCE_MARKETS}
        for connection in self._sockets.open:
            by_market[connection.market] += 1
        status: dict[str, Any] = {
            "mode": self._settings.source,
            "now": self._venue.now_ms,
            "symbols": len(self._venue.instruments),
            "connections": by_market,
            "streams": sorted(f"{market}:{name}" for market, name in self._broadcast.streams),
            "subscriptions": self._broadcast.subscriptions,
            "connections_total": self._sockets.opened_total,
            "connections_refused_total": self._sockets.refused_total,
            "client_messages_total": self._sockets.messages_total,
            "rate_closed_total": self._sockets.rate_closed_total,
            "busiest_second": {str(market): most for market, most in self._sockets.busiest_second.items()},
            "published_total": self._broadcast.published_total,
            "suppressed_total": self._faults.suppressed_total,
            "requests_total": self._requests_total,
        }
        if self._bybit is not None:
            status["bybit"] = self._bybit.status()
        if self._replay is not None:
            status["replay_rounds_total"] = self._replay.rounds_total
            status["replay_messages_total"] = self._replay.messages_total
            status["replay_not_understood_total"] = self._replay.not_understood_total
        return status

    async def _open_source(self) -> None:
        settings, path = self._settings, self._settings.recording
        if path is None:
            feed = Feed(self._venue, self._broadcast.publish)
            self._simulation = Simulation(
                self._venue,
                feed,
                symbols=settings.sim_symbols,
                seed=settings.sim_seed,
                trades_per_second=settings.sim_trades_per_second,
                start_ms=time.time_ns() // 1_000_000,
            )
            bybit = BybitMarket(self._venue, feed, self._broadcast.publish)
            self._bybit = BybitSockets(self._broadcast, self._faults, bybit)
            self._broadcast.on_demand(_demand(feed.want, bybit.want), _demand(feed.unwant, bybit.unwant))
        else:
            contents = await asyncio.to_thread(survey, path)
            if not contents.messages:
                raise SettingsError(f"EXCHANGE names a file that holds no recorded message: {path}")
            replay = self._replay = Replay(path, contents, self._venue, self._broadcast, self._sockets)
            self._broadcast.on_demand(_demand(replay.want), _demand(replay.unwant))

    def _play(self) -> None:
        """Bring the market to life, a recording from its beginning."""
        if self._player is not None:
            self._player.cancel()
        if self._replay is not None:
            replay, settings = self._replay, self._settings
            play = _guarded(lambda: replay.play(speed=settings.replay_speed, loop=settings.replay_loop), "replay")
            self._player = asyncio.create_task(play)
        elif self._simulation is not None:
            self._player = asyncio.create_task(_guarded(self._simulate, "simulation"))

    async def _simulate(self) -> None:
        """Let simulated time follow the clock, whatever the clock of the wall does meanwhile."""
        simulation = self._simulation
        if simulation is None:
            return
        offset_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
        while True:
            now_ms = time.monotonic_ns() // 1_000_000 + offset_ms
            # After a long stop the time missed is lived through in turns, so that queues stay short.
            simulation.advance(min(now_ms, simulation.now_ms + _LONGEST_TURN_MS))
            self._broadcast.flush()
            is_behind = simulation.now_ms + SLOT_MS <= now_ms
            await asyncio.sleep(0 if is_behind else (SLOT_MS - now_ms % SLOT_MS) / 1_000)

    async def _keep_rules(self) -> None:
        shortest = min(self._settings.spot_ping_s, self._settings.futures_ping_s, self._settings.exchange_lifetime_s)
        while True:
            self._sockets.check()
            await asyncio.sleep(min(_CHECK_S, shortest / 4))

    def _socket_routes(self) -> list[web.RouteDef]:
        routes = []
        for entrance in ENTRANCES:
            routes.append(web.get(entrance.path, self._on_socket(entrance)))
            if not entrance.combined:
                routes.append(web.get(f"{entrance.path}/{{names:.*}}", self._on_socket(entrance)))
        return routes

    def _on_socket(self, entrance: Entrance) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await self._sockets.serve(request, entrance)
            except BinanceError as error:
                return _response(refusal(error, used=0))

        return handle

    async def _on_rest(self, request: web.Request) -> web.Response:
        self._requests_total += 1
        return _response(self._refuse_on_purpose(request) or await self._answer(request))

    async def _answer(self, request: web.Request) -> Answer:
        asked = Asked(
            request.method,
            request.path,
            list(request.query.items()),
            request.remote or "",
            request.headers.get(TIME_UNIT, ""),
        )
        admitted = self._gate.admit(asked)
        if isinstance(admitted, Answer):
            return admitted
        endpoint, query = admitted.endpoint, admitted.query
        recorded = await self._recorded_depth(endpoint.market, query) if isinstance(query, DepthQuery) else None
        return answer(recorded or rest.answer(self._venue, endpoint.market, endpoint.name, query), admitted.used)

    async def _recorded_depth(self, market: Market, query: DepthQuery) -> bytes | None:
        """The recorded answer for a request that comes before it in the recording, as soon as that comes to it."""
        deadline = time.monotonic() + _DEPTH_WAIT_S
        recorded = None
        while (one := self._venue.get(market, query.symbol)) and one.awaits_book and time.monotonic() < deadline:
            await asyncio.sleep(_DEPTH_CHECK_S)
            recorded = one.recorded_depth
        return recorded

    def _refuse_on_purpose(self, request: web.Request) -> Answer | None:
        """The refusal that a test has asked for, if one is due."""
        endpoint = find(request.path)
        fault = self._faults.refusal(Door.REST, time.monotonic()) if endpoint is not None else None
        if endpoint is None or fault is None:
            return None
        used = self._budget.used(endpoint.market, request.remote or "", time.time())
        return limited(endpoint.market, Verdict(used, fault.status, fault.retry_after_s))


def _response(answered: Answer) -> web.Response:
    return web.Response(
        status=answered.status, body=answered.body, headers=answered.headers, content_type="application/json"
    )


def _demand(act: Callable[[StreamName], None], of_bybit: Callable[[str], None] | None = None) -> OnDemand:
    """Tell the source of a stream; what has no name of ours is acknowledged and stays silent."""

    def tell(key: StreamKey) -> None:
        market, name = key
        if market is Market.BYBIT:
            if of_bybit is not None:
                of_bybit(name)
            return
        try:
            stream = StreamName.parse(name, market)
        except MarketError:
            return
        act(stream)

    return tell


async def _guarded(work: Callable[[], Awaitable[None]], what: str) -> None:
    """Nobody awaits these tasks while they run: an error must be seen when it happens."""
    try:
        await work()
    except Exception:
        _log.exception("exchange task failed", task=what)
        raise
