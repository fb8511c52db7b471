"""The Binance door's WebSockets: Binance's own stream protocol, fed from the hub.

Grammar, control protocol and rules are those of binance/, which the exchange stand-in keeps as well.
Payloads go out as Binance sent them. What lags is treated as Binance treats it, which has no words
for a gap: values of state streams are replaced by later ones, and a client that would miss an event
is closed with 4008 before it does. Shapes: docs/protocol.md. Source: binance/entrances.py, binance/control.py.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final

import structlog
from aiohttp import web

from binance.control import ControlError, ControlSession, Outcome
from binance.entrances import (
    ENTRANCES,
    MAX_MESSAGE_BYTES,
    MESSAGES_PER_SECOND,
    PING_S,
    PONG_S,
    Entrance,
    check_time_unit,
    names_in_path,
    names_in_query,
)
from binance.errors import BinanceError
from binance.frames import server_shutdown, wrap_payload
from binance.rest_gate import refusal as binance_refusal
from market.errors import Code, MarketError
from market.messages import Message
from market.streams import BINANCE_MARKETS, StreamName
from market.windows import RollingWindow
from server.access.gate import Gate
from server.access.quotas import Quotas
from server.access.stays import Stay
from server.access.visitors import Visitor
from server.addresses import OriginPolicy, allows
from server.bounded_log import BoundedLog
from server.catalogs import Catalogs
from server.connections import CloseReason
from server.delivery import Delivery
from server.doors.binance_rest import as_response, refused
from server.doors.heartbeat import Heartbeat
from server.doors.raw import RawConnection
from server.drain import Notice, turn_away
from server.encodings import Encoding
from server.hub import Hub
from server.traces import CommandTraces
from server.transport.handshake import take_over
from server.transport.websocket import WebSocket

MAX_INBOX: Final = 64
"""Messages of one client that wait while the bus subscribes; more than that are too many."""

NOTICE_S: Final = 2.0
"""How long before its end a client is told, in s: time for its library to have another connection first."""

log = structlog.get_logger(__name__)


class _Silent(Encoding):
    # Binance's protocol has no such thing.
    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> None:
        """Say nothing: see the module's text."""


class _Raw(_Silent):
    def encode(self, message: Message) -> bytes:
        """The payload."""
        return message.payload


class _Combined(_Silent):
    def encode(self, message: Message) -> bytes:
        """The payload, wrapped in its stream's name."""
        return wrap_payload(message.stream.binance_name, message.payload)


RAW: Final = _Raw()
COMBINED: Final = _Combined()


class _ForbiddenError(MarketError):
    """A stream that the client's grant does not cover."""


