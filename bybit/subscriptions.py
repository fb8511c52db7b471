"""What a connection shall carry against what Bybit has confirmed, and the next request between them. Pure.

Source: Bybit v5 "Connect": args limits, subscription requests.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from bybit.names import MAX_TOPICS

MAX_ARGS: Final = 10
"""Topics that one request may name on spot; Bybit refuses a longer one as a whole."""


class Op(StrEnum):
    """Bybit's verbs."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    PING = "ping"


class Request(msgspec.Struct, frozen=True):
    """One message that changes what a connection carries."""

    req_id: str
    op: Op
    args: list[str]


class Subscriptions:
    """Reconciles one connection's topics, one request at a time.

    Bybit refuses a request as a whole, whichever topic it dislikes: the topics of a refused one are asked for
    one by one, and the ones at fault set aside until they are wanted anew or the connection is.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.confirmed: set[str] = set()
        """Topics that the server has acknowledged."""
        self._wanted: frozenset[str] = frozenset()
        self._renewed: set[str] = set()
        self._suspects: deque[str] = deque()
        self._next_id = 0

    def is_settled(self) -> bool:
        """Whether there is nothing to tell the server."""
        return self._wanted - self.refused == self.confirmed and not self._renewed

    def want(self, topics: Iterable[str]) -> None:
        """Carry exactly `topics` from now on. Raises ValueError for more than MAX_TOPICS."""
        wanted = frozenset(topics)
        if len(wanted) > MAX_TOPICS:
            raise ValueError(f"one connection carries at most {MAX_TOPICS} topics, not {len(wanted)}")
        self._wanted = wanted
        self.refused &= wanted

    def renew(self, topic: str) -> None:
        """Leave `topic` and subscribe to it again, for its snapshot."""
        if topic in self.confirmed:
            self._renewed.add(topic)

    def forget(self) -> None:
        """Begin anew: a new connection carries nothing and has refused nothing."""
        self.confirmed.clear()
        self.refused.clear()
        self._renewed.clear()
        self._suspects.clear()

    def next_request(self) -> Request | None:
        """What to tell the server next; topics leave before others come, which keeps within its limit."""
        if leaving := (self.confirmed - self._wanted) | self._renewed:
            return self._request(Op.UNSUBSCRIBE, sorted(leaving)[:MAX_ARGS])
        while self._suspects:
            topic = self._suspects.popleft()
            if topic in self._wanted and topic not in self.confirmed:
                return self._request(Op.SUBSCRIBE, [topic])
        coming = sorted(self._wanted - self.confirmed - self.refused)[:MAX_ARGS]
        return self._request(Op.SUBSCRIBE, coming) if coming else None

    def accept(self, request: Request) -> None:
        """The server has done what `request` says."""
        if request.op is Op.SUBSCRIBE:
            self.confirmed.update(request.args)
        else:
            self.confirmed.difference_update(request.args)
            self._renewed.difference_update(request.args)

    def refuse(self, request: Request) -> None:
        """The server has refused `request`."""
        if request.op is Op.UNSUBSCRIBE:
            self.accept(request)  # what the server will not end, it does not carry
        elif len(request.args) > 1:
            self._suspects.extend(request.args)
        else:
            self.refused.update(request.args)

    def _request(self, op: Op, args: list[str]) -> Request:
        self._next_id += 1
        return Request(str(self._next_id), op, args)
