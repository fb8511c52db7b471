"""Everything that touches the insides of python-socketio, python-engineio and aiohttp, in one file.

What is different from the stock servers, and why:

- A packet for a WebSocket client is written to its transport through an `Outbox` at once: no queue
  and no writer task stand between, so acknowledgements and shared market-data frames keep one order.
- The queue of a long-polling client is bounded in bytes; who leaves more is a slow consumer.
- python-engineio's own clients get at most 16 packets per poll: they drop the session over more.
- A client may put any number of packets into one polling request, up to the size limit.
- A message over the size limit is refused with an `error` event, and the connection lives on; only
  one over HARD_LIMIT_BYTES ends it.
- Events of the main namespace go to one handler, which is told whether an acknowledgement is due; a
  client that has connected is greeted after its CONNECT, not before.
- permessage-deflate is off: stock aiohttp compresses every frame for every client anew.

tests/server/test_engine.py fails loudly when a release changes what this relies on.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

import engineio
import engineio.async_socket
import engineio.exceptions
import engineio.packet
import msgspec
import socketio
import socketio.exceptions
import structlog
from aiohttp import WSMsgType, web

from market.errors import Code
from server.connections import CloseReason
from server.delivery import BUFFER_BYTES, Delivery, Outbox
from server.frames import Frame, text_frame

HARD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""A message longer than this is not even read: it ends the connection (close 1009)."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a client may take to answer our close frame."""

PYTHON_CLIENT_PACKETS: Final = 16
"""python-engineio's client refuses a poll's answer with more packets (`Payload.max_decode_packets`)."""
PACKET_SEPARATOR: Final = "\x1e"
"""Between the packets of a polling request (Engine.IO protocol 4, "Packet encoding")."""


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


log = structlog.get_logger(__name__)


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


