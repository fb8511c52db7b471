"""What the doors on plain WebSockets share: a client as the hub sees it, and its heartbeat."""

from abc import abstractmethod

import structlog

from market.errors import MarketError
from market.streams import StreamName
from server.access.stays import Stay
from server.connections import CloseReason, Connection
from server.doors.heartbeat import Heartbeat
from server.encodings import Encoding
from server.frames import Batch, text_frame
from server.transport.websocket import WebSocket

log = structlog.get_logger(__name__)


class RawConnection(Connection):
    """One client on a plain WebSocket, whose messages are text frames.

    Set `ws` once the transport is taken over. A door hands its pongs to `pong`.
    """

    __slots__ = ("_heartbeat", "slot", "stay", "ws")

    ws: WebSocket

    def __init__(self, stay: Stay, heartbeat: Heartbeat) -> None:
        super().__init__(stay.visitor)
        self.stay = stay
        self.slot = -1
        self._heartbeat = heartbeat

    def send(self, batch: Batch) -> None:
        """Send frames of one group."""
        self.ws.outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream."""
        self.ws.outbox.forget(stream, encoding)

    def reply(self, text: bytes) -> None:
        """Send one text of this client's own, in order with everything else."""
        self.ws.outbox.write(text_frame(text))

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.ws.ping()

    def pong(self, _payload: bytes) -> None:
        """The client has given one."""
        self._heartbeat.answered(self)

    @property
    @abstractmethod
    def name(self) -> str:
        """What the log calls the client."""

    def timed_out(self) -> None:
        """The client did not answer a ping in time."""
        self.let_go(CloseReason.SILENT)

    def expire(self, error: MarketError) -> None:  # noqa: ARG002 # plain clients have nothing but the close frame
        """What the client was granted has ended."""
        self.let_go(CloseReason.EXPIRED)

    def turn_away(self) -> None:
        """Close a client that sends more than it may."""
        self.ws.turn_away(CloseReason.TOO_MANY_REQUESTS)

    def let_go(self, reason: CloseReason = CloseReason.SLOW_CONSUMER) -> None:
        """Close a client that does not read what it asked for, does not answer, or may not stay."""
        log.info("client let go", client=self.name, reason=reason.text)
        self.ws.let_go(reason)
