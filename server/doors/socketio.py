"""The Socket.IO door at `/socket.io/`: events of documents 002 and 003, and the full protocol.

Shapes: docs/protocol.md. Source: seed documents 002 and 003; Socket.IO protocol 5.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import socketio
import structlog
from aiohttp import web

from market.announcements import Source
from market.errors import Code, MarketError
from market.messages import Message
from server.catalogs import Catalogs
from server.connections import Connection
from server.delivery import Delivery
from server.doors.engine import ClientEvent, EngineSocket, SocketServer
from server.doors.socketio_encodings import CRYPTO_UPDATES, event_text
from server.doors.socketio_requests import Form, Item, Request, parse_request
from server.frames import Frame
from server.hub import Hub

PING_INTERVAL_S: Final = 25.0
PING_TIMEOUT_S: Final = 60.0
MAX_MESSAGE_BYTES: Final = 1_000_000
"""Document 003's maxHttpBufferSize."""
MAX_STREAMS: Final = 1024
"""Streams one client may subscribe to, as on a connection to Binance."""
FRESH_US: Final = 10_000_000
"""A 003 tick is sent while its price is at most this old; older prices are not passed off as live."""

_ANSWERS: Final[dict[object, tuple[str, str]]] = {
    "subscribe": ("subscribed", "Subscribed to"),
    "unsubscribe": ("unsubscribed", "Unsubscribed from"),
}

log = structlog.get_logger(__name__)


class SocketIOConnection(Connection):
    """One Socket.IO client of the main namespace, over whichever transport it uses now."""

    def __init__(self, session: EngineSocket, sid: str) -> None:
        super().__init__()
        self.sid = sid
        self._session = session

    @property
    def transport(self) -> str:
        """`websocket` or `polling`."""
        return self._session.transport

    def write(self, frame: Frame) -> None:
        """Send a frame that `socketio_encodings` made."""
        self._session.write(frame)

    def emit(self, event: str, body: object) -> None:
        """Send one event to this client."""
        self.write(Frame(event_text(event, body)))


