"""What the hub knows of a client, and the numbered reasons for which a client is let go."""

from abc import ABC, abstractmethod
from enum import Enum

from market.streams import StreamName
from server.encodings import Encoding
from server.frames import Frame


class CloseReason(Enum):
    """Why the server closes a connection: WebSocket close code and text (RFC 6455, 7.4)."""

    SHUTTING_DOWN = (1000, "Server shutting down")
    MESSAGE_TOO_BIG = (1009, "message_too_large")
    SLOW_CONSUMER = (4008, "slow_consumer")

    @property
    def code(self) -> int:
        """The WebSocket close code."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The text that goes with the code, also the label of its metric."""
        return self.value[1]


class Connection(ABC):
    """One client as the hub sees it: something to write frames to, and what it is a member of."""

    def __init__(self) -> None:
        self.memberships: set[tuple[StreamName, Encoding]] = set()

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Send `frame` after all that was written before; never blocks, never raises for a client that left."""
