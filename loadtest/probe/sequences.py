"""One client's view of one stream: what is missing, came twice, late, or was announced. Pure.

Messages of event streams cover ids without a gap (trade and aggregate ids, update ids of `depth`, the
seconds of closed candles), so what is missing shows in the next one. Values of state streams only have an
order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

MAX_HOLES: Final = 10_000
"""Holes of one stream that are told apart; a client with more of them has failed anyway."""
CANDLES: Final = "@kline_1s"
SECOND_MS: Final = 1_000


class Span(NamedTuple):
    """The ids `first` to `last`."""

    first: int
    last: int


@dataclass
class Tally:
    """What is counted of one client's stream; `lost`, `announced` and `undetected` are ids."""

    received: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    announced: int = 0
    undetected: int = 0

    @property
    def sent(self) -> int:
        """What the exchange sent of it, each once."""
        return self.received - self.doubled + self.lost

    def add(self, other: "Tally") -> None:
        """Count what `other` counted."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def span_of(stream: str, payload: dict[str, Any]) -> Span | None:
    """The ids that a message covers; None for values, which only have an order."""
    kind = stream.partition("@")[2]
    if kind == "trade":
        return Span(payload["t"], payload["t"])
    if kind == "aggTrade":
        return Span(payload["a"], payload["a"])
    if kind.startswith("depth@"):
        return Span(payload.get("pu", payload["U"] - 1) + 1, payload["u"])
    if stream.endswith(CANDLES) and payload["k"]["x"]:
        second = payload["k"]["t"] // SECOND_MS
        return Span(second, second)
    return None


def order_of(stream: str, payload: dict[str, Any]) -> int:
    """The number that orders a stream of values: `u` of bookTicker, the event time of a candle."""
    return int(payload["u"] if stream.endswith("@bookTicker") else payload["E"])


class Sequence:
    """One client's view of a stream whose messages cover ids."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.last: int | None = None
        self.silent: list[Span] = []
        """Missing ids that nobody spoke of."""
        self.told: list[Span] = []
        """Missing ids that were announced."""
        self._told_until: float = 0
        self._conflated_until: float = 0
        self._may_repeat = False

    def begin(self) -> None:
        """Count from zero; what comes next still has to follow what came last."""
        self.tally, self.silent, self.told = Tally(), [], []

    def announce(self, until: float = math.inf) -> None:
        """What is missing up to the id `until`, or all before the next message, was announced."""
        self._told_until = max(self._told_until, until)

    def forgive(self, until: float = math.inf) -> None:
        """What is missing up to the id `until`, or all before the next message, was replaced by what came after it."""
        self._conflated_until = until

    def renew(self) -> None:
        """The client subscribed anew to what is a stream of values besides, and is shown the latest one alone."""
        self.forgive()
        self._may_repeat = True

    def stop_waiting(self) -> None:
        """No message has come since that would replace what was missing: it is forgiven no longer."""
        if self._conflated_until is math.inf:
            self._conflated_until = 0

    def take(self, span: Span) -> None:
        """Count a message."""
        self.tally.received += 1
        if self.last is None:
            self.last = span.last
        elif span.last == self.last and self._may_repeat:
            self.tally.received -= 1
        elif span.last <= self.last:
            self._take_older(span)
        else:
            self.miss(Span(self.last + 1, span.first - 1))
            self.tally.doubled += span.first <= self.last
            self.last = span.last
            self._told_until = _left(self._told_until, span.last)
            self._conflated_until = _left(self._conflated_until, span.last)
        self._may_repeat = False

    def miss(self, span: Span) -> None:
        """Count ids that did not come, announced or not; an empty span is nothing."""
        first = max(span.first, int(min(span.last, self._conflated_until)) + 1)
        told = int(min(span.last, self._told_until))
        self._note(self.told, Span(first, told))
        self._note(self.silent, Span(max(first, told + 1), span.last))

    @property
    def holes(self) -> list[Span]:
        """All missing ids, announced or not."""
        return self.silent + self.told

    def count_holes(self, announced_to_others: Iterable[Span] = (), never_sent: Iterable[Span] = ()) -> None:
        """Bring the figures of what is missing up to date.

        Where the protocol has no words for a gap, what was `announced_to_others` does not count as undetected:
        whoever compares ids there, as the protocol asks for, sees it. What was `never_sent` is not lost, but a
        client cannot know that: it has to be told all the same.
        """
        known, void = list(announced_to_others), list(never_sent)
        quiet = [rest for hole in self.silent for rest in without(hole, known)]
        told = [rest for hole in self.silent for rest in without(hole, quiet)] + self.told
        self.tally.undetected = sum(map(size_of, quiet))
        self.tally.announced = sum(size_of(rest) for hole in told for rest in without(hole, void))
        self.tally.lost = self.tally.announced + self.tally.undetected

    def _take_older(self, span: Span) -> None:
        """A message that came before, or one that was thought missing."""
        for holes in (self.silent, self.told):
            for at, hole in enumerate(holes):
                if hole.first <= span.last <= hole.last:
                    holes[at : at + 1] = without(hole, [span])
                    self.tally.disordered += 1
                    return
        self.tally.doubled += 1

    @staticmethod
    def _note(holes: list[Span], span: Span) -> None:
        if size_of(span) and len(holes) < MAX_HOLES:
            holes.append(span)


class Values:
    """One client's view of a stream of values: they only must not go back, nor come twice in a row."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._last: tuple[int, dict[str, Any]] | None = None
        self._may_repeat = False

    def begin(self) -> None:
        """Count from zero; what comes next still has to follow what came last."""
        self.tally = Tally()

    def renew(self) -> None:
        """The client subscribed anew: it is shown the latest value, which it may have seen."""
        self._may_repeat = True

    def take(self, order: int, payload: dict[str, Any]) -> None:
        """Count a value."""
        self.tally.received += 1
        if self._last is not None and order < self._last[0]:
            self.tally.disordered += 1
            return
        self.tally.doubled += (order, payload) == self._last and not self._may_repeat
        self._last, self._may_repeat = (order, payload), False


def _left(until: float, last: int) -> float:
    """What was said to reach up to `until`, once the message with the id `last` has come."""
    return 0 if until is math.inf or until <= last else until


def size_of(span: Span) -> int:
    """How many ids; an empty span may end before it begins."""
    return max(0, span.last - span.first + 1)


def without(span: Span, taken: Iterable[Span]) -> list[Span]:
    """What is left of `span` without those `taken`."""
    left = [span]
    for other in taken:
        left = [
            rest
            for one in left
            for rest in (
                Span(one.first, min(one.last, other.first - 1)),
                Span(max(one.first, other.last + 1), one.last),
            )
            if size_of(rest)
        ]
    return left


def both(one: Span, other: Span) -> list[Span]:
    """What two spans share: one span, or none."""
    shared = Span(max(one.first, other.first), min(one.last, other.last))
    return [shared] if size_of(shared) else []
