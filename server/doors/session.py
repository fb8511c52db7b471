"""One Engine.IO session of a client: long polling, WebSocket, or on its way from one to the other.

Source: Engine.IO protocol 4.
"""

import asyncio
import base64
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import engineio.packet
import structlog
from aiohttp import web

from market.streams import StreamName
from server.access.stays import Stay, Verdict
from server.connections import CloseReason
from server.delivery import Outbox
from server.doors.polling import NOOP, PYTHON_CLIENT_PACKETS, Polling
from server.doors.posts import HARD_LIMIT_BYTES, read_packets
from server.doors.redundant import open_redundant
from server.encodings import Encoding
from server.frames import Batch, binary_frame, text_frame
from server.inbox import Inbox
from server.transport.answers import on_lost
from server.transport.handshake import take_over
from server.transport.websocket import WebSocket

if TYPE_CHECKING:
    from server.doors.engine import EngineServer

_CLOSE: Final = "1"
_PING: Final = b"2"
_PONG: Final = "3"
_NO_UPGRADE, _PROBE_EXPECTED, _UPGRADE_EXPECTED, _UPGRADE_FAILED = range(4)
"""How far the upgrade of a polling session is; a failed one until its WebSocket is over."""
_NOOP: Final = b"6"
_IGNORED: Final = ("0", "5", "6")
"""Packets that are valid and mean nothing to a server; the reference server ignores them, too."""

log = structlog.get_logger(__name__)

Work = Coroutine[Any, Any, None]
"""The rest of what a packet asks for, where it could not be done at once."""


