"""One Engine.IO session of a client: long polling, WebSocket, or on its way from one to the other.

Source: Engine.IO protocol 4.
"""

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import engineio.exceptions
import engineio.packet
import structlog
from aiohttp import web

from market.streams import StreamName
from server.backlog import Backlog
from server.connections import CloseReason
from server.delivery import HIGH_WATER_BYTES
from server.encodings import Encoding
from server.frames import Batch, binary_frame, text_frame
from server.handshake import take_over
from server.websocket import WebSocket

if TYPE_CHECKING:
    from server.doors.engine import EngineServer

HARD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""A message longer than this is not even read: it ends the connection (close 1009)."""
MAX_INBOX: Final = 256
"""Packets of one client that wait to be handled; its transport is not read while more would come."""
PYTHON_CLIENT_PACKETS: Final = 16
"""python-engineio's client refuses a poll's answer with more packets (`Payload.max_decode_packets`)."""
PACKET_SEPARATOR: Final = "\x1e"
"""Between the packets of a polling request (Engine.IO protocol 4, "Packet encoding")."""

log = structlog.get_logger(__name__)


class Polling:
    """What waits for the next poll of a long-polling client, and who waits for it."""

    __slots__ = ("backlog", "limit", "packets", "size", "waiter")

    def __init__(self) -> None:
        self.packets: deque[engineio.packet.Packet] = deque()
        self.size = 0
        """Characters or bytes in `packets`."""
        self.waiter: asyncio.Future[None] | None = None
        self.backlog: Backlog | None = None
        self.limit = sys.maxsize
        """How many packets the client takes in one answer."""

    def put(self, pkt: engineio.packet.Packet) -> None:
        """Keep a packet and wake the poll that waits."""
        self.packets.append(pkt)
        self.size += _size(pkt)
        self.wake()

    def wake(self) -> None:
        """Let the poll that waits look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def take(self) -> list[engineio.packet.Packet]:
        """What one answer may hold."""
        taken = [self.packets.popleft() for _ in range(min(len(self.packets), self.limit))]
        self.size -= sum(map(_size, taken))
        return taken


