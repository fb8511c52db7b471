"""What all arbiters have in common: their figures, what they hold, and when ids have begun anew. Pure."""

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from market.messages import Message

MAX_HELD: Final = 1_024
"""Messages of one stream that wait for a hole to be filled; past it the hole stays."""
MAX_TIES: Final = 256
"""Payloads of one cursor that are told apart; further ones are handed on unchecked."""
EPOCH_S: Final = 3.0
"""Longer than one copy is ever behind the other: a copy that catches up must not pass for a new epoch."""
EPOCH_MESSAGES: Final = 3
"""Older messages that a new epoch takes; those that come together count once: a pause may end with a copy's backlog."""


class Figures:
    """What all arbiters of one replica count."""

    def __init__(self) -> None:
        self.duplicates_total = 0
        """Messages that had been handed on before: mostly the other copy's."""
        self.late_total = 0
        """Messages older than the latest of a state stream, or of a hole that was given up."""
        self.held_total = 0
        """Messages that waited for one before them."""
        self.repaired_total = 0
        """Messages that neither copy brought, and Binance's REST API did."""
        self.gaps_total = 0
        """Holes that stayed."""
        self.epochs_total = 0


class Hole(NamedTuple):
    """Messages that are missing.

    `first` to `last` are their ids, of klines the open times in ms of candles that were not seen
    closed. They come after the message with cursor `after`; the last one's cursor is `until`, as far
    as can be told. `missed` is how many ids or candles they are.
    """

    first: int
    last: int
    after: int
    missed: int
    until: int


class Held:
    """Messages that wait, in the order of their cursors, each once; at most MAX_HELD."""

    __slots__ = ("_figures", "messages")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.messages: list[Message] = []

    def __bool__(self) -> bool:
        return bool(self.messages)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another one."""
        return len(self.messages) >= MAX_HELD

    def add(self, message: Message) -> None:
        """Let a message wait, unless it does already."""
        at = bisect_left(self.messages, message.cursor, key=_cursor)
        for known in self.messages[at : at + MAX_TIES]:
            if known.cursor != message.cursor:
                break
            if known.payload == message.payload:
                self._figures.duplicates_total += 1
                return
        if not self.is_full:
            insort(self.messages, message, key=_cursor)
            self._figures.held_total += 1


class Arbiter(ABC):
    """Decides what of one stream is handed on, and when.

    `on_epoch` is called before the first message of a new epoch is handed on; `clock` reads s and
    never goes back.
    """

    __slots__ = ("_clock", "_figures", "_older", "_older_at", "_older_since", "_older_than", "_on_epoch", "hole")

    def __init__(self, figures: Figures, on_epoch: Callable[[], None], clock: Callable[[], float]) -> None:
        self._figures = figures
        self._on_epoch = on_epoch
        self._clock = clock
        self._older_than: int | None = None
        self._older_since = self._older_at = 0.0
        self._older = 0
        self.hole: Hole | None = None
        """What is missing before the first of the messages held; None while none is."""

    @property
    def is_full(self) -> bool:
        """Whether no more messages can be held."""
        return False

    @abstractmethod
    def begin(self, message: Message) -> None:
        """Take `message` as handed on already: what comes up to it is not news."""

    @abstractmethod
    def take(self, message: Message) -> Sequence[Message]:
        """What may be handed on now that `message` has come, in order."""

    def pass_over(self) -> Sequence[Message]:
        """What may be handed on now that the hole stays: up to the next one."""
        return ()

    def fill(self, messages: Sequence[Message]) -> list[Message]:
        """What may be handed on now that these messages, in order, were got from elsewhere."""
        filled: list[Message] = []
        for message in messages:
            if self.hole is None:
                break
            before = len(filled)
            filled += self.take(message)
            self._figures.repaired_total += len(filled) > before
        return filled

    def _begins_anew(self, last: int) -> bool:
        """Count a message that is older than the one with cursor `last`; true = a new epoch begins with it."""
        now = self._clock()
        if self._older_than != last:  # something was handed on since the last older one
            self._older_than, self._older_since, self._older = last, now, 0
        if not self._older or now - self._older_at >= EPOCH_S / EPOCH_MESSAGES:
            self._older += 1
            self._older_at = now
        if self._older < EPOCH_MESSAGES or now - self._older_since < EPOCH_S:
            return False
        self._figures.epochs_total += 1
        self._on_epoch()
        return True


def _cursor(message: Message) -> int:
    return message.cursor
