"""A maintained order book, and Binance's procedure for joining changes to a snapshot. Pure.

Ingestors join the exchange's changes to its REST snapshot, replicas join the same changes to the
ingestor's snapshot: one procedure serves both. Sources: Binance "How to manage a local order book
correctly" (spot and USD-M futures).
"""

from bisect import bisect_left
from collections import deque
from enum import Enum
from typing import Final

import msgspec

from market.payloads import BOOK_SNAPSHOT, BookUpdate, Level
from market.streams import Market

MAX_LEVELS: Final = 10_000
"""Levels that one side keeps; beyond it the one farthest from the other side is dropped.

The recorded futures books reach some 5,000 levels a side within six minutes. A whole book stays
below 1 MiB of JSON.
"""
MAX_HELD: Final = 1_000
"""Changes that wait for a snapshot, 100 s of them at 100 ms; beyond it the oldest is dropped."""
MAX_OLD: Final = 100
"""Changes in a row that are older than the book, after which the exchange's ids have begun anew."""

_DECIMALS: Final = 18

_decode: Final = msgspec.json.Decoder(BookUpdate).decode
_encode: Final = msgspec.json.Encoder().encode


class _RestDepth(msgspec.Struct):
    last_update_id: int = msgspec.field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]
    event_ms: int = msgspec.field(name="E", default=0)  # futures only


_decode_rest: Final = msgspec.json.Decoder(_RestDepth).decode


def decode_book(payload: bytes) -> BookUpdate:
    """One message of a book stream, or of the `@depth` stream it is made of. Raises msgspec.ValidationError."""
    return _decode(payload)


def snapshot_from_rest(symbol: str, body: bytes) -> BookUpdate:
    """The snapshot in a response of `depth`. Raises msgspec.ValidationError."""
    rest = _decode_rest(body)
    return BookUpdate(BOOK_SNAPSHOT, rest.event_ms, symbol.upper(), rest.last_update_id, rest.bids, rest.asks)


class BookSide:
    """The levels of one side. `sign` is 1 for bids, -1 for asks: of price times sign the highest is the best."""

    __slots__ = ("_keys", "_levels", "_max_levels", "_sign", "dropped_total")

    def __init__(self, sign: int, max_levels: int) -> None:
        self._sign = sign
        self._max_levels = max_levels
        # Ascending, so that the lively end, where levels come and go, is the cheap one.
        self._keys: list[int] = []
        self._levels: dict[int, Level] = {}
        self.dropped_total = 0
        """Levels given up for want of room."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best(self) -> Level | None:
        """The best level, or None where the side is empty."""
        return self._levels[self._keys[-1]] if self._keys else None

    @property
    def best_key(self) -> int | None:
        """The best price in 10^-18, or None where the side is empty."""
        return self._keys[-1] * self._sign if self._keys else None

    def levels(self) -> list[Level]:
        """All levels, best first."""
        return [self._levels[key] for key in reversed(self._keys)]

    def top(self, count: int) -> list[Level]:
        """The best `count` levels, best first."""
        return [self._levels[key] for key in self._keys[: -count - 1 : -1]]

    def set(self, level: Level) -> None:
        """Set a level; quantity 0 deletes it, and deleting what is not there is normal.

        Raises ValueError for what is no price.
        """
        price, quantity = level
        key = _scaled(price) * self._sign
        known = key in self._levels
        if not quantity.strip("0."):
            if known:
                del self._levels[key]
                del self._keys[bisect_left(self._keys, key)]
            return
        if not known:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._levels[key] = level
        if len(self._keys) > self._max_levels:
            del self._levels[self._keys.pop(0)]
            self.dropped_total += 1


class OrderBook:
    """Both sides of a book as of `update_id`; prices and quantities stay the strings that the exchange sent."""

    __slots__ = ("asks", "bids", "event_ms", "symbol", "update_id")

    def __init__(self, snapshot: BookUpdate, max_levels: int = MAX_LEVELS) -> None:
        self.symbol = snapshot.symbol
        self.update_id = snapshot.last_update_id
        self.event_ms = snapshot.event_ms
        """The exchange's time of the latest change, in ms; 0 while only a spot snapshot is known."""
        self.bids = BookSide(1, max_levels)
        self.asks = BookSide(-1, max_levels)
        self._set(snapshot)

    @property
    def crossed(self) -> bool:
        """Whether a bid is at or above an ask: no book of an exchange is, so something was missed."""
        bid, ask = self.bids.best_key, self.asks.best_key
        return bid is not None and ask is not None and bid >= ask

    def apply(self, diff: BookUpdate) -> None:
        """Take over changed levels; quantities are absolute. Raises ValueError for what is no price."""
        self._set(diff)
        self.update_id = diff.last_update_id
        self.event_ms = diff.event_ms

    def encode(self) -> bytes:
        """The book as a `bookSnapshot` message, best levels first."""
        bids, asks = self.bids.levels(), self.asks.levels()
        return _encode(BookUpdate(BOOK_SNAPSHOT, self.event_ms, self.symbol, self.update_id, bids, asks))

    def _set(self, update: BookUpdate) -> None:
        for level in update.bids:
            self.bids.set(level)
        for level in update.asks:
            self.asks.set(level)