class EngineSocket:
    """One Engine.IO session, over long polling, over WebSocket, or on its way from one to the other.

    It has the parts of python-engineio's `AsyncSocket` that its server uses, and nothing that an idle
    session does not need. What a packet asks for is done at once where nothing must be awaited.
    """

    __slots__ = (
        "_inbox",
        "_is_posting",
        "_polling",
        "_probe",
        "_session",
        "_ws",
        "closed",
        "closing",
        "is_binary",
        "outbox",
        "server",
        "sid",
        "slot",
        "stay",
        "upgraded",
        "visitor",
    )

    def __init__(self, server: "EngineServer", sid: str, stay: Stay) -> None:
        self.server = server
        self.sid = sid
        self.stay = stay
        self.visitor = stay.visitor
        self.slot = -1
        self.is_binary = False
        """Whether the client speaks MessagePack."""
        self.upgraded = False
        """Whether it is on a WebSocket."""
        self.closing = False
        self.closed = False
        self.outbox: Outbox | Polling | None = None
        """Where shared frames go now; nothing before the first packet, and nothing after the end."""
        self._session: dict[str, object] | None = None
        self._polling: Polling | None = None
        self._ws: WebSocket | None = None
        self._probe = _NO_UPGRADE
        self._is_posting = False
        self._inbox: Inbox | None = None
        """Packets that wait to be handled; the WebSocket is not read while it is full."""

    @property
    def transport(self) -> str:
        """`websocket` or `polling`."""
        return "websocket" if self.upgraded else "polling"

    @property
    def is_reachable(self) -> bool:
        """Whether what is written now leaves now: it is on a WebSocket, or its poll waits."""
        return self.upgraded or (self._polling is not None and self._polling.is_awaited)

    @property
    def session(self) -> dict[str, object]:
        """python-engineio's user session."""
        if self._session is None:
            self._session = {}
        return self._session

    async def send(self, pkt: engineio.packet.Packet) -> None:
        """Send one packet of python-engineio's, in order with everything else; never suspends."""
        encoded = pkt.encode()
        if isinstance(encoded, str):
            self.write(encoded.encode())
        else:
            self.write(bytes(encoded), binary=True)

    def write(self, packet: bytes, *, binary: bool = False) -> None:
        """Send one packet, in order with everything else: its text, or the bytes of a binary message."""
        if self.upgraded:
            if self._ws is not None:
                self._ws.outbox.write(binary_frame(packet) if binary else text_frame(packet))
        elif not self.closed:
            self._polls().write(packet, binary=binary)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has still to take."""
        if self._ws is not None and self.upgraded:
            return self._ws.outbox.unsent_bytes
        return self._polling.unsent_bytes if self._polling is not None else 0

    def send_batch(self, batch: Batch) -> None:
        """Send shared frames whose bodies are whole Engine.IO packets of type MESSAGE (`4...`, or bytes)."""
        if self.outbox is not None:
            self.outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream."""
        if self.outbox is not None:
            self.outbox.forget(stream, encoding)

    def open_websocket(self, request: web.Request, opening: bytes) -> web.StreamResponse:
        """Shake hands for a session that begins on a WebSocket; the packet `opening` goes out with the answer."""

        def open_on(transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
            ws = self._ws = self._websocket(transport, deflate=deflate)
            self.upgraded = True
            self.outbox = ws.outbox
            ws.outbox.write(text_frame(opening))
            return ws

        return take_over(request, open_on)

    def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Shake hands for a session that polls; the WebSocket still has to prove itself before it moves over.

        A second WebSocket is accepted and closed, as by the reference server.
        """
        if self.upgraded or self._ws is not None:
            return take_over(request, partial(open_redundant, self.server.delivery, self.stay))

        def open_on(transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
            self._probe = _PROBE_EXPECTED
            self.server.upgrading.start(self)
            self._ws = self._websocket(transport, deflate=deflate)
            return self._ws

        return take_over(request, open_on)

    async def poll(self, request: web.Request) -> bytes:
        """The body that answers a poll: what waits for the client, or what comes first.

        Raises ValueError, which ends the session, for a second poll at once.
        """
        if self._probe == _UPGRADE_EXPECTED:  # nothing more is answered over polling
            return NOOP
        polls = self._polls()
        if polls.is_awaited:
            raise ValueError("two polls at once")
        if "python" in request.headers.get("User-Agent", "").lower():
            polls.limit = PYTHON_CLIENT_PACKETS
        body = polls.take()
        while not body:
            on_lost(request, self._on_poll_lost)
            await polls.wait()
            body = polls.take()
            if self.closed or self._probe or self.upgraded:
                break
        return body or NOOP

    async def post(self, request: web.Request) -> None:
        """Take the packets of a polling request one by one; one that is too long is refused alone.

        Raises ValueError, which ends the session, for a second request at once, and for a body that is too long,
        too slow or not of packets, and OverQuotaError for one that brought too many commands, with which the
        session ended.
        """
        if self._is_posting:
            raise ValueError("two posts at once")
        self._is_posting = True
        try:
            packets = await read_packets(request, self.server.quotas.limits.request_timeout_s)
            if self.closing:
                raise ValueError("the session is over")
            await self._take_all(packets)
        finally:
            self._is_posting = False

    async def _take_all(self, packets: list[bytes]) -> None:
        for encoded in packets:
            if self.closing:
                break
            work = self._take(encoded.decode())
            if work is not None:
                await work
        if self.stay.is_flooding:
            raise self.stay.refusal()

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.write(_PING)

    def timed_out(self) -> None:
        """The client did not answer a ping in time."""
        self.end(self.server.reason.PING_TIMEOUT)

    def let_go(self) -> None:
        """Close a client that does not read what it asked for."""
        if self.closing:
            return
        log.info("client let go", client=self.sid, reason=CloseReason.SLOW_CONSUMER.text)
        if self._ws is not None:
            self._ws.let_go(CloseReason.SLOW_CONSUMER)
        self.end(CloseReason.SLOW_CONSUMER.text, abort=True)

    def turn_away(self) -> None:
        """Close a client that goes on sending commands although they are refused."""
        if self.closing:
            return
        if self._ws is not None:
            self._ws.turn_away(CloseReason.TOO_MANY_REQUESTS)
        self.end(CloseReason.TOO_MANY_REQUESTS.text, abort=True)

    def end(self, reason: str, *, abort: bool = False, told: CloseReason = CloseReason.NORMAL) -> None:
        """End the session soon; from now on nothing of the client is heard."""
        if not self.closing:
            self.closing = True
            self.server.spawn(self._close(reason, b"" if abort else _CLOSE.encode(), told=told))

    async def close(self, *, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:  # noqa: ARG002 # engineio's signature
        """End the session: run the disconnect handlers, tell the client unless `abort`, close its transport."""
        if not self.closing:
            self.closing = True
            await self._close(reason or self.server.reason.SERVER_DISCONNECT, b"" if abort else _CLOSE.encode())

    async def shut_down(self) -> None:
        """End the session because the server stops, such that the client comes back by itself.

        The close frame of a WebSocket says it; a poll that waits returns, and the next one finds no session. A packet
        of type close would keep stock python-socketio clients away: they take it for a wish not to see them again.
        """
        if not self.closing:
            self.closing = True
            last = b"" if self.upgraded else _NOOP
            await self._close(self.server.reason.SERVER_DISCONNECT, last, told=CloseReason.SHUTDOWN)

    async def _close(self, reason: str, last: bytes, *, told: CloseReason = CloseReason.NORMAL) -> None:
        """Tell the client `last`, if that is anything, and close its transport."""
        await self.server._trigger_event("disconnect", self.sid, reason)  # noqa: SLF001 # its own session
        if last:
            self.write(last)
        self.closed = True
        self.outbox = None
        self.server.forget(self)
        if self._ws is not None:
            self._ws.close(told)
            self._ws = None
        if self._polling is not None:
            self._polling.close()

    def _polls(self) -> Polling:
        if self._polling is None:
            self.outbox = self._polling = Polling(self.server.delivery, self.let_go)
        return self._polling

    def _websocket(self, transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
        return WebSocket(
            transport,
            self.server.delivery,
            self.stay,
            on_message=self._on_message,
            on_lost=self._on_lost,
            on_slow=self.let_go,
            max_bytes=HARD_LIMIT_BYTES,
            deflate=deflate,
        )

    def _move_over(self, ws: WebSocket) -> None:
        """From now on everything goes to the WebSocket, first what waited for the next poll."""
        self.upgraded = True
        self.outbox = ws.outbox
        self._end_upgrade()
        polls, self._polling = self._polling, None
        if polls is not None:
            polls.move(lambda packet, binary: self.write(packet, binary=binary), ws.outbox.send)

    def _on_message(self, data: str | bytes) -> None:
        """Take one message of the WebSocket; packets are handled one after the other."""
        if self.closing:
            return
        if self._probe:
            self._on_probe(data)
        elif self._inbox is not None:
            self._inbox.put(data)
            if self._inbox.is_full and self._ws is not None:
                self._ws.pause_reading()
        else:
            try:
                work = self._take(data)
            except ValueError as error:
                self._refuse(error)
                return
            if work is not None:
                self._inbox = Inbox()
                self.server.spawn(self._work_off(work, self._inbox))

    def _on_probe(self, data: str | bytes) -> None:
        """The upgrade of a polling session (Engine.IO protocol 4, "Upgrade")."""
        ws = self._ws
        if ws is None or self._probe == _UPGRADE_FAILED:
            return
        if self.stay.fragments(1) is Verdict.FLOOD:
            self.turn_away()
            return
        if data == "2probe":
            self._probe = _UPGRADE_EXPECTED
            ws.outbox.write(text_frame(b"3probe"))
            self._polls().wake()  # a poll that waits is answered with NOOP
        elif data == "5":
            self._move_over(ws)
        else:
            self.give_up_upgrade()

    def give_up_upgrade(self) -> None:
        """Go on polling: the WebSocket did not prove itself, or not in time."""
        self.server.upgrading.stop(self)
        if self._ws is not None:
            self._probe = _UPGRADE_FAILED
            self._ws.close()

    def _end_upgrade(self) -> None:
        self.server.upgrading.stop(self)
        self._probe = _NO_UPGRADE

    async def _work_off(self, work: Work, inbox: Inbox) -> None:
        """Finish `work`, then handle what came meanwhile."""
        try:
            await work
            while inbox and not self.closing:
                following = self._take(inbox.take())
                if following is not None:
                    await following
                if inbox.has_room and self._ws is not None:
                    self._ws.resume_reading()
        except ValueError as error:
            self._refuse(error)
        finally:
            self._inbox = None

    def _take(self, encoded: str | bytes) -> Work | None:
        """Handle one packet; what is left to await. Raises ValueError for what is none."""
        verdict = self.stay.command(len(encoded))
        if verdict is Verdict.FLOOD:
            self.turn_away()
            return None
        if verdict is Verdict.REFUSED and (isinstance(encoded, bytes) or encoded.startswith(("4", "b"))):
            self.server.refuse_command(self, encoded)
            return None
        if len(encoded) > self.server.max_http_buffer_size:
            self.server.refuse_large_message(self, encoded)
            return None
        if isinstance(encoded, bytes):
            return self.server.receive(self, encoded)
        if encoded.startswith("4"):
            return self.server.receive(self, encoded[1:])
        return self._take_other(encoded)

    def _take_other(self, encoded: str) -> Work | None:
        if encoded.startswith(_PONG):
            self.server.heartbeat.answered(self)
        elif encoded.startswith("b"):
            return self.server.receive(self, base64.b64decode(encoded[1:], validate=True))
        elif encoded.startswith(_CLOSE):
            return self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
        elif not encoded.startswith(_IGNORED):
            raise ValueError("not an Engine.IO packet")
        return None

    def _refuse(self, error: ValueError) -> None:
        self.server.clients_log.info("packet refused", client=self.sid, error=str(error))
        self.end(self.server.reason.TRANSPORT_ERROR)

    def _on_poll_lost(self) -> None:
        """The client gave up a poll that waited (or lost its way to us): the reference server ends it, too."""
        if not self.upgraded:
            self.end(self.server.reason.TRANSPORT_CLOSE, abort=True)

    def _on_lost(self) -> None:
        """The WebSocket is over; a session that never moved to it goes on polling."""
        self._ws = None
        if self.upgraded:
            self.end(self.server.reason.TRANSPORT_CLOSE, abort=True)
        else:
            self._end_upgrade()
