"""One client of the JSON door as the hub sees it, and what waits to be done for it."""

import asyncio
import math
import secrets
import time
from collections import deque
from typing import ClassVar

import msgspec

from market.errors import MarketError
from server.access.stays import Stay
from server.connections import CloseReason
from server.doors.heartbeat import Heartbeat
from server.doors.json_requests import HistoricalKlines
from server.doors.raw import RawConnection
from server.drain import Notice
from server.refusals import refusal_of


class JsonConnection(RawConnection):
    """One client of the JSON door."""

    __slots__ = ("asked", "client_id", "historian", "inbox", "is_lost", "is_upper", "worker")

    notice_s: ClassVar = math.inf

    def __init__(self, stay: Stay, heartbeat: Heartbeat) -> None:
        super().__init__(stay, heartbeat)
        self.client_id = f"client_{time.time_ns() // 1_000_000}_{secrets.token_hex(4)}"
        self.is_upper = False
        """Whether the client spoke as document 004's do when it spoke last."""
        self.is_lost = False
        self.inbox: deque[str | bytes] | None = None
        """Messages that wait, while `worker` handles them one after the other."""
        self.worker: asyncio.Task[None] | None = None
        self.asked: list[HistoricalKlines] = []
        self.historian: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The id that the client was greeted with."""
        return self.client_id

    def expire(self, error: MarketError) -> None:
        """What the client was granted has ended."""
        self.tell({"type": "ERROR" if self.is_upper else "error"} | refusal_of(error).body)
        super().expire(error)

    def tell(self, body: object) -> None:
        """Send one message of this client's own."""
        if not self.is_lost:
            self.reply(msgspec.json.encode(body))

    def warn(self, notice: Notice) -> None:
        """Say in the client's own manner that it will be closed."""
        self.tell({"type": "DRAINING", "data": notice.body} if self.is_upper else {"type": "draining", **notice.body})

    def dismiss(self) -> None:
        """Close the client because the replica ends."""
        self.ws.close(CloseReason.SHUTDOWN)