class EngineSocket(engineio.async_socket.AsyncSocket):  # type: ignore[misc] # engineio ships no types
    """One Engine.IO session, over long polling, over WebSocket, or on its way from one to the other."""

    def __init__(self, server: "EngineServer", sid: str) -> None:
        super().__init__(server, sid)
        self._outbox: Outbox | None = None
        self._ws: web.WebSocketResponse | None = None
        self._queued_bytes = 0
        self._poll_limit = sys.maxsize

    @property
    def transport(self) -> str:
        """`websocket` or `polling`."""
        return "polling" if self._outbox is None else "websocket"

    async def send(self, pkt: engineio.packet.Packet) -> None:
        """Send one packet, in order with everything else; never suspends."""
        if self.closed:
            return
        if self._outbox is None:
            self._queue(pkt)
        else:
            self._outbox.write(_websocket_bytes(pkt))

    def write(self, frame: Frame) -> None:
        """Send a shared frame whose text is a whole Engine.IO packet of type MESSAGE (`4...`)."""
        if self._outbox is not None:
            self._outbox.write(frame.websocket)
        elif not self.closed:
            self._queue(engineio.packet.Packet(engineio.packet.MESSAGE, frame.decoded[1:]))

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:  # noqa: ANN401 # engineio's answer
        """Answer a poll, or upgrade."""
        if "python" in environ.get("HTTP_USER_AGENT", "").lower():
            self._poll_limit = PYTHON_CLIENT_PACKETS
        return await super().handle_get_request(environ)

    async def poll(self) -> list[engineio.packet.Packet]:
        """What waits for the client, or the first packet that comes; an empty list once the session is over."""
        packets = [await self.queue.get()]
        while packets[-1] is not None and not self.queue.empty() and len(packets) < self._poll_limit:
            packets.append(self.queue.get_nowait())
        if packets[-1] is None:
            packets.pop()
            self.queue.put_nowait(None)  # whoever polls next finds the end, too
        self._queued_bytes -= sum(map(_size, packets))
        return packets

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Take the packets of a polling request one by one; one that is too long is refused alone.

        Raises EngineIOError, which ends the session, for a body over HARD_LIMIT_BYTES or not of packets.
        """
        length = int(environ.get("CONTENT_LENGTH", "0"))
        if length > HARD_LIMIT_BYTES:
            raise engineio.exceptions.ContentTooLongError
        try:
            body = (await environ["wsgi.input"].readexactly(length)).decode()
            for encoded in body.split(PACKET_SEPARATOR):
                await self._take(encoded)
        except (ValueError, EOFError) as error:
            log.info("polling request refused", sid=self.sid, error=str(error))
            raise engineio.exceptions.UnknownPacketError from None

    async def close(  # `wait` is the stock server's; nothing here waits for a queue to empty
        self,
        wait: bool = True,  # noqa: ARG002, FBT001, FBT002 # engineio's signature
        abort: bool = False,  # noqa: FBT001, FBT002 # engineio's signature
        reason: str | None = None,
    ) -> None:
        """End the session: tell the client unless `abort`, run the disconnect handlers, close the WebSocket."""
        if self.closed or self.closing:
            return
        await super().close(wait=False, abort=abort, reason=reason)
        self.queue.put_nowait(None)  # ends a waiting poll
        if self._ws is not None and self._outbox is not None and not self._ws.closed:
            self._outbox.flush()
            self.server.spawn(self._close_websocket(self._ws))

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        """Shake hands and stay until the WebSocket ends."""
        if self.upgraded:
            raise OSError("already on a WebSocket")
        ws = web.WebSocketResponse(max_msg_size=HARD_LIMIT_BYTES, compress=False, timeout=CLOSE_TIMEOUT_S)
        await ws.prepare(environ["aiohttp.request"])
        transport = environ["aiohttp.request"].transport
        if transport is None:  # gone while shaking hands
            await self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
        elif not self.connected or await self._probe(ws):
            self._attach(ws, transport)
            await self._read(ws)
        return ws

    async def _probe(self, ws: web.WebSocketResponse) -> bool:
        """The upgrade of a polling session (Engine.IO protocol 4, "Upgrade"); False leaves it polling."""
        self.upgrading = True
        try:
            if await _receive_text(ws) != "2probe":
                return False
            await ws.send_str("3probe")
            self._queue(engineio.packet.Packet(engineio.packet.NOOP))  # ends a waiting poll
            return await _receive_text(ws) == "5"
        finally:
            self.upgrading = False

    def _attach(self, ws: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        """From now on everything goes to the transport, first what waited for the next poll."""
        self.connected = self.upgraded = True
        self._ws = ws
        self._outbox = Outbox(transport, self.server.delivery, self._let_go)
        while not self.queue.empty():
            pkt = self.queue.get_nowait()
            if pkt is not None and pkt.packet_type != engineio.packet.NOOP:
                self._outbox.write(_websocket_bytes(pkt))
        self._queued_bytes = 0

    async def _read(self, ws: web.WebSocketResponse) -> None:
        async for message in ws:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            try:
                await self._take(message.data)
            except (ValueError, engineio.exceptions.EngineIOError) as error:
                log.info("engine.io frame refused", sid=self.sid, error=str(error))
                break
        await self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    async def _take(self, encoded: str | bytes) -> None:
        """Handle one packet. Raises ValueError or EngineIOError for what is none."""
        if len(encoded) > self.server.max_http_buffer_size:
            await self.server.refuse_large_message(self)
        else:
            await self.receive(engineio.packet.Packet(encoded_packet=encoded))

    def _queue(self, pkt: engineio.packet.Packet) -> None:
        """Keep a packet for the next poll."""
        self._queued_bytes += _size(pkt)
        if self._queued_bytes > BUFFER_BYTES:
            self._let_go()
        else:
            self.queue.put_nowait(pkt)

    def _let_go(self) -> None:
        """Close a client that does not read what it asked for."""
        if self.closed or self.closing:
            return
        self.server.on_slow_consumer()
        log.info("client let go", sid=self.sid, reason=CloseReason.SLOW_CONSUMER.text)
        self.server.spawn(self._abort())

    async def _abort(self) -> None:
        if self._outbox is not None:
            self._outbox.abort()
        await self.close(abort=True, reason=CloseReason.SLOW_CONSUMER.text)

    @staticmethod
    async def _close_websocket(ws: web.WebSocketResponse) -> None:
        await ws.close()


class EngineServer(engineio.AsyncServer):  # type: ignore[misc] # engineio ships no types
    """The Engine.IO server with sessions of ours. Its parts are set by `SocketServer`, which owns it."""

    delivery: Delivery
    on_slow_consumer: Callable[[], None]
    refuse_large_message: Callable[[EngineSocket], Awaitable[None]]
    service_task_handle: asyncio.Task[None] | None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._background: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close_all(self) -> None:
        """Close every session and stop watching them."""
        for session in tuple(self.sockets.values()):
            await session.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.shutdown()

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:  # noqa: ANN401 # engineio's answer
        """Open a session: the stock method, but with a session of ours."""
        if self.service_task_handle is None:
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        session = self.sockets[sid] = EngineSocket(self, sid)
        opening = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        await session.send(engineio.packet.Packet(engineio.packet.OPEN, opening))
        await self._trigger_event("connect", sid, environ, run_async=False)
        session.schedule_ping()
        if transport == "websocket":
            response = await session.handle_get_request(environ)
            if session.closed:
                self.sockets.pop(sid, None)
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
        on_event: Callable[[ClientEvent], Awaitable[object]],
        on_slow_consumer: Callable[[], None],
        **options: object,
    ) -> None:
        super().__init__(async_mode="aiohttp", async_handlers=False, json=Json, **options)
        self.on_connected = on_connected
        self.on_event = on_event
        self.eio.delivery = delivery
        self.eio.on_slow_consumer = on_slow_consumer
        self.eio.refuse_large_message = self._refuse_large_message

    def session_of(self, sid: str) -> EngineSocket | None:
        """The Engine.IO session that carries the client `sid` of the main namespace."""
        session: EngineSocket | None = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))
        return session

    async def close(self) -> None:
        """Close all clients and stop."""
        await self.eio.close_all()

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
            body = [] if reply is None else [reply]
            await self._send_packet(eio_sid, self.packet_class(socketio.packet.ACK, id=id, data=body))

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        """Dispatch a client's packet; one that is not Socket.IO gets an `error` event and harms nobody."""
        if isinstance(data, str) and self._binary_packet.pop(eio_sid, None):
            # The stock server would take every later packet for the missing attachment.
            await self._send_error(eio_sid, Code.BAD_REQUEST, "Binary attachment missing")
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            log.info("socket.io packet refused", eio_sid=eio_sid, error=str(error))
            await self._send_error(eio_sid, Code.BAD_REQUEST, "Invalid Socket.IO packet")

    async def _refuse_large_message(self, session: EngineSocket) -> None:
        await self._send_error(
            session.sid, Code.MESSAGE_TOO_LARGE, f"Message exceeds {self.eio.max_http_buffer_size} bytes"
        )

    async def _send_error(self, eio_sid: str, code: Code, message: str) -> None:
        body = {"code": code.value, "message": message}
        await self._send_packet(eio_sid, self.packet_class(socketio.packet.EVENT, data=["error", body]))


def _size(pkt: engineio.packet.Packet) -> int:
    """What a packet weighs in a polling session's bounded queue, in characters or bytes."""
    return len(pkt.data) if isinstance(pkt.data, str | bytes) else 0


def _websocket_bytes(pkt: engineio.packet.Packet) -> bytes:
    """A packet as a WebSocket frame; binary attachments are binary frames without a type byte."""
    encoded = pkt.encode()
    if isinstance(encoded, str):
        return text_frame(encoded.encode())
    frame = bytearray(text_frame(bytes(encoded)))
    frame[0] = 0x82  # FIN and the binary opcode
    return bytes(frame)


async def _receive_text(ws: web.WebSocketResponse) -> str | None:
    message = await ws.receive()
    return message.data if message.type is WSMsgType.TEXT else None