class BinanceConnection(RawConnection):
    """One client of the Binance door. Requests are handled one after the other by `worker`, while there are any."""

    __slots__ = ("_asked", "encoding", "entrance", "exceeded", "inbox", "is_lost", "session", "window", "worker")

    notice_s: ClassVar = NOTICE_S

    def __init__(self, stay: Stay, entrance: Entrance, heartbeat: Heartbeat) -> None:
        super().__init__(stay, heartbeat)
        self.entrance = entrance
        self.session = ControlSession(entrance.market, combined=entrance.combined)
        self.encoding: Encoding = COMBINED if entrance.combined else RAW
        self.window = RollingWindow(MESSAGES_PER_SECOND[entrance.market], 1.0)
        self.exceeded = False
        """Whether it sent more than the window allows: nothing more is taken from it."""
        self.inbox: list[str] = []
        self.worker: asyncio.Task[None] | None = None
        self.is_lost = False
        self._asked = b""

    @property
    def name(self) -> str:
        """The path at which it came: clients of Binance's have no names."""
        return self.entrance.path

    def ping(self) -> None:
        """Ask for a pong with a copy of the time in ms."""
        self._asked = b"%d" % (time.time_ns() // 1_000_000)
        self.ws.ping(self._asked)

    def pong(self, payload: bytes) -> None:
        """Take a pong; one that answers no ping proves nothing."""
        if payload == self._asked:
            super().pong(payload)

    def warn(self, _notice: Notice) -> None:
        """Announce the shutdown: Binance's protocol has no words for when."""
        self.announce_shutdown()

    def announce_shutdown(self) -> None:
        """Send `serverShutdown`, at which Binance's clients connect anew at once."""
        self.reply(server_shutdown(time.time_ns() // 1_000_000, combined=self.encoding is COMBINED))

    def dismiss(self) -> None:
        """Close the client because the replica ends."""
        self.ws.close(CloseReason.GOING_AWAY)

    def timed_out(self) -> None:
        """The client did not answer a ping in time."""
        self.let_go(CloseReason.PONG_TIMEOUT)


class BinanceDoor:
    """The Binance clients of one replica."""

    def __init__(
        self,
        hub: Hub,
        catalogs: Catalogs,
        delivery: Delivery,
        *,
        is_allowed_origin: OriginPolicy,
        gate: Gate,
        traces: CommandTraces,
        quotas: Quotas,
    ) -> None:
        self._traces = traces
        self._hub = hub
        self._catalogs = catalogs
        self._delivery = delivery
        self._is_allowed_origin = is_allowed_origin
        self._gate = gate
        self._quotas = quotas
        self._heartbeats = {market: Heartbeat(PING_S[market], PONG_S[market]) for market in BINANCE_MARKETS}
        self._connections: dict[BinanceConnection, None] = {}
        self._emptied = asyncio.Event()
        self._is_closing = False
        self.opened_total = 0
        """Clients that connected."""
        self._clients_log = BoundedLog()
        self.refused_total = 0
        """Requests answered with an error, and clients closed for what they sent."""

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def attach(self, app: web.Application) -> None:
        """Serve all entrances in `app`."""
        for entrance in ENTRANCES:
            handler = self._handler(entrance)
            app.router.add_get(entrance.path, handler)
            if not entrance.combined:
                app.router.add_get(f"{entrance.path}/{{names:.*}}", handler)

    def drain(self) -> list[BinanceConnection]:
        """Take no new clients; those that have to leave."""
        self._is_closing = True
        return list(self._connections)

    async def close(self) -> None:
        """Announce the shutdown to all clients and close them; takes at most websocket.CLOSE_TIMEOUT_S."""
        for connection in self.drain():
            connection.announce_shutdown()
            connection.dismiss()
        if self._connections:
            await self._emptied.wait()
        for heartbeat in self._heartbeats.values():
            heartbeat.close()

    def _handler(self, entrance: Entrance) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            # Binance takes any page; here CORS_ORIGINS decides, at this door as at the others.
            if not allows(self._is_allowed_origin, request):
                self.refused_total += 1
                return web.Response(status=HTTPStatus.FORBIDDEN, text="This origin may not connect")
            self._quotas.knock(self._gate.address_of(request))
            try:
                visitor = await self._gate.admit(request)
            except MarketError as error:
                self.refused_total += 1
                return refused(error)
            if self._is_closing:
                return turn_away()
            query = request.rel_url.raw_query_string
            try:
                check_time_unit(query)
            except BinanceError as error:
                return as_response(binance_refusal(error, used=0))
            names = names_in_query(query) if entrance.combined else names_in_path(request.match_info.get("names", ""))
            self._quotas.check(visitor)
            return take_over(request, partial(self._open, visitor, entrance, names))

        return handle

    def _open(
        self,
        visitor: Visitor,
        entrance: Entrance,
        names: list[str],
        transport: asyncio.Transport,
        *,
        deflate: bool,
    ) -> WebSocket:
        connection = BinanceConnection(self._quotas.enter(visitor), entrance, self._heartbeats[entrance.market])
        connection.ws = WebSocket(
            transport,
            self._delivery,
            connection.stay,
            on_message=partial(self._on_message, connection),
            on_lost=partial(self._on_lost, connection),
            on_slow=connection.let_go,
            on_pong=partial(self._on_pong, connection),
            on_ping=partial(self._on_ping, connection),
            max_bytes=MAX_MESSAGE_BYTES,
            deflate=deflate,
        )
        self._connections[connection] = None
        self.opened_total += 1
        self._heartbeats[entrance.market].add(connection)
        self._gate.watch(connection)
        if names:
            self._set_to_work(connection, names)
        return connection.ws

    def _on_lost(self, connection: BinanceConnection) -> None:
        connection.is_lost = True
        connection.stay.leave()
        connection.inbox.clear()
        self._heartbeats[connection.entrance.market].remove(connection)
        self._gate.forget(connection)
        self._hub.drop(connection)
        self._connections.pop(connection, None)
        if self._is_closing and not self._connections:
            self._emptied.set()

    def _on_ping(self, connection: BinanceConnection, _payload: bytes) -> None:
        self._admit(connection)

    def _on_pong(self, connection: BinanceConnection, payload: bytes) -> None:
        if self._admit(connection):
            connection.pong(payload)

    def _on_message(self, connection: BinanceConnection, data: str | bytes) -> None:
        if self._admit(connection):
            connection.inbox.append(data if isinstance(data, str) else data.decode("utf-8", "replace"))
            if connection.worker is None:
                self._set_to_work(connection)

    def _admit(self, connection: BinanceConnection) -> bool:
        """Count one message of the client's; too many close the connection, behind the answers to those before."""
        if connection.exceeded:
            return False
        now = asyncio.get_running_loop().time()
        if connection.window.allow(now) and len(connection.inbox) < MAX_INBOX:
            return True
        connection.exceeded = True
        self.refused_total += 1
        if connection.worker is None:
            connection.turn_away()
        else:
            connection.ws.pause_reading()
        return False

    def _set_to_work(self, connection: BinanceConnection, names: Iterable[str] = ()) -> None:
        connection.worker = asyncio.get_running_loop().create_task(self._work_off(connection, names))

    async def _work_off(self, connection: BinanceConnection, names: Iterable[str]) -> None:
        """Subscribe to `names`, then handle what waits, in order; a fault of ours ends the connection."""
        try:
            await self._begin(connection, names)
            while connection.inbox:
                work = self._carry_out(connection, connection.session.handle(connection.inbox.pop(0)))
                await self._traces.follow("request", "binance", connection.name, work)
            if connection.exceeded:
                connection.turn_away()
        except Exception:
            log.exception("request handler failed", client=connection.name)
            connection.ws.close(CloseReason.INTERNAL)
        finally:
            connection.worker = None

    async def _begin(self, connection: BinanceConnection, names: Iterable[str]) -> None:
        """Subscribe to what the URL names; a name that is none closes the connection."""
        try:
            wanted = self._served(connection, connection.session.open(names))
            connection.stay.hold(len(wanted))
            await self._hub.prepare(wanted)
        except ControlError:
            self.refused_total += 1
            connection.ws.close(CloseReason.INVALID_STREAM)
        except _ForbiddenError:
            self.refused_total += 1
            connection.ws.close(CloseReason.FORBIDDEN_STREAM)
        except MarketError as error:
            self.refused_total += 1
            self._clients_log.info("binance client refused", client=connection.name, reason=error.message)
            connection.ws.close(CloseReason.TRY_LATER)
        else:
            self._join(connection, wanted)

    async def _carry_out(self, connection: BinanceConnection, outcome: Outcome) -> None:
        """Answer one request, then deliver what it grants; what it ends has ended."""
        self.refused_total += outcome.is_refused
        try:
            wanted = self._served(connection, outcome.subscribed)
            connection.stay.hold(len(connection.groups) + len(wanted))
            await self._hub.prepare(wanted)
        except MarketError as error:
            self.refused_total += 1
            connection.stay.settle(len(connection.groups))
            connection.reply(connection.session.withdraw(outcome, error.message))
            return
        if connection.encoding is not (encoding := COMBINED if connection.session.combined else RAW):
            self._change_form(connection, encoding, outcome.reply)
        else:
            connection.reply(outcome.reply)
        for name in outcome.unsubscribed:
            if (stream := connection.entrance.stream_of(name)) is not None:
                self._hub.leave(connection, stream, connection.encoding)
        self._join(connection, wanted)

    def _join(self, connection: BinanceConnection, prepared: list[StreamName]) -> None:
        """Deliver streams that were prepared for this; nothing may suspend between the two (server/hub.py)."""
        if not connection.is_lost:
            for stream in prepared:
                self._hub.join(connection, stream, connection.encoding)
        connection.stay.settle(len(connection.groups))
        self._hub.release(prepared)

    def _change_form(self, connection: BinanceConnection, encoding: Encoding, reply: bytes) -> None:
        """Answer SET_PROPERTY: what came before goes out in the old form before the answer, the rest in the new one."""
        if connection.ws.outbox.lags:
            # What is owed in the old form would be forgotten.
            connection.ws.outbox.let_go()
            return
        groups = tuple(connection.groups.values())
        for group in groups:
            group.flush()
        connection.reply(reply)
        for group in groups:
            self._hub.leave(connection, group.stream, group.encoding)
            self._hub.join(connection, group.stream, encoding)
        connection.encoding = encoding

    def _served(self, connection: BinanceConnection, names: tuple[str, ...]) -> list[StreamName]:
        """The streams that come here under these names; the others are acknowledged and stay silent.

        Raises _ForbiddenError for one that the client's grant does not cover.
        """
        streams = [stream for name in names if (stream := connection.entrance.stream_of(name)) is not None]
        if forbidden := connection.visitor.grant.uncovered(streams):
            raise _ForbiddenError(Code.FORBIDDEN, f"forbidden stream {forbidden[0].binance_name}")
        return [stream for stream in streams if self._can_deliver(stream)]

    def _can_deliver(self, stream: StreamName) -> bool:
        try:
            self._catalogs.check(stream)
        except MarketError:  # an unknown symbol, or one that does not trade
            return False
        return True