class EngineSocket:
    """One Engine.IO session, over long polling, over WebSocket, or on its way from one to the other.

    It has the parts of python-engineio's `AsyncSocket` that its server uses, and nothing that an idle
    session does not need.
    """

    __slots__ = (
        "_inbox",
        "_polling",
        "_probe",
        "_session",
        "_ws",
        "closed",
        "closing",
        "connected",
        "is_binary",
        "server",
        "sid",
        "slot",
        "upgraded",
    )

    def __init__(self, server: "EngineServer", sid: str) -> None:
        self.server = server
        self.sid = sid
        self.slot = -1
        self.connected = False
        self.is_binary = False
        """Whether the client speaks MessagePack."""
        self.upgraded = False
        self.closing = False
        self.closed = False
        self._session: dict[str, object] | None = None
        self._polling: Polling | None = None
        self._ws: WebSocket | None = None
        self._probe = 0
        """How far the upgrade of a polling session is: 0 none, 1 probe expected, 2 upgrade packet expected."""
        self._inbox: deque[str | bytes] | None = None

    @property
    def transport(self) -> str:
        """`websocket` or `polling`."""
        return "websocket" if self.upgraded else "polling"

    @property
    def session(self) -> dict[str, object]:
        """python-engineio's user session."""
        if self._session is None:
            self._session = {}
        return self._session

    async def send(self, pkt: engineio.packet.Packet) -> None:
        """Send one packet, in order with everything else; never suspends."""
        self.send_now(pkt)

    def send_now(self, pkt: engineio.packet.Packet) -> None:
        """Send one packet, in order with everything else."""
        if self.upgraded:
            if self._ws is not None:
                self._ws.outbox.write(_websocket_bytes(pkt))
        elif not self.closed:
            self._polls().put(pkt)
            # Answers pile up only if the client asks and never polls.
            if self._polls().size > HIGH_WATER_BYTES + self.server.delivery.buffer_bytes:
                self.let_go()

    def send_batch(self, batch: Batch) -> None:
        """Send shared frames whose bodies are whole Engine.IO packets of type MESSAGE (`4...`, or bytes)."""
        if self.upgraded:
            if self._ws is not None:
                self._ws.outbox.send(batch)
            return
        if self.closed:
            return
        polls = self._polls()
        for frame in batch.frames:
            if polls.backlog is None and polls.size > HIGH_WATER_BYTES:
                polls.backlog = Backlog(self.server.delivery.buffer_bytes)
                self.server.delivery.note_lag(self)
            if polls.backlog is None:
                polls.put(_message(frame.body, binary=frame.encoding.binary))
            else:
                polls.backlog.add(frame)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream."""
        if self._ws is not None:
            self._ws.outbox.forget(stream, encoding)
        elif self._polling is not None and self._polling.backlog is not None:
            self._polling.backlog.forget(stream, encoding)

    async def poll(self) -> list[engineio.packet.Packet]:
        """What waits for the client, or what comes first; an empty list once the session is over."""
        polls = self._polls()
        while not polls.packets:
            if self.closed:
                return []
            self._catch_up(polls)
            if not polls.packets:
                polls.waiter = asyncio.get_running_loop().create_future()
                await polls.waiter
        return polls.take()

    async def receive(self, pkt: engineio.packet.Packet) -> None:
        """Handle one packet of the client. Raises UnknownPacketError for one that no client sends."""
        if pkt.packet_type == engineio.packet.MESSAGE:
            await self.server._trigger_event("message", self.sid, pkt.data)  # noqa: SLF001 # its own session
        elif pkt.packet_type == engineio.packet.PONG:
            self.server.heartbeat.answered(self)
        elif pkt.packet_type == engineio.packet.CLOSE:
            await self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
        else:
            raise engineio.exceptions.UnknownPacketError

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:  # noqa: ANN401 # engineio's answer
        """Answer a poll, or upgrade. Raises EngineIOError, which ends the session, for a second poll at once."""
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._open_websocket(environ["aiohttp.request"])
        if self._probe == 2:  # noqa: PLR2004 # upgrading: nothing more is answered over polling
            return [engineio.packet.Packet(engineio.packet.NOOP)]
        polls = self._polls()
        if polls.waiter is not None and not polls.waiter.done():
            raise engineio.exceptions.EngineIOError("two polls at once")  # ends the session, as in the reference server
        if "python" in environ.get("HTTP_USER_AGENT", "").lower():
            polls.limit = PYTHON_CLIENT_PACKETS
        return await self.poll()

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

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.send_now(engineio.packet.Packet(engineio.packet.PING))

    def timed_out(self) -> None:
        """The client did not answer a ping in time."""
        self.server.spawn(self.close(abort=False, reason=self.server.reason.PING_TIMEOUT))

    def let_go(self) -> None:
        """Close a client that does not read what it asked for."""
        if self.closed or self.closing:
            return
        log.info("client let go", sid=self.sid, reason=CloseReason.SLOW_CONSUMER.text)
        if self._ws is not None:
            self._ws.let_go(CloseReason.SLOW_CONSUMER)
        self.server.spawn(self.close(abort=True, reason=CloseReason.SLOW_CONSUMER.text))

    async def close(self, *, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:  # noqa: ARG002 # engineio's signature
        """End the session: run the disconnect handlers, tell the client unless `abort`, close its transport."""
        if self.closed or self.closing:
            return
        self.closing = True
        await self.server._trigger_event("disconnect", self.sid, reason or self.server.reason.SERVER_DISCONNECT)  # noqa: SLF001 # its own session
        if not abort:
            self.send_now(engineio.packet.Packet(engineio.packet.CLOSE))
        self.closed = True
        self.server.forget(self)
        if self._ws is not None:
            self._ws.close()
            self._ws = None
        if self._polling is not None:
            if self._polling.backlog is not None:
                self.server.delivery.note_caught_up(self, self._polling.backlog)
            self._polling.wake()

    def _polls(self) -> Polling:
        if self._polling is None:
            self._polling = Polling()
        return self._polling

    def _catch_up(self, polls: Polling) -> None:
        """Turn what a lagging client is owed into packets, as far as there is room."""
        if polls.backlog is None:
            return
        frames = polls.backlog.take(HIGH_WATER_BYTES)
        if not frames:
            self.server.delivery.note_caught_up(self, polls.backlog)
            polls.backlog = None
        for frame in frames:
            polls.put(_message(frame.body, binary=frame.encoding.binary))

    def _open_websocket(self, request: web.Request) -> web.StreamResponse:
        """Shake hands; a session that was polling still has to prove the WebSocket before it moves over."""
        if self.upgraded or self._ws is not None:
            return web.Response(status=400, text="This session is on a WebSocket already")

        def open_on(transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
            ws = self._ws = WebSocket(
                transport,
                self.server.delivery,
                on_message=self._on_message,
                on_lost=self._on_lost,
                on_slow=self.let_go,
                max_bytes=HARD_LIMIT_BYTES,
                deflate=deflate,
            )
            if self.connected:
                self._probe = 1
            else:
                self._move_over()
            return ws

        return take_over(request, open_on)

    def _move_over(self) -> None:
        """From now on everything goes to the WebSocket, first what waited for the next poll."""
        ws, polls = self._ws, self._polling
        if ws is None:
            return
        self.connected = self.upgraded = True
        self._probe = 0
        self._polling = None
        if polls is None:
            return
        for pkt in polls.packets:
            if pkt.packet_type != engineio.packet.NOOP:
                ws.outbox.write(_websocket_bytes(pkt))
        if polls.backlog is not None:
            ws.outbox.send(Batch(polls.backlog.take(sys.maxsize)))
            self.server.delivery.note_caught_up(self, polls.backlog)
        polls.wake()

    def _on_message(self, data: str | bytes) -> None:
        """Take one message of the WebSocket; its packets are handled one after the other."""
        if self._probe:
            self._on_probe(data)
        elif data == "3":
            self.server.heartbeat.answered(self)
        elif self._inbox is not None:
            self._inbox.append(data)
            if len(self._inbox) == MAX_INBOX and self._ws is not None:
                self._ws.pause_reading()
        else:
            self._inbox = deque((data,))
            self.server.spawn(self._work_off())

    def _on_probe(self, data: str | bytes) -> None:
        """The upgrade of a polling session (Engine.IO protocol 4, "Upgrade")."""
        ws = self._ws
        if ws is None:
            return
        if self._probe == 1 and data == "2probe":
            self._probe = 2
            ws.outbox.write(text_frame(b"3probe"))
            self._polls().put(engineio.packet.Packet(engineio.packet.NOOP))  # ends a waiting poll
        elif self._probe == 2 and data == "5":  # noqa: PLR2004 # see `_probe`
            self._move_over()
        else:
            ws.close()

    async def _work_off(self) -> None:
        inbox = self._inbox
        try:
            while inbox:
                await self._take(inbox[0])
                inbox.popleft()
                if len(inbox) == MAX_INBOX // 2 and self._ws is not None:
                    self._ws.resume_reading()
        except (ValueError, engineio.exceptions.EngineIOError) as error:
            log.info("engine.io frame refused", sid=self.sid, error=str(error))
            await self.close(abort=True, reason=self.server.reason.TRANSPORT_ERROR)
        finally:
            self._inbox = None

    def _on_lost(self) -> None:
        """The WebSocket is over; a session that never moved to it goes on polling."""
        self._ws = None
        if self.upgraded:
            self.server.spawn(self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE))
        else:
            self._probe = 0

    async def _take(self, encoded: str | bytes) -> None:
        """Handle one packet. Raises ValueError or EngineIOError for what is none."""
        if len(encoded) > self.server.max_http_buffer_size:
            await self.server.refuse_large_message(self)
        else:
            await self.receive(engineio.packet.Packet(encoded_packet=encoded))


def _message(body: bytes, *, binary: bool) -> engineio.packet.Packet:
    """A shared frame's body as a packet for long polling."""
    return engineio.packet.Packet(engineio.packet.MESSAGE, body if binary else body[1:].decode())


def _size(pkt: engineio.packet.Packet) -> int:
    """What a packet weighs in a polling session's bounded queue, in characters or bytes."""
    return len(pkt.data) if isinstance(pkt.data, str | bytes) else 0


def _websocket_bytes(pkt: engineio.packet.Packet) -> bytes:
    """A packet as a WebSocket frame; binary attachments are binary frames without a type byte."""
    encoded = pkt.encode()
    return text_frame(encoded.encode()) if isinstance(encoded, str) else binary_frame(bytes(encoded))
