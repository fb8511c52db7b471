"""Who has subscribed to what, and one frame for all of them."""

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from binance.frames import wrap_payload
from exchange.faults import Faults
from market.streams import Market

StreamKey: TypeAlias = tuple[Market, str]

_TEXT: Final = 0x81
_SHORT: Final = 125
_MEDIUM: Final = 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final WebSocket text frame (RFC 6455, 5.2)."""
    return frame(_TEXT, payload)


def frame(head: int, payload: bytes) -> bytes:
    """One unmasked WebSocket frame; `head` is its first byte."""
    length = len(payload)
    if length <= _SHORT:
        return bytes((head, length)) + payload
    if length <= _MEDIUM:
        return bytes((head, 126)) + length.to_bytes(2) + payload
    return bytes((head, 127)) + length.to_bytes(8) + payload


class Subscriber(Protocol):
    """What the broadcast needs of a connection."""

    @property
    def combined(self) -> bool:
        """Whether payloads come wrapped in their stream's name."""

    def send(self, data: bytes) -> bool:
        """Queue one frame; true = the first since the last flush."""

    def flush(self) -> None:
        """Write what is queued."""


class Broadcast:
    """Subscribers by stream. Frames are built once and written when the turn's work is done (`flush`)."""

    def __init__(self, faults: Faults) -> None:
        self.published_total = 0
        self._faults = faults
        self._members: dict[StreamKey, dict[Subscriber, None]] = {}
        self._unflushed: list[Subscriber] = []
        self._on_first: Callable[[StreamKey], None] = _ignore
        self._on_last: Callable[[StreamKey], None] = _ignore

    def on_demand(self, first: Callable[[StreamKey], None], last: Callable[[StreamKey], None]) -> None:
        """Have `first` called when a stream gets its first subscriber, `last` when it has lost its last."""
        self._on_first, self._on_last = first, last

    @property
    def streams(self) -> list[StreamKey]:
        """The streams that somebody has subscribed to."""
        return list(self._members)

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are, of all subscribers together."""
        return sum(map(len, self._members.values()))

    def add(self, member: Subscriber, key: StreamKey) -> None:
        """Let `member` have the stream's messages from now on."""
        members = self._members.get(key)
        if members is None:
            self._members[key] = {member: None}
            self._on_first(key)
        else:
            members[member] = None

    def remove(self, member: Subscriber, key: StreamKey) -> None:
        """Let `member` have them no longer."""
        members = self._members.get(key)
        if members is not None and members.pop(member, key) is None and not members:
            del self._members[key]
            self._on_last(key)

    def publish(self, market: Market, name: str, payload: bytes) -> None:
        """Queue one payload for all subscribers of a stream."""
        members = self._members.get((market, name))
        if members is None or self._faults.suppresses(market, name, time.monotonic()):
            return
        self.published_total += 1
        raw = combined = b""
        for member in members:
            if member.combined:
                combined = combined or text_frame(wrap_payload(name, payload))
                self.queue(member, combined)
            else:
                raw = raw or text_frame(payload)
                self.queue(member, raw)

    def queue(self, member: Subscriber, data: bytes) -> None:
        """Queue one frame for one subscriber, after all that is queued already."""
        if member.send(data):
            self._unflushed.append(member)

    def flush(self) -> None:
        """Write everything that is queued, one write a subscriber."""
        members, self._unflushed = self._unflushed, []
        for member in members:
            member.flush()


def _ignore(_key: StreamKey) -> None:
    """Stand in until a source of data is attached."""
