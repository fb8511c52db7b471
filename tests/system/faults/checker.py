"""What one client received, judged message by message: what is missing, came twice, late, or was announced. Pure.

Messages of event streams cover ids without a gap (trade and aggregate ids, update ids of `depth`, the
seconds of closed candles), so what is missing shows in the next one. Values of state streams only have an
order.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MAX_HOLES: Final = 10_000
"""Holes of one stream that are told apart; a client with more of them has failed anyway."""
CANDLES: Final = "@kline_1s"
_SECOND_MS: Final = 1_000


class Data(NamedTuple):
    """A message of a stream (text form with its market)."""

    stream: str
    payload: dict[str, Any]


class Gap(NamedTuple):
    """The client was told that it missed what comes before and with the cursor `until`.

    `conflated`: it lagged, and older values were replaced by the latest, which is no loss.
    """

    stream: str
    until: int
    conflated: bool


class Renewed(NamedTuple):
    """The client subscribed anew; `recovered` says whether all that it missed follows."""

    stream: str
    recovered: bool


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
        second = payload["k"]["t"] // _SECOND_MS
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

    def count_holes(self, announced_to_others: Iterable[Span] = ()) -> None:
        """Bring the figures of what is missing up to date.

        Where the protocol has no words for a gap, what was `announced_to_others` does not count as undetected:
        whoever compares ids there, as the protocol asks for, sees it.
        """
        known = list(announced_to_others)
        quiet = sum(_size(rest) for hole in self.silent for rest in _without(hole, known))
        self.tally.lost = sum(map(_size, self.silent)) + sum(map(_size, self.told))
        self.tally.announced = self.tally.lost - quiet
        self.tally.undetected = quiet

    def _take_older(self, span: Span) -> None:
        """A message that came before, or one that was thought missing."""
        for holes in (self.silent, self.told):
            for at, hole in enumerate(holes):
                if hole.first <= span.last <= hole.last:
                    holes[at : at + 1] = _without(hole, [span])
                    self.tally.disordered += 1
                    return
        self.tally.doubled += 1

    @staticmethod
    def _note(holes: list[Span], span: Span) -> None:
        if _size(span) and len(holes) < MAX_HOLES:
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


@dataclass
class Client:
    """What one client received of all its streams.

    `speaks_of_gaps`: its protocol has words for what is missing.
    """

    name: str
    speaks_of_gaps: bool = True
    sequences: dict[str, Sequence] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    silence_s: float = 0.0
    """The longest time in which nothing came of one of its lively streams."""
    _heard_at: dict[str, float] = field(default_factory=dict)
    """When each lively stream was last heard of."""

    def begin(self, now: float) -> None:
        """Count from zero."""
        for sequence in self.sequences.values():
            sequence.begin()
        for values in self.values.values():
            values.begin()
        self.silence_s = 0.0
        self._heard_at = dict.fromkeys(self._heard_at, now)

    def take(self, event: Data | Gap | Renewed, now: float) -> None:
        """Take what came at `now` (s)."""
        if isinstance(event, Gap):
            self._take_gap(event)
        elif isinstance(event, Renewed):
            self.renew(event)
        else:
            self._take_data(event, now)

    def note_time(self, now: float) -> None:
        """It is `now`: silences last until now at least."""
        self.silence_s = max([self.silence_s, *(now - heard_at for heard_at in self._heard_at.values())])

    def cut(self) -> None:
        """The connection is lost, which announces what is missed by a client that cannot ask for it."""
        for sequence in self.sequences.values():
            sequence.announce()

    def renew(self, event: Renewed) -> None:
        """Take the answer to a new subscription of one stream."""
        sequence, values = self.sequences.get(event.stream), self.values.get(event.stream)
        if values is not None:
            values.renew()
            if sequence is not None:  # of a candle stream only the latest value is caught up on
                sequence.renew()
        elif sequence is not None and not event.recovered:
            sequence.announce()

    def _take_gap(self, gap: Gap) -> None:
        sequence = self.sequences.get(gap.stream)
        if sequence is not None and gap.conflated:
            sequence.forgive(_gap_end(gap))
        elif sequence is not None:
            sequence.announce(_gap_end(gap))

    def _take_data(self, event: Data, now: float) -> None:
        stream, payload = event
        span = span_of(stream, payload)
        is_candle = stream.endswith(CANDLES)
        if span is not None:
            self.sequences.setdefault(stream, Sequence()).take(span)
        if span is None or is_candle:
            self.values.setdefault(stream, Values()).take(order_of(stream, payload), payload)
        if not is_candle:  # which come once a second
            self.silence_s = max(self.silence_s, now - self._heard_at.get(stream, now))
            self._heard_at[stream] = now


def judge(clients: Iterable[Client]) -> Tally:
    """The figures of all clients together, their values only for order and repetition."""
    total = Tally()
    everybody = list(clients)
    for client in everybody:
        for stream, sequence in client.sequences.items():
            others = () if client.speaks_of_gaps else _told(everybody, stream)
            sequence.count_holes(others)
            total.add(sequence.tally)
        for values in client.values.values():
            total.doubled += values.tally.doubled
            total.disordered += values.tally.disordered
            total.received += values.tally.doubled  # `sent` has each message once
    return total


def failures(clients: Iterable[Client], *, may_lose: Callable[[Client, str], bool]) -> list[str]:
    """What no client may see, one sentence each; `may_lose` says who may lose something of which stream, if told."""
    found = []
    for client in clients:
        tallies = [(stream, values.tally) for stream, values in client.values.items()]
        tallies += [(stream, sequence.tally) for stream, sequence in client.sequences.items()]
        for stream, tally in tallies:
            wrong = {"doubled": tally.doubled, "disordered": tally.disordered, "undetected": tally.undetected}
            if not may_lose(client, stream):
                wrong["lost"] = tally.lost
            found += [f"{client.name}: {stream}: {count} {what}" for what, count in wrong.items() if count]
            if not tally.received:
                found.append(f"{client.name}: {stream}: nothing came")
        if not tallies:
            found.append(f"{client.name}: nothing came at all")
    return found


def _told(clients: Iterable[Client], stream: str) -> list[Span]:
    return [span for client in clients if stream in client.sequences for span in client.sequences[stream].told]


def _gap_end(gap: Gap) -> int:
    """The last id that a gap announces; of candles it names a time in ms."""
    return gap.until // _SECOND_MS if gap.stream.endswith(CANDLES) else gap.until


def _left(until: float, last: int) -> float:
    """What was said to reach up to `until`, once the message with the id `last` has come."""
    return 0 if until is math.inf or until <= last else until


def _size(span: Span) -> int:
    return max(0, span.last - span.first + 1)


def _without(span: Span, taken: Iterable[Span]) -> list[Span]:
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
            if _size(rest)
        ]
    return left
