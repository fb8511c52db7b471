"""What a connection shall carry against what the server has confirmed, and the next request between them."""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from binance.routes import MAX_STREAMS, batches
from market.streams import StreamName


class Method(StrEnum):
    """Binance's verbs that change a connection's streams."""

    SUBSCRIBE = "SUBSCRIBE"
    UNSUBSCRIBE = "UNSUBSCRIBE"


class Request(msgspec.Struct, frozen=True):
    """One message to the server: the verb and Binance's stream names."""

    method: Method
    params: list[str]
    id: int


_encode: Final = msgspec.json.Encoder().encode


class Subscriptions:
    """Reconciles one connection's streams, one request at a time; pure, the connection does the talking.

    The server refuses a request as a whole, whichever name it dislikes: a refused one is halved
    until the names at fault are alone. Those are set aside until they are wanted anew or the
    connection is.
    """

    def __init__(self) -> None:
        self.by_name: dict[bytes, StreamName] = {}
        """The wanted streams by the bytes that name them in a frame."""
        self.refused: set[str] = set()
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._halves: deque[tuple[Method, list[str]]] = deque()
        self._next_id = 0

    @property
    def confirmed(self) -> frozenset[str]:
        """Names that the server has acknowledged."""
        return frozenset(self._confirmed)

    def is_settled(self) -> bool:
        """Whether there is nothing to tell the server."""
        return self._wanted - self.refused == self._confirmed

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on. Raises ValueError for more than MAX_STREAMS."""
        by_name = {stream.binance_name.encode(): stream for stream in streams}
        if len(by_name) > MAX_STREAMS:
            raise ValueError(f"one connection carries at most {MAX_STREAMS} streams, not {len(by_name)}")
        self.by_name = by_name
        self._wanted = {name.decode() for name in by_name}
        self.refused &= self._wanted

    def forget(self) -> None:
        """Begin anew: a new connection carries nothing and has refused nothing."""
        self._confirmed.clear()
        self.refused.clear()
        self._halves.clear()

    def next_request(self) -> Request | None:
        """What to tell the server next; streams leave before others come, which keeps within MAX_STREAMS."""
        while self._halves:
            method, names = self._halves.popleft()
            if params := [name for name in names if self._is_due(method, name)]:
                return self._request(method, params)
        leaving = self._confirmed - self._wanted
        method = Method.UNSUBSCRIBE if leaving else Method.SUBSCRIBE
        coming = self._wanted - self._confirmed - self.refused
        params = next(batches(sorted(leaving or coming)), [])
        return self._request(method, params) if params else None

    def accept(self, request: Request) -> None:
        """The server has done what `request` says."""
        if request.method is Method.SUBSCRIBE:
            self._confirmed.update(request.params)
        else:
            self._confirmed.difference_update(request.params)

    def refuse(self, request: Request) -> None:
        """The server has refused `request`: try its halves, or set the one name aside."""
        middle = len(request.params) // 2
        if middle:
            self._halves.append((request.method, request.params[:middle]))
            self._halves.append((request.method, request.params[middle:]))
        elif request.method is Method.SUBSCRIBE:
            self.refused.update(request.params)
        else:
            # What the server will not end, it does not carry.
            self._confirmed.difference_update(request.params)

    def _is_due(self, method: Method, name: str) -> bool:
        if method is Method.SUBSCRIBE:
            return name in self._wanted and name not in self._confirmed
        return name in self._confirmed and name not in self._wanted

    def _request(self, method: Method, params: list[str]) -> Request:
        self._next_id += 1
        return Request(method, params, self._next_id)


def encode_request(request: Request) -> str:
    """The request as Binance reads it: `{"method":"SUBSCRIBE","params":[...],"id":1}`."""
    return _encode(request).decode()
