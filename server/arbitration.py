"""Arbitration: what comes of a stream twice, late or not at all is put in order before anybody sees it. Pure.

Two ingestors send every stream; the first copy of a message wins. One arbiter stands before each
channel. It takes what comes in whatever order and hands on what is in order, each message once:

- of state streams what is newer than the latest; of one cursor, different payloads once each;
- of streams whose messages name their predecessor (market/continuity.py) each message in its turn:
  one that leaves a hole is held, for the other copy or a repair to fill it, until somebody says
  that it stays (`pass_over`);
- of klines a new candle is held in the same way until the one before was seen closed;
- of streams without any order (liquidations) whatever was not seen before.

Where nothing newer has come for EPOCH_S while older messages came all the time, the exchange's ids
have begun anew (a looped replay): a new epoch begins with the next of them.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from market.continuity import (
    candle_of,
    is_sequenced,
    is_unordered,
    missing_candles,
    predecessor_of,
    slack_of,
)
from market.messages import Message
from market.streams import ARRAY, BINANCE_MARKETS, Kind, StreamName
from server.arbiter import MAX_TIES, Arbiter, Figures, Held, Hole

MAX_RECENT: Final = 1_024
"""Messages of an unordered stream that are remembered."""
RECENT_S: Final = 30.0
"""How far one copy of an unordered stream may be behind the other, in s."""

_CLOSED: Final = b'"x":true'
_OPENS: Final = b'"k":{"t":'
_OPEN_AT: Final = len(_OPENS)
_OPEN_TO: Final = _OPEN_AT + 13
"""Open times have 13 digits until the year 2286."""


class NewestArbiter(Arbiter):
    """Of state streams: what is newer than the latest."""

    __slots__ = ("_latest", "_tied_at", "_ties")

    def __init__(self, figures: Figures, on_epoch: Callable[[], None], clock: Callable[[], float]) -> None:
        super().__init__(figures, on_epoch, clock)
        self._latest: Message | None = None
        self._tied_at: int | None = None
        self._ties: set[int] = set()

    def begin(self, message: Message) -> None:
        """Take `message` as handed on already: what comes up to it is not news."""
        self._latest = message

    def take(self, message: Message) -> Sequence[Message]:
        """What may be handed on now that `message` has come, in order."""
        latest = self._latest
        if latest is None or message.cursor > latest.cursor:
            self._latest = message
            return (message,)
        if self._is_tie(message, latest) or (message.cursor < latest.cursor and self._is_epoch(latest)):
            self._latest = message
            return (message,)
        return ()

    def _is_tie(self, message: Message, latest: Message) -> bool:
        """Whether it has the latest cursor and another payload than all before it; counted if it has not."""
        if message.cursor != latest.cursor:
            return False
        if message.payload != latest.payload:
            if self._tied_at != latest.cursor:
                self._tied_at, self._ties = latest.cursor, {hash(latest.payload)}
            digest = hash(message.payload)
            if digest not in self._ties:
                if len(self._ties) < MAX_TIES:
                    self._ties.add(digest)
                return True
        self._figures.duplicates_total += 1
        return False

    def _is_epoch(self, latest: Message) -> bool:
        self._figures.late_total += 1
        return self._begins_anew(latest.cursor)


class CandleArbiter(NewestArbiter):
    """Of klines: what is newer than the latest, and a new candle once the one before was seen closed."""

    __slots__ = ("_held", "_opened", "_option")

    def __init__(self, option: str, figures: Figures, on_epoch: Callable[[], None], clock: Callable[[], float]) -> None:
        super().__init__(figures, on_epoch, clock)
        self._option = option
        self._opened = b""
        """The open time of the latest candle, as its payload has it; empty once it was seen closed."""
        self._held = Held(figures)

    @property
    def is_full(self) -> bool:
        """Whether no more messages can be held."""
        return self._held.is_full

    def begin(self, message: Message) -> None:
        """Take `message` as handed on already: what comes up to it is not news."""
        self._latest = message
        self._opened = _opened(message.payload)

    def take(self, message: Message) -> Sequence[Message]:
        """What may be handed on now that `message` has come, in order."""
        latest = self._latest
        payload = message.payload
        at = payload.find(_OPENS)
        # Of the candle that is open: the usual case, and all that it costs.
        if (
            latest is not None
            and message.cursor > latest.cursor
            and payload[at + _OPEN_AT : at + _OPEN_TO] == self._opened
            and not self._held
            and payload.find(_CLOSED, at) < 0
        ):
            self._latest = message
            return (message,)
        return self._judge(message, latest)

    def pass_over(self) -> Sequence[Message]:
        """What may be handed on now that the hole stays: up to the next one."""
        if self.hole is None:
            return ()
        first = self._held.messages.pop(0)
        self.begin(first)
        return [first, *self._released()]

    def _judge(self, message: Message, latest: Message | None) -> Sequence[Message]:
        if latest is None:
            self.begin(message)
            return (message,)
        if message.cursor == latest.cursor:
            if not self._is_tie(message, latest) or self._missing(message, latest) is None:
                return ()
        elif message.cursor < latest.cursor:
            if not self._is_epoch(latest):
                return ()
            self._held.messages.clear()
        elif (missing := self._missing(message, latest)) is None:
            self._figures.late_total += 1
            return ()
        elif missing:
            self._held.add(message)
            self._find_hole(latest)
            return ()
        self.begin(message)
        return [message, *self._released()]

    def _missing(self, message: Message, latest: Message) -> list[int] | None:
        """Which candles before that of `message` were not seen closed; None where it is of an older or a closed one."""
        known, new = candle_of(latest.payload), candle_of(message.payload)
        if known is None or new is None:
            return []
        is_over = new.open_ms < known.open_ms or (known.closed and new.open_ms == known.open_ms)
        return None if is_over else missing_candles(self._option, known, new)

    def _released(self) -> list[Message]:
        """The messages held that nothing is missing before any more."""
        released: list[Message] = []
        held, latest = self._held.messages, self._latest
        while held and latest is not None:
            first = held[0]
            missing = self._missing(first, latest)
            if missing:
                break
            del held[0]
            if missing is not None and self._is_news(first, latest):
                self.begin(first)
                released.append(first)
                latest = first
        self._find_hole(latest)
        return released

    def _is_news(self, held: Message, latest: Message) -> bool:
        """Whether a message that was held comes after the latest; its other copy may have gone past it."""
        return held.cursor > latest.cursor or self._is_tie(held, latest)

    def _find_hole(self, latest: Message | None) -> None:
        if not self._held or latest is None:
            self.hole = None
            return
        first = self._held.messages[0]
        opens = self._missing(first, latest)
        self.hole = Hole(opens[0], opens[-1], latest.cursor, len(opens), first.cursor - 1) if opens else None


class SequenceArbiter(Arbiter):
    """Of streams whose messages name their predecessor: each message in its turn."""

    __slots__ = ("_given_up", "_held", "_last", "_previous", "_reach", "_slack")

    def __init__(
        self, stream: StreamName, figures: Figures, on_epoch: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        super().__init__(figures, on_epoch, clock)
        self._previous = predecessor_of(stream)
        self._slack = slack_of(stream)
        # Of trades the cursor itself is the id: no call is needed to see that one is the next.
        self._reach = 0 if stream.kind is Kind.DEPTH else 1 + self._slack
        self._last: int | None = None
        """The cursor of what was handed on last."""
        self._held = Held(figures)
        self._given_up: Hole | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more messages can be held."""
        return self._held.is_full

    def begin(self, message: Message) -> None:
        """Take `message` as handed on already: what comes up to it is not news."""
        self._last = message.cursor

    def take(self, message: Message) -> Sequence[Message]:
        """What may be handed on now that `message` has come, in order."""
        cursor, last = message.cursor, self._last
        if last is None or last < cursor <= last + self._reach:
            self._last = cursor
            return [message, *self._released()] if self._held else (message,)
        if cursor <= last:
            return self._take_older(message, last)
        if self._previous(message) > last + self._slack:
            self._held.add(message)
            self._find_hole(last)
            return ()
        self._last = cursor
        return [message, *self._released()] if self._held else (message,)

    def pass_over(self) -> Sequence[Message]:
        """What may be handed on now that the hole stays: up to the next one."""
        if self.hole is None:
            return ()
        self._given_up = self.hole
        self._last = self.hole.last
        return self._released()

    def _take_older(self, message: Message, last: int) -> Sequence[Message]:
        given_up = self._given_up
        if given_up is not None and given_up.first <= message.cursor <= given_up.last:
            self._figures.late_total += 1
        else:
            self._figures.duplicates_total += 1
        if message.cursor == last or not self._begins_anew(last):
            return ()
        self._held.messages.clear()
        self.hole = self._given_up = None
        self._last = message.cursor
        return (message,)

    def _released(self) -> list[Message]:
        """The messages held that nothing is missing before any more."""
        released: list[Message] = []
        held, last = self._held.messages, self._last or 0
        while held:
            first = held[0]
            if first.cursor > last:
                if self._previous(first) > last + self._slack:
                    break
                released.append(first)
                last = first.cursor
            del held[0]
        self._last = last
        self._find_hole(last)
        return released

    def _find_hole(self, last: int) -> None:
        if not self._held:
            self.hole = None
            return
        until = self._previous(self._held.messages[0])
        self.hole = Hole(last + 1, until, last, until - last, until)


