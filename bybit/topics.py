"""What becomes of one topic's messages: payloads for the streams that it carries. Pure.

An order book topic sends a snapshot, then deltas; `u` counts its messages one by one, and begins anew after a
restart of Bybit's. Source: Bybit v5 "Orderbook".
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from bybit import payloads
from bybit.payloads import SNAPSHOT, Book, Frame
from bybit.trades import TradePayloads, Trades
from market.book import BookSide, OrderBook
from market.payloads import BOOK_SNAPSHOT, BookUpdate, Level
from market.streams import Kind, StreamName

DEPTH_UPDATE: Final = "depthUpdate"
MAX_STALE: Final = 20
"""Deltas in a row that come without the snapshot they belong to, 4 s of them, after which it is asked for again."""

_PARTIAL_LEVELS: Final = {Kind.DEPTH5: 5, Kind.DEPTH10: 10, Kind.DEPTH20: 20}

Told: TypeAlias = list[tuple[StreamName, bytes]]
"""Payloads to hand over, each with its stream, in order."""


class BookGapError(ValueError):
    """A message of an order book topic was missed, or the book has crossed: it needs a snapshot."""


class _Change(NamedTuple):
    """What a message did to the book: `diff` turned the one known before into this one, None where none was known."""

    diff: BookUpdate | None
    is_snapshot: bool


class Topic:
    """One topic and the streams that are wanted of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams: tuple[StreamName, ...] = ()
        self._book: OrderBook | None = None
        self._is_stale = True
        """Whether a snapshot has to come before the next delta."""
        self._stale_deltas = 0
        self._trades = Trades()
        self._tops: dict[StreamName, tuple[list[Level], list[Level]]] = {}
        """What each stream of the book's top has told last."""

    def want(self, streams: Iterable[StreamName]) -> Told:
        """Carry exactly `streams` from now on; what can be told of new ones at once, from the book that is known."""
        wanted = tuple(sorted(streams))
        added = [stream for stream in wanted if stream not in self.streams]
        self.streams = wanted
        self._tops = {stream: top for stream, top in self._tops.items() if stream in wanted}
        return [] if self._is_stale else self._tell(added, _Change(None, is_snapshot=True))

    def lose(self) -> None:
        """Expect a snapshot, or recent trades: messages may be missed from here on."""
        self._is_stale = True
        self._stale_deltas = 0
        self._trades.lose()

    @property
    def awaits_trades(self) -> bool:
        """Whether live trades wait for the recent ones (`mend`)."""
        return self._trades.is_behind

    def mend(self, recent: TradePayloads) -> tuple[Told, bool]:
        """Tell of the trades that were missed and those that waited; false = some may be missing between."""
        is_whole = self._trades.reaches(recent)
        return self._all(self._trades.mend(recent)), is_whole

    def take(self, frame: Frame) -> Told:
        """Take the topic's next message. Raises BookGapError, ValueError for what cannot be understood."""
        family = self.name.partition(".")[0]
        if family == "orderbook":
            return self._take_book(frame)
        if family == "publicTrade":
            return self._all(self._trades.take(payloads.trades(frame)))
        if family == "kline":
            return self._all(payloads.klines(frame))
        return [(stream, payloads.ticker(frame, stream.kind)) for stream in self.streams]

    def _all(self, mapped: Iterable[bytes]) -> Told:
        return [(stream, payload) for payload in mapped for stream in self.streams]

    def _take_book(self, frame: Frame) -> Told:
        book = payloads.parse_book(frame)
        try:
            change = self._change(book, frame.cts or frame.ts, is_snapshot=_is_snapshot(frame, book))
        except ValueError:
            self._is_stale = True
            raise
        return self._tell(self.streams, change) if change is not None else []

    def _change(self, book: Book, at_ms: int, *, is_snapshot: bool) -> _Change | None:
        known = self._book
        if is_snapshot:
            if known is not None and not self._is_stale and known.update_id == book.update_id:
                return None  # repeated because nothing has changed
            snapshot = BookUpdate(BOOK_SNAPSHOT, at_ms, book.symbol, book.update_id, book.bids, book.asks)
            self._book = OrderBook(snapshot)
            self._is_stale = False
            return _Change(_difference(known, self._book), is_snapshot=True)
        if known is None or self._is_stale:
            self._stale_deltas += 1
            if self._stale_deltas % MAX_STALE == 0:
                raise BookGapError(f"{self.name} has sent no snapshot")
            return None
        if book.update_id <= known.update_id:
            return None
        if book.update_id != known.update_id + 1:
            raise BookGapError(f"{self.name} goes from {known.update_id} to {book.update_id}")
        last_id = book.update_id
        diff = BookUpdate(DEPTH_UPDATE, at_ms, book.symbol, last_id, book.bids, book.asks, first_update_id=last_id)
        known.apply(diff)
        if known.crossed:
            raise BookGapError(f"{self.name} has crossed")
        return _Change(diff, is_snapshot=False)

    def _tell(self, streams: Iterable[StreamName], change: _Change) -> Told:
        told: Told = []
        for stream in streams:
            payload = self._payload(stream, change)
            if payload is not None:
                told.append((stream, payload))
        return told

    def _payload(self, stream: StreamName, change: _Change) -> bytes | None:
        book = self._book
        if book is None:
            return None
        if stream.kind is Kind.BOOK and change.is_snapshot:
            return book.encode()
        if stream.kind in (Kind.BOOK, Kind.DEPTH):
            return payloads.depth_update(change.diff) if change.diff is not None else None
        levels = _PARTIAL_LEVELS.get(stream.kind, 1)
        bids, asks = top = (book.bids.top(levels), book.asks.top(levels))
        if self._tops.get(stream) == top:
            return None
        self._tops[stream] = top
        if stream.kind is not Kind.BOOK_TICKER:
            return payloads.partial_depth(book.update_id, bids, asks)
        # With one side empty there is no best bid and ask to tell.
        return payloads.book_ticker(book.symbol, book.update_id, bids[0], asks[0]) if bids and asks else None


def _is_snapshot(frame: Frame, book: Book) -> bool:
    """Whether it is the whole book; after a restart of its service Bybit sends that with update id 1."""
    return frame.type == SNAPSHOT or book.update_id == 1


def _difference(known: OrderBook | None, book: OrderBook) -> BookUpdate | None:
    """What turns the book known before into `book`, so that changes follow changes across a lost connection."""
    if known is None or book.update_id <= known.update_id:
        return None  # ids have begun anew: nothing leads from the one to the other
    bids, asks = _changed(known.bids, book.bids), _changed(known.asks, book.asks)
    first_id, last_id = known.update_id + 1, book.update_id
    return BookUpdate(DEPTH_UPDATE, book.event_ms, book.symbol, last_id, bids, asks, first_update_id=first_id)


def _changed(known: BookSide, side: BookSide) -> list[Level]:
    before, after = dict(known.levels()), dict(side.levels())
    gone: list[Level] = [(price, "0") for price in before if price not in after]
    return gone + [level for level in after.items() if before.get(level[0]) != level[1]]
