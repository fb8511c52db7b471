"""Everything that touches the insides of python-socketio and python-engineio, in one file.

What is different from the stock servers, and why:

- aiohttp routes a WebSocket's request; then its transport is taken over (server/handshake.py) and driven by
  callbacks (server/websocket.py). No task, queue, reader or compressor lives per connection.
- A packet for a WebSocket client is written to its outbox at once, so acknowledgements and shared
  market-data frames keep one order. Only a long-polling session has a queue, and it is bounded.
- One timer sends all pings (server/doors/heartbeat.py), and of the request's environ only what the
  application may still need is kept.
- A client may put any number of packets into one polling request, up to the size limit; python-engineio's
  own clients get at most 16 packets per poll, for they drop the session over more.
- A message over the size limit is refused with an `error` event, and the connection lives on; only
  one over HARD_LIMIT_BYTES ends it.
- A client whose CONNECT is binary speaks MessagePack (server/doors/msgpack.py).
- Events of the main namespace go to one handler, which is told whether an acknowledgement is due; a
  client that has connected is greeted after its CONNECT, not before.

tests/server/test_engine.py fails loudly when a release changes what this relies on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

import engineio
import engineio.async_socket
import engineio.exceptions
import engineio.packet
import msgspec
import socketio
import socketio.exceptions
import structlog
from aiohttp import web

from market.errors import Code
from server.delivery import Delivery
from server.doors import msgpack
from server.doors.heartbeat import Heartbeat
from server.doors.session import EngineSocket
from server.frames import Batch

# What is kept of a request for as long as its client is connected.
_KEPT_ENVIRON: Final = ("QUERY_STRING", "REMOTE_ADDR", "HTTP_AUTHORIZATION", "HTTP_ORIGIN", "HTTP_X_REAL_IP")

log = structlog.get_logger(__name__)


class ClientEvent(NamedTuple):
    """One event of a client: its name as sent, its arguments, and whether an acknowledgement is due."""

    sid: str
    name: object
    arguments: list[Any]
    wants_ack: bool

    @property
    def data(self) -> object:
        """The first argument, or None."""
        return self.arguments[0] if self.arguments else None


class Json:
    """The JSON module of the Socket.IO server: msgspec, so that a `msgspec.Raw` payload stays as it is."""

    @staticmethod
    def dumps(value: object, **_stdlib_options: object) -> str:
        """`value` as compact JSON."""
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_stdlib_options: object) -> Any:  # noqa: ANN401 # whatever the client sent
        """The value of `text`. Raises ValueError, also for JSON nested too deeply to decode."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None


class Reply(NamedTuple):
    """What a handler answers: the acknowledgement's body, and frames that go out right behind it."""

    body: object = None
    behind: Sequence[Batch] = ()