class SocketIODoor:
    """The Socket.IO server of one replica."""

    def __init__(
        self,
        hub: Hub,
        catalogs: Catalogs,
        delivery: Delivery,
        *,
        replica: str,
        source: Source,
        update_interval_ms: int,
        manager: socketio.AsyncManager,
        is_allowed_origin: Callable[[str, dict[str, Any]], bool],
    ) -> None:
        self._hub = hub
        self._catalogs = catalogs
        self._replica = replica
        self._source = source
        self._interval_s = update_interval_ms / 1000
        self._connections: dict[str, SocketIOConnection] = {}
        self._status: dict[str, object] = {}
        self._ticks: asyncio.Task[None] | None = None
        self.slow_consumers_total = 0
        self.refused_total = 0
        self.server = SocketServer(
            delivery,
            on_connected=self._on_connected,
            on_event=self._on_event,
            on_slow_consumer=self._count_slow_consumer,
            client_manager=manager,
            cors_allowed_origins=is_allowed_origin,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
        )
        self.server.on("disconnect", self._on_disconnect)
        self._handlers = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "subscriptions": self._subscriptions,
        }

    def attach(self, app: web.Application) -> None:
        """Serve `/socket.io/` in `app`."""
        self.server.attach(app)

    def start(self) -> None:
        """Begin to send document 003's ticks and to listen to the control plane."""
        self._ticks = asyncio.get_running_loop().create_task(self._tick())
        if not self.server.manager_initialized:
            self.server.manager_initialized = True
            self.server.manager.initialize()

    async def close(self) -> None:
        """Close all clients."""
        if self._ticks:
            self._ticks.cancel()
            await asyncio.gather(self._ticks, return_exceptions=True)
        await self.server.close()

    def connections_by_transport(self) -> dict[str, int]:
        """How many clients use each transport now."""
        counts = {"websocket": 0, "polling": 0}
        for connection in self._connections.values():
            counts[connection.transport] += 1
        return counts

    def set_status(self, exchange: str, source: Source) -> None:
        """Tell all clients how the exchange's feed stands (`connected`, `disconnected`), if that is news."""
        self._source = source
        status: dict[str, object] = {"exchange": exchange, "source": source, "replica": self._replica}
        if status != self._status:
            self._status = status
            frame = Frame(event_text("status", status))
            for connection in self._connections.values():
                connection.write(frame)

    def _on_connected(self, sid: str) -> None:
        session = self.server.session_of(sid)
        if session is None:
            return
        connection = self._connections[sid] = SocketIOConnection(session, sid)
        greeting = {"message": "Connected to WebSocket Streaming Service", "client_id": sid}
        connection.emit("connected", greeting | {"replica": self._replica, "source": self._source})
        if self._status:
            connection.emit("status", self._status)

    def _on_disconnect(self, sid: str, _reason: str) -> None:
        connection = self._connections.pop(sid, None)
        if connection:
            self._hub.drop(connection)

    def _count_slow_consumer(self) -> None:
        self.slow_consumers_total += 1

    async def _on_event(self, event: ClientEvent) -> object:
        """Handle one event; a refusal goes into the acknowledgement, or into an `error` event without one."""
        connection = self._connections.get(event.sid)
        if connection is None:
            return None
        handler = self._handlers.get(event.name, _refuse) if isinstance(event.name, str) else _refuse
        try:
            return await handler(connection, event)
        except MarketError as error:
            refusal = {"code": error.code.value, "message": error.message}
        except Exception:
            log.exception("event handler failed", event_name=str(event.name)[:40], sid=event.sid)
            refusal = {"code": Code.INTERNAL.value, "message": "Something went wrong here; it was logged"}
        self.refused_total += 1
        if event.wants_ack:
            return {"ok": False, **refusal}
        connection.emit("error", refusal)
        return None

    async def _subscribe(self, connection: SocketIOConnection, event: ClientEvent) -> object:
        request = parse_request(event.data, self._catalogs, MAX_STREAMS)
        wanted = {(item.stream, request.form.encoding) for item in request.items}
        if len(connection.memberships | wanted) > MAX_STREAMS:
            raise MarketError(Code.TOO_MANY_STREAMS, f"At most {MAX_STREAMS} streams a client")
        streams = [item.stream for item in request.items]
        await self._hub.prepare(streams)
        try:
            if connection.sid not in self._connections:
                return None  # left while we prepared
            # From here to the acknowledgement nothing may suspend: see server/hub.py.
            return await self._join(connection, request, event)
        finally:
            self._hub.release(streams)

    async def _join(self, connection: SocketIOConnection, request: Request, event: ClientEvent) -> object:
        encoding = request.form.encoding
        subscribed = []
        for item in request.items:
            last = self._hub.join(connection, item.stream, encoding)
            await self.server.enter_room(connection.sid, item.room)
            snapshot = last if last and request.snapshot and item.stream.is_state else None
            if snapshot and not (event.wants_ack and request.form is Form.FULL):
                connection.write(Frame(encoding.encode(snapshot)))
            subscribed.append(_subscription(item, last, snapshot))
        self._report(connection, request, event)
        return {"ok": not request.rejected, "subscribed": subscribed, "rejected": _rejections(request)}

    async def _unsubscribe(self, connection: SocketIOConnection, event: ClientEvent) -> object:
        request = parse_request(event.data, self._catalogs, MAX_STREAMS)
        unsubscribed = []
        for item in request.items:
            if self._hub.leave(connection, item.stream, request.form.encoding):
                await self.server.leave_room(connection.sid, item.room)
                unsubscribed.append(str(item.stream))
        self._report(connection, request, event)
        return {"ok": not request.rejected, "unsubscribed": unsubscribed, "rejected": _rejections(request)}

    async def _subscriptions(self, connection: SocketIOConnection, event: ClientEvent) -> object:
        names = sorted({str(stream) for stream, _ in connection.memberships})
        if not event.wants_ack:
            connection.emit("subscriptions", {"streams": names})
        return {"ok": True, "streams": names}

    @staticmethod
    def _report(connection: SocketIOConnection, request: Request, event: ClientEvent) -> None:
        """Answer in events: 002's `subscribed` always, `error` for what was rejected and not acknowledged."""
        if not event.wants_ack:
            key = "stream" if request.form is Form.FULL else "symbol"
            for rejection in request.rejected:
                connection.emit("error", rejection.body(key))
        if request.form is Form.PRICES:
            symbols = [item.sent for item in request.items]
            answer, verb = _ANSWERS[event.name]
            connection.emit(answer, {"symbols": symbols, "message": f"{verb} {len(symbols)} symbols"})

    async def _tick(self) -> None:
        """Send 003's ticks every UPDATE_INTERVAL, without drifting."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
            self._hub.pace(CRYPTO_UPDATES, newer_than_us=_now_us() - FRESH_US)


async def _refuse(_connection: SocketIOConnection, event: ClientEvent) -> object:
    raise MarketError(Code.UNKNOWN_EVENT, f"Unknown event: {str(event.name)[:40]}")


def _subscription(item: Item, last: Message | None, snapshot: Message | None) -> dict[str, object]:
    return {
        "stream": str(item.stream),
        "cursor": last.cursor if last else None,
        "snapshot": msgspec.Raw(snapshot.payload) if snapshot else None,
    }


def _rejections(request: Request) -> list[dict[str, str]]:
    return [rejection.body("stream") for rejection in request.rejected]


def _now_us() -> int:
    return time.time_ns() // 1000