class UnorderedArbiter(Arbiter):
    """Of streams without an order: whatever was not seen before, in the order in which it comes."""

    __slots__ = ("_recent",)

    def __init__(self, figures: Figures, on_epoch: Callable[[], None], clock: Callable[[], float]) -> None:
        super().__init__(figures, on_epoch, clock)
        self._recent: dict[int, float] = {}
        """When each payload, by its hash, was handed on; the oldest first."""

    def begin(self, message: Message) -> None:
        """Take `message` as handed on already: what comes up to it is not news."""
        self._recent[hash(message.payload)] = self._clock()

    def take(self, message: Message) -> Sequence[Message]:
        """What may be handed on now that `message` has come, in order."""
        recent, digest, now = self._recent, hash(message.payload), self._clock()
        if digest in recent:
            if now - recent[digest] < RECENT_S:
                self._figures.duplicates_total += 1
                return ()
            del recent[digest]
        elif len(recent) >= MAX_RECENT:
            del recent[next(iter(recent))]
        recent[digest] = now
        return (message,)


def arbiter_of(
    stream: StreamName,
    figures: Figures,
    on_epoch: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Arbiter:
    """The arbiter that `stream` needs."""
    if is_unordered(stream):
        return UnorderedArbiter(figures, on_epoch, clock)
    if is_sequenced(stream):
        return SequenceArbiter(stream, figures, on_epoch, clock)
    if stream.kind is Kind.KLINE and stream.symbol != ARRAY and stream.market in BINANCE_MARKETS:
        return CandleArbiter(stream.option, figures, on_epoch, clock)
    return NewestArbiter(figures, on_epoch, clock)


def _opened(payload: bytes) -> bytes:
    """The open time of a candle that is open; empty for one that is closed."""
    at = payload.find(_OPENS)
    return b"" if payload.find(_CLOSED, at) >= 0 else payload[at + _OPEN_AT : at + _OPEN_TO]
