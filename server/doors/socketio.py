"""The Socket.IO door at `/socket.io/`: events of documents 002 and 003, and the full protocol.

Shapes: docs/protocol.md. Source: seed documents 002 and 003; Socket.IO protocol 5.
"""

import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from aiohttp import web

from bus.base import Bus
from market.announcements import Source
from market.errors import Code, MarketError
from market.streams import StreamName
from market.venue import RestError
from server.access.gate import Gate
from server.access.quotas import Quotas
from server.addresses import OriginPolicy
from server.catalogs import Catalogs
from server.channels import Channel
from server.connections import MAX_STREAMS
from server.delivery import Delivery
from server.doors.client_events import Answer, ClientEvent, Reply
from server.doors.client_time import ClientTime
from server.doors.control_plane import ControlSpec
from server.doors.leaving import Farewells
from server.doors.renewal import renewed
from server.doors.replayed import SocketIOListener, replay_head
from server.doors.rooms import open_manager
from server.doors.session import EngineSocket
from server.doors.socket_server import MAIN, SocketServer
from server.doors.socketio_connection import SocketIOConnection
from server.doors.socketio_requests import Form, Rejection, Request, parse_request
from server.drain import Leaver
from server.every import every_of, is_every
from server.first_sight import FirstSight, Newcomer
from server.frames import Batch, Frame
from server.groups import Pace
from server.history.klines import History
from server.history.requests import check_covered, check_symbol, parse_kline_query
from server.hub import Hub
from server.refusals import Refusal, refusal_of
from server.replay.reader import Selection
from server.replay.replays import Plan, Replays
from server.replay.requests import parse_replay_wish, parse_stop
from server.traces import CommandTraces

PING_INTERVAL_S: Final = 25.0
PING_TIMEOUT_S: Final = 60.0
MAX_MESSAGE_BYTES: Final = 1_000_000
"""Document 003's maxHttpBufferSize."""
_ANSWERS: Final[dict[object, tuple[str, str]]] = {
    "subscribe": ("subscribed", "Subscribed to"),
    "unsubscribe": ("unsubscribed", "Unsubscribed from"),
}

log = structlog.get_logger(__name__)


Handler: TypeAlias = Callable[[SocketIOConnection, ClientEvent], Answer]


