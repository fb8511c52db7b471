"""What the hub knows of a client, and the numbered reasons for which a client is let go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Final

from market.streams import StreamName
from server.encodings import Encoding
from server.frames import Batch

if TYPE_CHECKING:
    from server.access.visitors import Visitor
    from server.groups import Group

MAX_STREAMS: Final = 1024
"""Streams one client may subscribe to, as on a connection to Binance."""


class CloseReason(Enum):
    """Why the server closes a connection: WebSocket close code and text (RFC 6455, 7.4)."""

    NORMAL = (1000, "")
    SHUTDOWN = (1000, "Server shutting down")
    GOING_AWAY = (1001, "Server shutting down")
    TOO_MANY_REQUESTS = (1008, "Too many requests")
    INVALID_STREAM = (1008, "Invalid request: invalid stream")
    FORBIDDEN_STREAM = (1008, "Invalid request: forbidden stream")
    SLOW_SENDER = (1008, "Message not finished in time")
    PONG_TIMEOUT = (1008, "Pong timeout")
    INTERNAL = (1011, "Internal error")
    TRY_LATER = (1013, "Too many streams here, try again later")
    SILENT = (4000, "ping_timeout")
    SLOW_CONSUMER = (4008, "slow_consumer")
    EXPIRED = (4401, "token_expired")

    @property
    def code(self) -> int:
        """The WebSocket close code."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The text that goes with the code."""
        return self.value[1]


class Connection(ABC):
    """One client as the hub sees it: something to send frames to, and the groups it is a member of."""

    __slots__ = ("groups", "visitor")

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.groups: dict[tuple[StreamName, Encoding], Group] = {}

    @abstractmethod
    def send(self, batch: Batch) -> None:
        """Send frames of one group after all that was sent before.

        Never blocks, and never raises for a client that left; a client that lags gets what its
        backlog keeps.
        """

    @abstractmethod
    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe the client nothing more of a stream that it has left."""
