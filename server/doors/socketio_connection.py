"""One Socket.IO client as the hub sees it."""

import time

import structlog

from market.errors import MarketError
from market.streams import StreamName
from server.connections import CloseReason, Connection
from server.doors.msgpack import encode_packet
from server.doors.packets import EVENT
from server.doors.session import EngineSocket
from server.doors.socket_server import SocketServer
from server.doors.socketio_encodings import event_text
from server.doors.socketio_requests import Form
from server.encodings import Encoding
from server.frames import Batch
from server.refusals import refusal_of

log = structlog.get_logger(__name__)


class SocketIOConnection(Connection):
    """One Socket.IO client of the main namespace, over whichever transport it uses now."""

    __slots__ = ("_server", "connected_ms", "session", "sid")

    def __init__(self, server: SocketServer, session: EngineSocket, sid: str) -> None:
        super().__init__(session.visitor)
        self._server = server
        self.session = session
        self.sid = sid
        self.connected_ms = time.time_ns() // 1_000_000

    def send(self, batch: Batch) -> None:
        """Send frames that `socketio_encodings` made."""
        outbox = self.session.outbox  # not `send_batch`: the hot path, once for each member
        if outbox is not None:
            outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream."""
        self.session.forget(stream, encoding)

    def emit(self, event: str, body: object) -> None:
        """Send one event to this client, ahead of what it is owed."""
        if self.session.is_binary:
            self.session.write(encode_packet(EVENT, [event, body]), binary=True)
        else:
            self.session.write(event_text(event, body))

    def expire(self, error: MarketError) -> None:
        """What the client was granted has ended: say so, and disconnect it for good."""
        log.info("client let go", client=self.sid, reason=CloseReason.EXPIRED.text)
        self.emit("error", refusal_of(error).body)
        self._server.dismiss(self.session, self.sid, CloseReason.EXPIRED)

    def encoding(self, form: Form) -> Encoding:
        """How this client gets the messages of a form."""
        return form.encoding(binary=self.session.is_binary)