class Outcome(Enum):
    """What became of a change."""

    HELD = "held"
    """There is no book yet: it waits for a snapshot."""
    OLD = "old"
    """The book has it already."""
    APPLIED = "applied"
    """The book is newer by it."""
    GAP = "gap"
    """Something before it is missing: the book is given up, and this change waits for a new snapshot."""


class BookBuilder:
    """One book, made of a snapshot and the changes that follow it, in whatever order the two come.

    `book` is None until they are joined, and again after a gap; it is never crossed.
    """

    __slots__ = ("_bridged", "_held", "_market", "_old", "book", "gaps_total")

    def __init__(self, market: Market) -> None:
        self._market = market
        self._held: deque[BookUpdate] = deque(maxlen=MAX_HELD)
        """Changes that wait, each the one after the one before."""
        self._bridged = False
        self._old = 0
        self.book: OrderBook | None = None
        self.gaps_total = 0

    def add(self, diff: BookUpdate) -> Outcome:
        """Take the next change. Raises ValueError for what is no price; the book is given up then."""
        book = self.book
        if book is None:
            self._hold(diff)
            return Outcome.HELD
        try:
            outcome = self._apply(book, diff)
        except ValueError:
            self.restart()
            raise
        self._old = self._old + 1 if outcome is Outcome.OLD else 0
        if outcome is Outcome.GAP or book.crossed or self._old >= MAX_OLD:
            self.gaps_total += 1
            self.restart()
            self._held.append(diff)
            return Outcome.GAP
        return outcome

    def join(self, snapshot: BookUpdate) -> bool:
        """Make the book of a snapshot and the changes held; False = a newer snapshot is needed.

        That is so where a change between the snapshot and the first one held is missing, or where
        the result is crossed. Raises ValueError for what is no price; the changes held are given up then.
        """
        self._bridged = False
        try:
            book = OrderBook(snapshot)
            for diff in self._held:
                if self._apply(book, diff) is Outcome.GAP:
                    return False
                book.event_ms = max(book.event_ms, diff.event_ms)
        except ValueError:
            self.restart()
            raise
        if book.crossed:
            return False
        self.book = book
        self._held.clear()
        self._old = 0
        return True

    def restart(self) -> None:
        """Give up the book and the changes held."""
        self.book = None
        self._held.clear()
        self._old = 0

    def _hold(self, diff: BookUpdate) -> None:
        if self._held:
            last_id = self._held[-1].last_update_id
            if diff.last_update_id <= last_id and self._old < MAX_OLD:
                self._old += 1
                return
            if not self._follows(diff, last_id):
                self._held.clear()  # what came before a gap joins nothing
        self._old = 0
        self._held.append(diff)

    def _follows(self, diff: BookUpdate, last_id: int) -> bool:
        if self._market is Market.FUTURES:
            return diff.previous_update_id == last_id
        return _first_id(diff) <= last_id + 1 <= diff.last_update_id

    def _apply(self, book: OrderBook, diff: BookUpdate) -> Outcome:
        last_id = book.update_id
        # Futures: the change that ends where the snapshot was taken may hold levels beyond the snapshot's depth.
        bridges = self._market is Market.FUTURES and not self._bridged
        if diff.last_update_id < last_id or (diff.last_update_id == last_id and not bridges):
            return Outcome.OLD
        if not self._follows(diff, last_id) and not (bridges and _first_id(diff) <= last_id):
            return Outcome.GAP
        book.apply(diff)
        self._bridged = True
        return Outcome.APPLIED


def _first_id(diff: BookUpdate) -> int:
    # A snapshot among the changes follows nothing.
    return diff.first_update_id if diff.first_update_id is not None else diff.last_update_id + 1


def _scaled(price: str) -> int:
    """An exact price in 10^-18. Decimal would do, but hashes four times as slowly."""
    whole, _, fraction = price.partition(".")
    digits = whole + fraction.ljust(_DECIMALS, "0")
    if not whole or len(fraction) > _DECIMALS or not digits.isdecimal():
        raise ValueError(f"not a price: {price[:40]}")
    return int(digits)