class EngineServer(engineio.AsyncServer):  # type: ignore[misc] # engineio ships no types
    """The Engine.IO server with sessions of ours. Its parts are set by `SocketServer`, which owns it."""

    delivery: Delivery
    refuse_large_message: Callable[[EngineSocket], Awaitable[None]]

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.heartbeat = Heartbeat(self.ping_interval, self.ping_timeout)
        self._background: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def forget(self, session: EngineSocket) -> None:
        """Let go of a session that is over."""
        self.heartbeat.remove(session)
        self.sockets.pop(session.sid, None)

    async def close_all(self) -> None:
        """Close every session and stop the heartbeat."""
        for session in tuple(self.sockets.values()):
            await session.close()
        self.heartbeat.close()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("session task failed", exc_info=error)

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:  # noqa: ANN401 # engineio's answer
        """Open a session: the stock method, but with a session of ours."""
        sid = self.generate_id()
        session = EngineSocket(self, sid)
        response: web.StreamResponse | None = None
        if transport == "websocket":
            response = await session.handle_get_request(environ)
            if session.closed or not session.upgraded:
                return response
        self.sockets[sid] = session
        self.heartbeat.add(session)
        opening = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        session.send_now(engineio.packet.Packet(engineio.packet.OPEN, opening))
        await self._trigger_event("connect", sid, environ)
        if response is not None:
            return response
        session.connected = True
        return self._ok(await session.poll(), jsonp_index=jsonp_index)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc] # socketio ships no types
    """The Socket.IO server on sessions of ours.

    Events of one client are handled one after the other, and the acknowledgement of an event is
    written before the loop turns again: nothing can slip between a handler's last line and it.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        on_connected: Callable[[str], None],
        on_event: Callable[[ClientEvent], Awaitable[Reply]],
        **options: object,
    ) -> None:
        super().__init__(async_mode="aiohttp", async_handlers=False, json=Json, **options)
        self.on_connected = on_connected
        self.on_event = on_event
        self.eio.delivery = delivery
        self.eio.refuse_large_message = self._refuse_large_message

    def session_of(self, sid: str) -> EngineSocket | None:
        """The Engine.IO session that carries the client `sid` of the main namespace."""
        session: EngineSocket | None = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))
        return session

    async def close(self) -> None:
        """Close all clients and stop."""
        await self.eio.close_all()

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        """Keep of the request only what may still be asked for."""
        kept = {name: environ[name] for name in _KEPT_ENVIRON if name in environ}
        await super()._handle_eio_connect(eio_sid, kept)

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        """Connect a client, then greet it: what a connect handler emits would precede CONNECT."""
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        if (namespace or "/") == "/" and sid and self.manager.is_connected(sid, "/"):
            self.on_connected(sid)

    async def _handle_event_internal(  # noqa: PLR0917 # socketio's signature
        self,
        server: socketio.AsyncServer,
        sid: str,
        eio_sid: str,
        data: list[Any],
        namespace: str,
        id: int | None,  # noqa: A002 # socketio's signature
    ) -> None:
        """Have the door handle an event of the main namespace and acknowledge it where the client asked."""
        if namespace != "/":
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
            return
        reply = await self.on_event(ClientEvent(sid, data[0], data[1:], id is not None))
        if id is not None:
            body = [] if reply.body is None else [reply.body]
            await self._send_packet(eio_sid, self.packet_class(socketio.packet.ACK, id=id, data=body))
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            for batch in reply.behind:
                session.send_batch(batch)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        """Dispatch a client's packet; one that is not Socket.IO gets an `error` event and harms nobody."""
        if isinstance(data, str) and self._binary_packet.pop(eio_sid, None):
            # The stock server would take every later packet for the missing attachment.
            await self._send_error(eio_sid, Code.BAD_REQUEST, "Binary attachment missing")
        try:
            if isinstance(data, bytes) and eio_sid not in self._binary_packet:
                await self._handle_msgpack(eio_sid, msgpack.decode_packet(data))
            else:
                await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            log.info("socket.io packet refused", eio_sid=eio_sid, error=str(error))
            await self._send_error(eio_sid, Code.BAD_REQUEST, "Invalid Socket.IO packet")

    async def _handle_msgpack(self, eio_sid: str, pkt: msgpack.MsgpackPacket) -> None:
        """Dispatch a packet of a client that speaks MessagePack."""
        session = self.eio.sockets.get(eio_sid)
        if session is None:
            return
        if pkt.type == msgpack.CONNECT:
            session.is_binary = True
            await self._handle_connect(eio_sid, pkt.nsp, pkt.data)
        elif pkt.type == msgpack.DISCONNECT:
            await self._handle_disconnect(eio_sid, pkt.nsp, self.reason.CLIENT_DISCONNECT)
        elif pkt.type == msgpack.EVENT:
            await self._handle_event(eio_sid, pkt.nsp, pkt.id, pkt.data)
        elif pkt.type == msgpack.ACK:
            await self._handle_ack(eio_sid, pkt.nsp, pkt.id, pkt.data)
        else:
            raise ValueError(f"unknown packet type {pkt.type}")

    async def _send_packet(self, eio_sid: str, pkt: socketio.packet.Packet) -> None:
        """Send a packet in the client's own format."""
        session = self.eio.sockets.get(eio_sid)
        if session is not None and session.is_binary:
            await self.eio.send(eio_sid, msgpack.encode_packet(pkt.packet_type, pkt.data, pkt.namespace, pkt.id))
        else:
            await super()._send_packet(eio_sid, pkt)

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: engineio.packet.Packet) -> None:
        """Send what the manager encoded for everybody; again for a client that speaks MessagePack."""
        session = self.eio.sockets.get(eio_sid)
        if session is not None and session.is_binary and isinstance(eio_pkt.data, str):
            await self._send_packet(eio_sid, self.packet_class(encoded_packet=eio_pkt.data))
        else:
            await super()._send_eio_packet(eio_sid, eio_pkt)

    async def _refuse_large_message(self, session: EngineSocket) -> None:
        await self._send_error(
            session.sid, Code.MESSAGE_TOO_LARGE, f"Message exceeds {self.eio.max_http_buffer_size} bytes"
        )

    async def _send_error(self, eio_sid: str, code: Code, message: str) -> None:
        body = {"code": code.value, "message": message}
        await self._send_packet(eio_sid, self.packet_class(socketio.packet.EVENT, data=["error", body]))