class SocketIODoor:
    """The Socket.IO server of one replica."""

    def __init__(
        self,
        hub: Hub,
        catalogs: Catalogs,
        history: History,
        delivery: Delivery,
        *,
        replays: Replays,
        replica: str,
        source: Source,
        clock: ClientTime,
        update_interval_ms: int,
        bus: Bus,
        control: ControlSpec,
        is_allowed_origin: OriginPolicy,
        gate: Gate,
        traces: CommandTraces,
        quotas: Quotas,
    ) -> None:
        self._traces = traces
        self._hub = hub
        self._catalogs = catalogs
        self._history = history
        self._replays = replays
        self._gate = gate
        self._replica = replica
        self._source = source
        self._ticks = Pace(update_interval_ms, repeat=True)
        self._connections: dict[str, SocketIOConnection] = {}
        self._status: dict[str, object] = {}
        self._farewells = Farewells(self._connection_of)
        self.opened_total = 0
        """Clients that connected."""
        self.refused_total = 0
        self.server = SocketServer(
            delivery,
            gate=gate,
            quotas=quotas,
            on_connected=self._on_connected,
            on_event=self._on_event,
            client_manager=open_manager(bus, control, self._stream_members),
            cors_allowed_origins=is_allowed_origin,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
        )
        self.server.on("disconnect", self._on_disconnect)
        self._handlers: dict[str, Handler] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "subscriptions": self._subscriptions,
            "authenticate": self._authenticate,
            "getReplay": self._get_replay,
            "stopReplay": self._stop_replay,
            "time": lambda _connection, _event: Reply(clock.answer()),
        }

    def attach(self, app: web.Application) -> None:
        """Serve `/socket.io/` in `app`."""
        self.server.attach(app)

    def start(self) -> None:
        """Begin to listen to the control plane, which the stock server does at its first client."""
        self.server.manager_initialized = True
        self.server.manager.initialize()

    def drain(self) -> list[Leaver]:
        """Take no new clients; those that have to leave."""
        self.server.eio.refuse_new()
        return self._farewells.leavers(list(self.server.eio.sockets.values()))

    async def close(self) -> None:
        """Close all clients."""
        await self.server.close()

    @property
    def connections(self) -> Mapping[str, SocketIOConnection]:
        """The clients of the main namespace, by sid."""
        return self._connections

    def connections_by_transport(self) -> dict[str, int]:
        """How many clients use each transport now."""
        counts = {"websocket": 0, "polling": 0}
        for connection in self._connections.values():
            counts[connection.session.transport] += 1
        return counts

    def set_status(self, exchange: str, source: Source) -> None:
        """Tell all clients how the exchange's feed stands (`connected`, `disconnected`), if that is news."""
        self._source = source
        status: dict[str, object] = {"exchange": exchange, "source": source, "replica": self._replica}
        if status != self._status:
            self._status = status
            for connection in self._connections.values():
                connection.emit("status", status)

    def _on_connected(self, session: EngineSocket, sid: str) -> None:
        self.opened_total += 1
        connection = self._connections[sid] = SocketIOConnection(self.server, session, sid)
        self._gate.watch(connection)
        greeting = {"message": "Connected to WebSocket Streaming Service", "client_id": sid}
        connection.emit("connected", greeting | {"replica": self._replica, "source": self._source})
        if self._status:
            connection.emit("status", self._status)
        self._farewells.greet(connection)

    def _connection_of(self, session: EngineSocket) -> SocketIOConnection | None:
        sid = self.server.manager.sid_from_eio_sid(session.sid, MAIN)
        return self._connections.get(sid) if sid else None

    def _on_disconnect(self, sid: str, _reason: str) -> None:
        connection = self._connections.pop(sid, None)
        if connection:
            self._gate.forget(connection)
            self._hub.drop(connection)
            self._replays.drop(connection)

    def _stream_members(self, room: str) -> list[str]:
        """Who is in the room of a stream, of document 002's symbol or 003's asset: the hub's members."""
        found = {}
        for form in Form:
            stream = form.stream_of(room)
            if stream is not None:
                for binary in (False, True):
                    found.update(dict.fromkeys(self._hub.members(stream, form.encoding(binary=binary))))
        return [connection.sid for connection in found if isinstance(connection, SocketIOConnection)]

    def _on_event(self, event: ClientEvent) -> Answer:
        """Handle one event; a refusal goes into the acknowledgement, or into an `error` event without one."""
        connection = self._connections.get(event.sid)
        if connection is None:
            return Reply()
        if event.name == "getHistoricalKlines":
            return Reply(later=self._wait(self._historical_klines(connection, event), connection, event))
        handler = self._handlers.get(event.name, _refuse) if isinstance(event.name, str) else _refuse
        began_ns = time.time_ns() if self._traces.is_on else 0
        try:
            answer = handler(connection, event)
        except Exception as error:  # noqa: BLE001 # answered and logged there
            return self._refusal(connection, event, error)
        if not isinstance(answer, Reply):
            return self._wait(answer, connection, event)
        if began_ns:
            self._traces.note(event.name, "socketio", event.sid, began_ns)
        return answer

    async def _wait(
        self, answer: Coroutine[Any, Any, Reply], connection: SocketIOConnection, event: ClientEvent
    ) -> Reply:
        try:
            return await self._traces.follow(str(event.name), "socketio", event.sid, answer)
        except Exception as error:  # noqa: BLE001 # answered and logged there
            return self._refusal(connection, event, error)

    def _refusal(self, connection: SocketIOConnection, event: ClientEvent, error: Exception) -> Reply:
        if isinstance(error, MarketError | RestError):
            refusal = refusal_of(error)
        else:
            log.error("event handler failed", event_name=str(event.name)[:40], client=event.sid, exc_info=error)
            refusal = Refusal(Code.INTERNAL, "Something went wrong here; it was logged")
        self.refused_total += 1
        if event.wants_ack:
            return Reply({"ok": False, **refusal.body})
        connection.emit("error", refusal.body)
        return Reply()

    def _subscribe(self, connection: SocketIOConnection, event: ClientEvent) -> Answer:
        check = connection.visitor.grant.guarding(self._catalogs.check)
        request = parse_request(event.data, check, connection.visitor.grant.max_streams)
        wanted = {(item.stream, connection.encoding(request.form)) for item in request.items}
        connection.session.stay.hold(len(connection.groups.keys() | wanted))
        if not request.since and self._hub.is_ready(item.stream for item in request.items):
            return self._join(connection, request, event)
        return self._prepare_and_join(connection, request, event)

    async def _prepare_and_join(self, connection: SocketIOConnection, request: Request, event: ClientEvent) -> Reply:
        streams = [item.stream for item in request.items]
        try:
            await self._hub.prepare(streams)
        except MarketError:
            connection.session.stay.settle(len(connection.groups))
            raise
        try:
            await self._hub.backfill(request.since)
            if connection.sid not in self._connections:
                return Reply()  # left while we prepared
            # From here to the acknowledgement nothing may suspend: see server/hub.py.
            return self._join(connection, request, event)
        finally:
            self._hub.release(streams)

    def _join(self, connection: SocketIOConnection, request: Request, event: ClientEvent) -> Reply:
        """Join all streams; what is shown first goes out right behind the answer, in whichever form that comes."""
        encoding = connection.encoding(request.form)
        has_snapshots = event.wants_ack and request.form is Form.FULL
        named = {(item.stream, encoding) for item in request.items}
        newcomer = Newcomer(connection, request.since, snapshot=request.snapshot, named=named)
        subscribed = []
        resent: list[Frame] = []
        for item in request.items:
            pace = self._ticks if request.form is Form.ASSETS else request.pace if item.stream.is_state else None
            channel = self._hub.channel(item.stream)
            sight = newcomer.first_sight(channel, encoding)
            self._hub.join(connection, item.stream, encoding, pace, shown=sight.shown)
            # The latest values of ALL would make an acknowledgement of hundreds of kilobytes.
            in_entry = has_snapshots and not is_every(item.stream)
            subscribed.append(_subscription(channel, sight, in_entry=in_entry))
            behind = sight.missed if in_entry else [*sight.missed, *sight.snapshots]
            frames = map(connection.groups[item.stream, encoding].encode, behind)
            resent += filter(None, [*frames, channel.notice(encoding)])
        body = {"ok": not request.rejected, "subscribed": subscribed, "rejected": _rejections(request)}
        return Reply(body, _events(request, event), [Batch(resent)] if resent else [])

    def _unsubscribe(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        request = parse_request(event.data, self._catalogs.check, MAX_STREAMS)
        encoding = connection.encoding(request.form)
        left, items, rejected = [], [], [*request.rejected]
        for item in request.items:
            if self._hub.leave(connection, item.stream, encoding):
                left.append(str(item.stream))
            elif error := _held_otherwise(connection, item.stream, request.form):
                rejected.append(Rejection(item.sent, error))
                continue
            items.append(item)
        connection.session.stay.settle(len(connection.groups))
        answered = request._replace(items=items, rejected=rejected)
        body = {"ok": not rejected, "unsubscribed": left, "rejected": _rejections(answered)}
        return Reply(body, _events(answered, event))

    def _subscriptions(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        names = sorted({str(stream) for stream, _ in connection.groups})
        if not event.wants_ack:
            connection.emit("subscriptions", {"streams": names})
        return Reply({"ok": True, "streams": names})

    async def _authenticate(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        """Let another token take the place of the one that the client came with."""
        shown, before = event.data, connection.visitor.grant
        await self._gate.renew(connection, shown.get("token") if isinstance(shown, dict) else None)
        if connection.sid not in self._connections:
            return Reply()  # left while the token's key was looked for
        self._gate.watch(connection)
        body = renewed(connection, before, self._hub, self._replays)
        if not event.wants_ack:
            connection.emit("authenticated", body)
        return Reply({"ok": True, **body})

    async def _historical_klines(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        query = parse_kline_query(event.data)
        check_covered(query, connection.visitor.grant)
        check_symbol(query, self._catalogs)
        with self._history.turn(connection):
            rows = await self._history.klines(query)
        head = {"symbol": query.symbol, "market": query.market.value, "interval": query.interval}
        body = {**head, "klines": msgspec.Raw(rows)}
        if not event.wants_ack:
            connection.emit("historicalKlines", body)
        return Reply({"ok": True, **body})

    async def _get_replay(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        """Begin a replay: its messages follow the acknowledgement, or `replayStart` without one."""
        wish = parse_replay_wish(event.data)
        # Its symbols may trade no more: the catalog is not asked.
        request = parse_request(event.data, connection.visitor.grant.check, MAX_STREAMS)
        if not request.items:
            raise request.rejected[0].error if request.rejected else MarketError(Code.BAD_REQUEST, "No streams named")
        recording = await self._replays.recordings.find(wish.recording)
        if connection.sid not in self._connections:
            return Reply()  # left while we looked
        streams = frozenset(item.stream for item in request.items)
        plan = Plan(recording, Selection(streams, wish.start_ms, wish.end_ms), wish.speed)
        live = request.form.encoding(binary=False)
        session, emit = connection.session, connection.emit
        replay_id = self._replays.start(connection, plan, partial(SocketIOListener, session, emit, live))
        head = replay_head(replay_id, plan)
        body = {**head, "streams": sorted(map(str, streams)), "rejected": _rejections(request)}
        if not event.wants_ack:
            connection.emit("replayStart", body)
        return Reply({"ok": True, **body})

    def _stop_replay(self, connection: SocketIOConnection, event: ClientEvent) -> Reply:
        replay_id = parse_stop(event.data)
        self._replays.stop(connection, replay_id)
        return Reply({"ok": True, "id": replay_id})


def _events(request: Request, event: ClientEvent) -> list[tuple[str, object]]:
    """The answer in events: `error` for what was rejected and not acknowledged, 002's `subscribed` always."""
    events: list[tuple[str, object]] = []
    if not event.wants_ack:
        key = "stream" if request.form is Form.FULL else "symbol"
        events += [("error", rejection.body(key)) for rejection in request.rejected]
    if request.form is Form.PRICES:
        symbols = [item.sent for item in request.items]
        answer, verb = _ANSWERS[event.name]
        events.append((answer, {"symbols": symbols, "message": f"{verb} {len(symbols)} symbols"}))
    return events


def _held_otherwise(connection: SocketIOConnection, stream: StreamName, form: Form) -> MarketError | None:
    """Why a client that does not have `stream` in this form still gets it; None where it does not."""
    if (every_of(stream), connection.encoding(form)) in connection.groups:
        return MarketError(Code.NOT_SUBSCRIBED, "Subscribed to ALL symbols: unsubscribe ALL")
    for other in Form:
        if (stream, connection.encoding(other)) in connection.groups:
            return MarketError(Code.NOT_SUBSCRIBED, f"Subscribed as {other.naming(stream)}: unsubscribe in that form")
    return None


def _refuse(_connection: SocketIOConnection, event: ClientEvent) -> Reply:
    raise MarketError(Code.UNKNOWN_EVENT, f"Unknown event: {str(event.name)[:40]}")


def _subscription(channel: Channel, sight: FirstSight, *, in_entry: bool) -> dict[str, object]:
    """What the acknowledgement says of one stream."""
    last = channel.last
    cursor, ts = (last.cursor, last.received_us // 1000) if last else (None, None)
    entry: dict[str, object] = {"stream": str(channel.stream), "cursor": cursor, "ts": ts}
    entry["snapshot"] = msgspec.Raw(sight.snapshots[0].payload) if in_entry and sight.snapshots else None
    return entry if sight.recovered is None else entry | {"recovered": sight.recovered}


def _rejections(request: Request) -> list[dict[str, str]]:
    return [rejection.body("stream") for rejection in request.rejected]
