"""What the ingestor remembers of event streams, so that a client resumes on a replica that never had its stream."""

from collections import OrderedDict
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from market.announcements import KeptMessage, ResumeAnswer, ResumeAsk
from market.continuity import is_sequenced, unbroken
from market.errors import MarketError
from market.messages import Message
from market.ring import Ring
from market.streams import StreamName

MAX_RINGS: Final = 1_024
"""Streams that are remembered: both kinds of trades of 500 symbols; past it the first remembered is forgotten.

Each takes what its messages of a minute take, market/ring.py's RING_BYTES at most: 1 GiB where every stream fills
its ring, with some 4,000 messages a minute each.
"""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_ANEW_US: Final = 3_000_000


class Memory:
    """A ring for each event stream that is carried (market/ring.py says how far it reaches)."""

    def __init__(self, max_rings: int = MAX_RINGS) -> None:
        self._rings: OrderedDict[StreamName, Ring] = OrderedDict()
        self._max_rings = max_rings
        self.forgotten_total = 0
        """Rings given up for want of room."""
        self.cut_total = 0
        """Answers that were cut short at MAX_ANSWER_BYTES."""

    def __len__(self) -> int:
        return len(self._rings)

    def keep(self, message: Message) -> None:
        """Remember a message of an event stream."""
        ring = self._rings.get(message.stream)
        if ring is None:
            if message.stream.is_state:
                return
            ring = self._rings[message.stream] = Ring()
            if len(self._rings) > self._max_rings:
                self._rings.popitem(last=False)
                self.forgotten_total += 1
        newest = ring.newest
        if newest is not None and message.cursor <= newest.cursor and is_sequenced(message.stream):
            if message.received_us - newest.received_us < _ANEW_US:
                return  # while one connection takes over from another, both deliver
            ring.clear()  # the exchange's ids have begun anew
        ring.append(message)

    def carry(self, streams: AbstractSet[StreamName]) -> None:
        """Forget what is carried no longer: its past would have a hole."""
        for stream in self._rings.keys() - streams:
            del self._rings[stream]

    def answer(self, ask: ResumeAsk) -> ResumeAnswer:
        """What is remembered of the streams asked for, up to MAX_ANSWER_BYTES in all."""
        streams: dict[str, list[KeptMessage]] = {}
        room = MAX_ANSWER_BYTES
        for text, cursor in ask.since.items():
            kept = self._since(text, cursor)
            room -= sum(len(message.payload) for message in kept)
            if room < 0:
                self.cut_total += 1
                break
            if kept:
                streams[text] = [KeptMessage(m.cursor, m.received_us, msgspec.Raw(m.payload)) for m in kept]
        return ResumeAnswer(ask.ask, streams)

    def between(self, stream: StreamName, after: int, last: int) -> list[Message] | None:
        """The messages behind the cursor `after` up to that with `last`; None unless all of them are remembered."""
        ring = self._rings.get(stream)
        known = ring.starting_at(after) if ring is not None else None
        found = [message for message in known or () if message.cursor <= last]
        complete = is_sequenced(stream) and bool(found) and found[-1].cursor == last and unbroken(stream, found)
        return found[1:] if complete else None

    def _since(self, text: str, cursor: int) -> list[Message]:
        try:
            ring = self._rings.get(StreamName.parse(text))
        except MarketError:  # a replica of another version may know streams that we do not
            return []
        kept = (ring.starting_at(cursor) if ring else None) or []
        # A stream that moves from one connection to another comes over both for a moment.
        return list({(message.cursor, message.payload): message for message in kept}.values())
