"""From one connection to its successor without a message lost: which messages to pass on, in which order. Pure.

While both live, the predecessor's messages are passed on as they come and the successor's are held. At
the end the held ones follow from where the predecessor stopped. An exchange sends one message to both
connections as the same bytes: where the predecessor's last message of a stream is among the held ones,
those up to it are known to be second copies. Where it is not, all held ones of the stream are passed on,
so that doubles are possible (as when the predecessor was ahead), and losses are not.
"""

from collections import deque
from typing import Final, TypeAlias

from market.streams import StreamName

Held: TypeAlias = tuple[StreamName, bytes, int]
"""Stream, payload, and receive time in us since the epoch."""

OVERLAP_S: Final = 1.0
"""How long both connections deliver at least, once the successor has all streams, in s."""
LONGEST_OVERLAP_S: Final = 10.0
"""How long the successor is given to deliver each stream that the predecessor delivers meanwhile, in s."""
MAX_HELD: Final = 32_768
"""Messages held at most; past it the oldest go, which the predecessor has most likely delivered."""


class Handover:
    """One change of connections; the caller brings a clock that never goes back, in s."""

    def __init__(self) -> None:
        self.let_go_total = 0
        self._last: dict[StreamName, bytes] = {}
        self._spoken: set[StreamName] = set()
        self._held: deque[Held] = deque()
        self._heard: set[StreamName] = set()
        self._settled_at: float | None = None

    def note_old(self, stream: StreamName, payload: bytes) -> None:
        """The predecessor has delivered this message; pass it on."""
        self._last[stream] = payload
        self._spoken.add(stream)

    def hold(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        """Keep a message of the successor's for `cut`."""
        if len(self._held) >= MAX_HELD:
            self._held.popleft()
            self.let_go_total += 1
        self._held.append((stream, payload, received_us))
        self._heard.add(stream)

    def is_complete(self, now: float, *, settled: bool, caught_up: bool) -> bool:
        """Whether the successor can take over.

        `settled` = the server has acknowledged all its streams; `caught_up` = the predecessor has
        delivered all that it was sent before. That is after OVERLAP_S, and once every stream that the
        predecessor has delivered since was heard from the successor too; all of it must be done in
        LONGEST_OVERLAP_S.
        """
        if not settled:
            return False
        if self._settled_at is None:
            self._settled_at = now
            self._spoken.clear()
            return False
        overlap_s = now - self._settled_at
        return overlap_s >= LONGEST_OVERLAP_S or (overlap_s >= OVERLAP_S and caught_up and self._spoken <= self._heard)

    def cut(self) -> list[Held]:
        """The held messages to pass on, in order, now that the predecessor has said its last."""
        held, self._held = self._held, deque()
        cuts = {stream: index for index, (stream, payload, _) in enumerate(held) if self._last.get(stream) == payload}
        return [message for index, message in enumerate(held) if index > cuts.get(message[0], -1)]
