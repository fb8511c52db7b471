"""What a client that lags behind is still owed: the latest of each state stream, a bounded queue of events. Pure."""

from collections.abc import Callable
from typing import Final, TypeAlias

from market.streams import StreamName
from server.encodings import Encoding
from server.frames import Frame

BUFFER_BYTES: Final = 1024 * 1024
"""Queued event frames that one client may be owed, in bytes (`CLIENT_BUFFER_BYTES`)."""

AfterGap: TypeAlias = Callable[[StreamName, Encoding], Frame | None]
"""Makes the frame, if any, that stands for what a client missed of an event stream."""


class _Owed:
    """What is owed of one stream in one encoding."""

    __slots__ = ("frames", "missed", "until")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.missed = 0
        """How many messages were replaced (state) or dropped (events) since the last notice."""
        self.until = 0
        """The cursor of the last one missed."""


class Backlog:
    """One lagging client's frames, by stream and encoding.

    Of a state stream only the latest frame is kept (conflation). Frames of event streams queue up to
    `limit_bytes` together; once one is dropped, everything after it is, until the queue was taken:
    so what is missing is one stretch, and the notice that counts it stands in its place, followed by
    what `after_gap` makes of it.
    """

    __slots__ = ("_after_gap", "_bytes", "_limit_bytes", "_owed", "conflated", "dropped")

    def __init__(self, limit_bytes: int = BUFFER_BYTES, after_gap: AfterGap | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._after_gap = after_gap
        self._owed: dict[tuple[StreamName, Encoding], _Owed] = {}
        self._bytes = 0
        self.conflated = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._owed)

    def add(self, frame: Frame) -> bool:
        """Owe the client `frame`, or count it as missed; False = it is lost, and nothing will say so."""
        owed = self._owed.setdefault((frame.stream, frame.encoding), _Owed())
        if frame.stream.is_state:
            if owed.frames:
                self._miss(owed, owed.frames[0])
                self.conflated += 1
            owed.frames = [frame]
        elif owed.missed or self._bytes + len(frame.body) > self._limit_bytes:
            self._miss(owed, frame)
            self.dropped += 1
            return owed.missed > 1 or frame.encoding.gap(frame.stream, owed.missed, owed.until) is not None
        else:
            owed.frames.append(frame)
            self._bytes += len(frame.body)
        return True

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe nothing more of a stream that the client has left."""
        owed = self._owed.pop((stream, encoding), None)
        if owed and not stream.is_state:
            self._bytes -= sum(len(frame.body) for frame in owed.frames)

    def take(self, budget_bytes: int) -> list[Frame]:
        """The frames of whole streams, oldest first, until `budget_bytes` are reached; notices included."""
        frames: list[Frame] = []
        taken = 0
        while self._owed and taken < budget_bytes:
            key, owed = next(iter(self._owed.items()))
            stream, encoding = key
            after = []
            # May add to what is owed, hence before that is taken.
            if owed.missed and not stream.is_state and self._after_gap is not None:
                frame = self._after_gap(stream, encoding)
                after = [frame] if frame is not None else []
            del self._owed[key]
            size = sum(len(frame.body) for frame in owed.frames)
            taken += size + sum(len(frame.body) for frame in after)
            if not stream.is_state:
                self._bytes -= size
            notice = []
            if owed.missed and (body := encoding.gap(stream, owed.missed, owed.until)) is not None:
                notice = [Frame(stream, owed.until, encoding, body)]
            # Replaced values came before the latest one, dropped events after the queued ones.
            frames += [*notice, *owed.frames] if stream.is_state else [*owed.frames, *notice, *after]
        return frames

    @staticmethod
    def _miss(owed: _Owed, frame: Frame) -> None:
        owed.missed += 1
        owed.until = frame.cursor
