"""What one client received of all its streams, and what all of them say together. Pure; times are handed in, in s."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from loadtest.probe.sequences import (
    CANDLES,
    SECOND_MS,
    Sequence,
    Span,
    Tally,
    Values,
    both,
    order_of,
    span_of,
)

PAUSE_S: Final = 1.0
"""A lively stream from which nothing comes for so long has stopped."""
BACK_S: Final = 5.0
"""Within what time every client has to be back; a pause that begins later is no part of its return."""
CUT_S: Final = 0.25
"""The same within PAUSE_S of a mark: what was under way then comes still, and the stop shows behind it."""


class Data(NamedTuple):
    """A message of a stream (text form with its market); `ingested_ms` is 0 where a door does not tell it."""

    stream: str
    payload: dict[str, Any]
    ingested_ms: int = 0


class Pulse(NamedTuple):
    """A message of a stream that tells neither ids nor an order: only that the stream lives."""

    stream: str


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


Event: TypeAlias = Data | Pulse | Gap | Renewed


@dataclass
class Client:
    """What one client received of all its streams.

    `speaks_of_gaps`: its protocol has words for what is missing.
    """

    name: str
    speaks_of_gaps: bool = True
    sequences: dict[str, Sequence] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    silences: dict[str, float] = field(default_factory=dict)
    """The longest time in which nothing came of each stream, in s."""
    disconnects: int = 0
    """How often it has lost its connection."""
    heard: int = 0
    """How many messages of lively streams have come."""
    _is_cut: bool = False
    _heard_at: dict[str, float] = field(default_factory=dict)
    """When each stream was last heard of."""
    _renewed_at: dict[str, float] = field(default_factory=dict)
    """When each stream was last subscribed to anew."""
    _mark: float = 0.0
    _back_at: dict[str, float] = field(default_factory=dict)
    """When each lively stream began to speak after the mark, without a pause since."""

    @property
    def streams(self) -> set[str]:
        """The streams of which it has heard."""
        return set(self._heard_at)

    @property
    def silence_s(self) -> float:
        """The longest time in which nothing came of one of its lively streams."""
        return max((silence_s for stream, silence_s in self.silences.items() if _is_lively(stream)), default=0.0)

    def begin(self, now: float) -> None:
        """Count from zero."""
        for sequence in self.sequences.values():
            sequence.begin()
        for values in self.values.values():
            values.begin()
        self.silences, self.disconnects, self.heard = {}, 0, 0
        self._heard_at = dict.fromkeys(self._heard_at, now)
        self.mark(now)

    def mark(self, now: float) -> None:
        """Something happens, or ends, at `now`: from here it counts how long the client takes to be back."""
        self._mark, self._back_at = now, {}

    def back_s(self, now: float) -> float:
        """After what time since the mark each lively stream spoke for good, in s; infinite if one does not by `now`."""
        lively = [stream for stream in self._heard_at if _is_lively(stream)]
        if any(now - self._heard_at[stream] >= PAUSE_S for stream in lively):
            return math.inf
        waits = [self._back_at.get(stream, math.inf) - self._mark for stream in lively]
        return max(waits, default=math.inf)

    def take(self, event: Event, now: float) -> None:
        """Take what came at `now` (s)."""
        self._is_cut = False
        if isinstance(event, Gap):
            self._take_gap(event)
        elif isinstance(event, Renewed):
            self._renew(event, now)
        elif isinstance(event, Pulse):
            self._hear(event.stream, now)
        else:
            self._take_data(event, now)

    def cut(self) -> None:
        """The connection is lost, which announces what is missed by a client that cannot ask for it."""
        self.disconnects += 1
        self._is_cut = True
        if self.speaks_of_gaps:
            return
        for sequence in self.sequences.values():
            sequence.announce()
        for values in self.values.values():
            values.renew()

    def end(self, latest: Mapping[str, int], now: float) -> None:
        """At `now` this is all that came, and the exchange has sent the ids up to `latest`: the rest is missing."""
        for stream in self._heard_at:
            self._note_silence(stream, now)
        for stream, sequence in self.sequences.items():
            if now - self._renewed_at.get(stream, now) >= BACK_S:
                sequence.stop_waiting()
            if sequence.last is not None:
                if self._is_cut:  # whoever is not connected knows that it receives nothing
                    sequence.announce()
                sequence.miss(Span(sequence.last + 1, latest[stream]))

    def _renew(self, event: Renewed, now: float) -> None:
        """Take the answer to a new subscription of one stream."""
        self._renewed_at[event.stream] = now
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
        stream, payload, _ = event
        span = span_of(stream, payload)
        if span is not None:
            self.sequences.setdefault(stream, Sequence()).take(span)
        if span is None or not _is_lively(stream):
            self.values.setdefault(stream, Values()).take(order_of(stream, payload), payload)
        self._hear(stream, now)

    def _hear(self, stream: str, now: float) -> None:
        last = self._heard_at.get(stream, now)
        silence_s = now - last
        self._note_silence(stream, now)
        self._heard_at[stream] = now
        if not _is_lively(stream):
            return
        self.heard += 1
        pause_s = CUT_S if last < self._mark + PAUSE_S else PAUSE_S
        if stream not in self._back_at or (silence_s >= pause_s and last < self._mark + BACK_S):
            self._back_at[stream] = now

    def _note_silence(self, stream: str, now: float) -> None:
        silence_s = now - self._heard_at.get(stream, now)
        self.silences[stream] = max(self.silences.get(stream, 0.0), silence_s)


def judge(clients: Iterable[Client], never_after: Mapping[str, int] | None = None) -> Tally:
    """The figures of all clients together, their values only for order and repetition.

    Where the exchange began anew with later ids, `never_after` has the last id of each stream before that: what
    nobody has of the ids behind it was never sent.
    """
    everybody = list(clients)
    for client in everybody:
        for stream, sequence in client.sequences.items():
            others = () if client.speaks_of_gaps else _told(everybody, stream)
            last = (never_after or {}).get(stream)
            void = [] if last is None else _nobodys(everybody, stream, last)
            sequence.count_holes(others, void)
    return total(everybody)


def total(clients: Iterable[Client]) -> Tally:
    """The figures of some clients, once those of all of them were judged."""
    summed = Tally()
    for client in clients:
        for sequence in client.sequences.values():
            summed.add(sequence.tally)
        for values in client.values.values():
            summed.doubled += values.tally.doubled
            summed.disordered += values.tally.disordered
            summed.received += values.tally.doubled  # `sent` has each message once
    return summed


def failures(clients: Iterable[Client]) -> list[str]:
    """What no client may ever see, one sentence each."""
    found = []
    for client in clients:
        tallies = [(stream, values.tally) for stream, values in client.values.items()]
        tallies += [(stream, sequence.tally) for stream, sequence in client.sequences.items()]
        for stream, tally in tallies:
            wrong = {"doubled": tally.doubled, "disordered": tally.disordered, "undetected": tally.undetected}
            found += [f"{client.name}: {stream}: {count} {what}" for what, count in wrong.items() if count]
            if not tally.received:
                found.append(f"{client.name}: {stream}: nothing came")
        if not client.heard:
            found.append(f"{client.name}: nothing came at all")
    return found


def silences(clients: Iterable[Client], limit_s: float) -> list[str]:
    """Which streams said nothing for longer than `limit_s`, one sentence each: of what nobody got no id is missing."""
    return [
        f"{client.name}: {stream}: nothing came for {silence_s:.1f} s"
        for client in clients
        for stream, silence_s in client.silences.items()
        if silence_s > limit_s
    ]


def losses(clients: Iterable[Client], may_lose: Callable[[Client, str], bool]) -> list[str]:
    """What was lost that somebody had, one sentence each; `may_lose` says who may lose something of which stream."""
    return [
        f"{client.name}: {stream}: {sequence.tally.lost} lost"
        for client in clients
        for stream, sequence in client.sequences.items()
        if sequence.tally.lost and not may_lose(client, stream)
    ]


def _nobodys(clients: Iterable[Client], stream: str, last: int) -> list[Span]:
    """The ids after `last` that all clients of a stream lack."""
    common = [Span(last + 1, sys.maxsize)]
    for client in clients:
        if stream in client.sequences:
            holes = client.sequences[stream].holes
            common = [part for one in common for hole in holes for part in both(one, hole)]
    return common


def _told(clients: Iterable[Client], stream: str) -> list[Span]:
    return [span for client in clients if stream in client.sequences for span in client.sequences[stream].told]


def _is_lively(stream: str) -> bool:
    """Whether it speaks all the time; candles come once a second."""
    return not stream.endswith(CANDLES)


def _gap_end(gap: Gap) -> int:
    """The last id that a gap announces; of candles it names a time in ms."""
    return gap.until // SECOND_MS if gap.stream.endswith(CANDLES) else gap.until
