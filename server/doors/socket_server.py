"""The Socket.IO server on sessions of ours: packets become events, answers become packets.

It is python-socketio's server for those who use it (its managers, and with them the shared control
plane). The common packets, CONNECT to the main namespace and events of it, are handled here, at once:
without a task, and without an object for each. What is unusual (other namespaces, events that the
application has a handler for, acknowledgements of ours) goes python-socketio's way. What differs from it on purpose:

- Packets are read as strictly as by the reference server: one that is none ends its connection. An
  event that merely asks for something wrong gets an `error` event.
- A packet for a WebSocket client is written to its outbox at once, so that acknowledgements and shared
  market-data frames keep one order. Events of one client are handled one after the other.
- What a connect handler emits goes out behind the answer to its client's CONNECT, not before. A client
  whose CONNECT is binary speaks MessagePack (server/doors/msgpack.py). Only what a handler answers is acknowledged.
- A message over the size limit is refused with an `error` event, and the connection lives on.

tests/server/test_engine.py fails loudly when a release changes what this relies on.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import engineio
import msgspec
import socketio
import structlog

from market.errors import Code, MarketError
from server.access.gate import Gate
from server.access.quotas import Quotas
from server.connections import CloseReason
from server.delivery import Delivery
from server.doors import msgpack
from server.doors.client_events import Answer, ClientEvent, Reply
from server.doors.engine import CONNECT_TIMEOUT_S, EngineServer
from server.doors.incomplete import Incomplete
from server.doors.packets import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Json,
    Packet,
    Partial,
    decode_packet,
    event_number,
)
from server.doors.rooms import Rooms
from server.doors.session import EngineSocket, Work
from server.refusals import refusal_of

_WITH_ATTACHMENTS: Final = (f"4{BINARY_EVENT}", f"4{BINARY_ACK}")
MAIN: Final = "/"
"""The namespace of our protocol."""
MAX_ATTEMPTS: Final = 5
"""How often one client may show credentials that are no good before its connection ends."""
MAX_BEHIND_CONNECT: Final = 256
"""Messages for a client that wait while a handler decides about its CONNECT; with more it is let go."""

log = structlog.get_logger(__name__)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc] # socketio ships no types
    """The Socket.IO server on sessions of ours.

    The acknowledgement of an event is written before the loop turns again: nothing can slip between
    a handler's last line and it. Raises ValueError wherever a packet is to end its connection.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        gate: Gate,
        quotas: Quotas,
        on_connected: Callable[[EngineSocket, str], None],
        on_event: Callable[[ClientEvent], Answer],
        client_manager: Rooms,
        cors_allowed_origins: Callable[[str, dict[str, Any]], bool],
        ping_interval: float,
        ping_timeout: float,
        max_http_buffer_size: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        super().__init__(
            async_mode="aiohttp",
            async_handlers=False,
            json=Json,
            client_manager=client_manager,
            cors_allowed_origins=cors_allowed_origins,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_http_buffer_size=max_http_buffer_size,
            connect_timeout_s=connect_timeout_s,
        )
        self.on_connected = on_connected
        self.on_event = on_event
        self._incomplete = Incomplete(
            delivery, after_s=quotas.limits.request_timeout_s, most_bytes=max_http_buffer_size
        )
        self._unsent: dict[EngineSocket, Partial] = {}
        """What clients that speak MessagePack are sent, likewise."""
        self._behind_connect: dict[str, list[engineio.packet.Packet]] = {}
        """What is sent to a session while a handler decides about its CONNECT: it goes out behind the answer."""
        self.greeters: dict[str, Callable[[str], None]] = {}
        """Called with the sid of a client that was let into a namespace other than the main one, behind its CONNECT."""
        self.eio.delivery = delivery
        self.eio.gate = gate
        self.eio.quotas = quotas
        self.eio.receive = self._receive
        self.eio.refuse_large_message = self._refuse_large_message
        self.eio.refuse_command = self._refuse_command

    async def close(self) -> None:
        """Close all clients and stop."""
        await self.eio.close_all()
        self._incomplete.close()

    def dismiss(self, session: EngineSocket, sid: str, reason: CloseReason) -> None:
        """Disconnect a client of the main namespace: after a DISCONNECT packet it does not come back by itself.

        A WebSocket is closed with `reason`; a client that polls still has to fetch what it was told, and
        goes by itself, or after a while like one that never connected.
        """
        if not session.upgraded:
            self.eio.strangers.start(session)
            self.eio.spawn(self.disconnect(sid, ignore_queue=True))
            return
        if session.is_binary:
            session.write(msgpack.encode_packet(DISCONNECT, None), binary=True)
        else:
            session.write(b"4%d" % DISCONNECT)
        session.end(reason.text, told=reason)

    def address_of(self, sid: str, namespace: str) -> str:
        """The address of a client; empty for one that is gone."""
        session = self._session_of(sid, namespace)
        return session.visitor.address if session else ""

    def end_session(self, sid: str, namespace: str) -> None:
        """End a client's whole session, all its namespaces."""
        session = self._session_of(sid, namespace)
        if session is not None:
            session.end(self.reason.SERVER_DISCONNECT)

    def send_event(self, sid: str, namespace: str, name: str, arguments: list[Any], unsent_bytes: int) -> None:
        """Send an event to a client of this replica, unless it is gone or owed more than `unsent_bytes`."""
        session = self._session_of(sid, namespace)
        if session is None or session.unsent_bytes > unsent_bytes:
            return
        data = [name, *arguments]
        if session.is_binary:
            session.write(msgpack.encode_packet(EVENT, data, namespace), binary=True)
        else:
            session.write(b"42%b,%b" % (namespace.encode(), msgspec.json.encode(data)))

    def _session_of(self, sid: str, namespace: str) -> EngineSocket | None:
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace)
        return self.eio.sockets.get(eio_sid) if eio_sid else None

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    def _receive(self, session: EngineSocket, data: str | bytes) -> Work | None:
        """Handle one packet of a client; what is left to await."""
        if session in self._incomplete:
            whole = self._incomplete.add(session, data)
            return self._dispatch(session, whole) if whole is not None else None
        if isinstance(data, bytes):
            packet = msgpack.decode_packet(data)
            if packet.type == CONNECT:
                session.is_binary = True
            elif not session.is_binary:
                raise ValueError("attachment without a packet")
            return self._dispatch(session, packet)
        packet = decode_packet(data)
        if packet.attachments:
            self._sid_of(session, packet.namespace)
            self._incomplete.begin(session, packet)
            return None
        return self._dispatch(session, packet)

    def _dispatch(self, session: EngineSocket, packet: Packet) -> Work | None:
        if packet.type == CONNECT:
            return self._connect(session, packet.namespace, packet.data)
        sid = self._sid_of(session, packet.namespace)
        data = packet.data or []
        if packet.type == EVENT:
            if packet.namespace == MAIN and not (data and data[0] in self.handlers[MAIN]):
                return self._handle_main_event(session, sid, data, packet.id)
            if not data:
                return None
            return self._handle_event(session.sid, packet.namespace, packet.id, data)  # type: ignore[no-any-return] # no types
        if packet.type == ACK:
            return self._handle_ack(session.sid, packet.namespace, packet.id, data)  # type: ignore[no-any-return] # no types
        if packet.type == DISCONNECT:
            return self._handle_disconnect(session.sid, packet.namespace, self.reason.CLIENT_DISCONNECT)  # type: ignore[no-any-return] # no types
        raise ValueError(f"packet type {packet.type} is not for servers")

    def _sid_of(self, session: EngineSocket, namespace: str) -> str:
        sid: str | None = self.manager.sid_from_eio_sid(session.sid, namespace)
        if sid is None or not self.manager.is_connected(sid, namespace):
            raise ValueError("not connected to the namespace")
        return sid

    def _connect(self, session: EngineSocket, namespace: str, auth: object) -> Work | None:
        """Connect a client: at once, where no handler of the application has a say in it."""
        if self.manager.sid_from_eio_sid(session.sid, namespace) is not None:
            raise ValueError("connected already")
        if namespace != MAIN or "connect" in self.handlers[MAIN]:
            return self._handle_connect(session.sid, namespace, auth)
        if not self.eio.gate.is_open:
            return self._connect_known(session, auth)
        self._connect_main(session)
        return None

    async def _connect_known(self, session: EngineSocket, auth: object) -> None:
        """Connect a client that shows good credentials, now or at the handshake, to the main namespace.

        The refusal is that of the reference server's middlewares: CONNECT_ERROR `{message, data: {code}}`.
        """
        if session.visitor.refused_total >= MAX_ATTEMPTS:
            raise ValueError("too many attempts to connect")
        try:
            await self.eio.gate.present(session.visitor, auth)
        except MarketError as error:
            self._send(session, CONNECT_ERROR, {"message": error.message, "data": {"code": error.code.value}})
            return
        if self.manager.sid_from_eio_sid(session.sid, MAIN) is not None:
            raise ValueError("connected already")
        if not session.closing:
            self._connect_main(session)

    def _connect_main(self, session: EngineSocket) -> None:
        sid = self.manager.admit(session.sid, MAIN)
        self._send(session, CONNECT, {"sid": sid})
        self._welcome(session, sid)

    def _welcome(self, session: EngineSocket, sid: str) -> None:
        self.eio.strangers.stop(session)
        self.on_connected(session, sid)

    def _handle_main_event(self, session: EngineSocket, sid: str, data: list[Any], number: int | None) -> Work | None:
        name = data[0] if data else None
        answer = self.on_event(ClientEvent(sid, name, data[1:], number is not None))
        if isinstance(answer, Reply):
            self._answer(session, number, answer)
            return None
        return self._answer_later(session, number, answer)

    async def _answer_later(
        self, session: EngineSocket, number: int | None, answer: Coroutine[Any, Any, Reply]
    ) -> None:
        self._answer(session, number, await answer)

    def _answer(self, session: EngineSocket, number: int | None, reply: Reply) -> None:
        if reply.later is not None:
            self.eio.spawn(self._answer_later(session, number, reply.later))
            return
        if number is not None and reply.body is not None:
            self._send(session, ACK, [reply.body], number)
        for event, body in reply.events:
            self._send(session, EVENT, [event, body])
        for batch in reply.behind:
            session.send_batch(batch)

    @staticmethod
    def _send(session: EngineSocket, kind: int, data: object, number: int | None = None) -> None:
        """Send a packet of the main namespace in the client's own format."""
        if session.is_binary:
            session.write(msgpack.encode_packet(kind, data, number=number), binary=True)
        else:
            head = b"4%d" % kind if number is None else b"4%d%d" % (kind, number)
            session.write(head + msgspec.json.encode(data))

    def _refuse_large_message(self, session: EngineSocket, packet: str | bytes) -> None:
        message = f"Message exceeds {self.eio.max_http_buffer_size} bytes"
        self._refuse_unread(session, packet, {"code": Code.MESSAGE_TOO_LARGE.value, "message": message})

    def _refuse_command(self, session: EngineSocket, packet: str | bytes) -> None:
        """Refuse a packet of a client that sends too many; one whose attachments would come alone ends it."""
        if isinstance(packet, str) and packet.startswith(_WITH_ATTACHMENTS):
            session.turn_away()
        else:
            self._refuse_unread(session, packet, refusal_of(session.stay.refusal()).body)

    def _refuse_unread(self, session: EngineSocket, packet: str | bytes, body: Mapping[str, object]) -> None:
        """Refuse a packet that is not read, in its acknowledgement where its head asks for one."""
        number = event_number(packet) if isinstance(packet, str) else None
        if number is None:
            self._send(session, EVENT, ["error", body])
        else:
            self._send(session, ACK, [{"ok": False, **body}], number)

    async def _handle_connect(self, eio_sid: str, namespace: str, data: object) -> None:
        """Connect a client python-socketio's way; the reference server's refusal for a namespace that is not there."""
        if namespace not in self.handlers and namespace not in self.namespace_handlers:
            refusal = {"message": "Invalid namespace"}
            packet = self.packet_class(socketio.packet.CONNECT_ERROR, data=refusal, namespace=namespace)
            await self._send_packet(eio_sid, packet)
            return
        self._behind_connect[eio_sid] = []
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            for packet in self._behind_connect.pop(eio_sid):
                await self.eio.send_packet(eio_sid, packet)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        session = self.eio.sockets.get(eio_sid)
        if sid is None or not self.manager.is_connected(sid, namespace):
            return
        if session is None:  # it left while the handler considered it
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)
        elif namespace == MAIN:
            self._welcome(session, sid)
        else:
            self.eio.strangers.stop(session)
            if namespace in self.greeters:
                self.greeters[namespace](sid)

    async def _handle_event_internal(  # noqa: PLR0917 # socketio's signature
        self,
        server: socketio.AsyncServer,
        sid: str,
        eio_sid: str,
        data: list[Any],
        namespace: str,
        id: int | None,  # noqa: A002 # socketio's signature
    ) -> None:
        """Have the application handle an event; acknowledge what it answers."""
        try:
            answer = await server._trigger_event(data[0], namespace, sid, *data[1:])  # noqa: SLF001 # itself
        except Exception:
            log.exception("event handler failed", event_name=str(data[0])[:40], namespace=namespace, sid=sid)
            return
        if id is not None and answer is not None and answer is not self.not_handled:
            body = list(answer) if isinstance(answer, tuple) else [answer]
            await self._send_packet(eio_sid, self.packet_class(ACK, namespace=namespace, id=id, data=body))

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            self._incomplete.forget(session)
            self._unsent.pop(session, None)
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _send_packet(self, eio_sid: str, pkt: socketio.packet.Packet) -> None:
        """Send a packet in the client's own format."""
        session = self.eio.sockets.get(eio_sid)
        if session is not None and session.is_binary:
            parts = [msgpack.encode_packet(pkt.packet_type, pkt.data, pkt.namespace, pkt.id)]
        else:
            encoded = pkt.encode()
            parts = encoded if isinstance(encoded, list) else [encoded]
        is_answer = pkt.packet_type in {CONNECT, CONNECT_ERROR}
        for part in parts:
            await self._send_part(eio_sid, engineio.packet.Packet(engineio.packet.MESSAGE, part), is_answer=is_answer)

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: engineio.packet.Packet) -> None:
        """Send what the manager encoded for everybody; again for a client that speaks MessagePack."""
        session = self.eio.sockets.get(eio_sid)
        if session is None or not session.is_binary:
            await self._send_part(eio_sid, eio_pkt)
            return
        packet = self._whole(session, eio_pkt.data)
        if packet is not None:
            encoded = msgpack.encode_packet(packet.type, packet.data, packet.namespace, packet.id)
            await self._send_part(eio_sid, engineio.packet.Packet(engineio.packet.MESSAGE, encoded))

    def _whole(self, session: EngineSocket, part: str | bytes) -> Packet | None:
        """The packet that `part` completes; the parts of one come one right after the other."""
        if isinstance(part, str):
            packet = decode_packet(part)
            if packet.attachments:
                self._unsent[session] = Partial(packet)
            return None if packet.attachments else packet
        whole = self._unsent[session].add(part)
        if whole is not None:
            del self._unsent[session]
        return whole

    async def _send_part(self, eio_sid: str, part: engineio.packet.Packet, *, is_answer: bool = False) -> None:
        """Send one message, or keep it until a handler has decided about the client's CONNECT."""
        kept = self._behind_connect.get(eio_sid)
        if kept is None or is_answer:
            await self.eio.send_packet(eio_sid, part)
        elif len(kept) < MAX_BEHIND_CONNECT:
            kept.append(part)
        else:
            self.eio.delivery.slow_consumers_total += 1
            self.eio.sockets[eio_sid].let_go()
