"""The markets' state as a recording tells it: clock, trades, books, from the recorded payloads."""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
import structlog

from binance.recordings import RecordedMessage
from exchange.book import Book, Levels, Top
from exchange.candles import CandleStore, Trade
from exchange.feed import Feed, SymbolFeed
from exchange.fixed import to_units
from exchange.recording import Contents, decode_levels, depth_symbol
from exchange.symbols import SymbolSpec
from exchange.venue import Instrument, Venue
from market import payloads
from market.errors import MarketError
from market.streams import PARTIAL_DEPTHS, Kind, Market, StreamName

_TICK_MS: Final = 100
_RECENT_UPDATES: Final = 100

_log = structlog.get_logger(__name__)
_decode_trade: Final = msgspec.json.Decoder(payloads.Trade).decode
_decode_agg_trade: Final = msgspec.json.Decoder(payloads.AggTrade).decode
_decode_book_ticker: Final = msgspec.json.Decoder(payloads.BookTicker).decode
_decode_depth: Final = msgspec.json.Decoder(payloads.DepthUpdate).decode


class Clock:
    """The exchange's time while a recording plays: event times, carried on by receive times."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._received_ms: int | None = None
        self._ahead_ms: int | None = None
        venue.now_ms = 0

    def hear(self, received_ms: int | None) -> None:
        """A message was received at this time, in the collector's clock."""
        self._received_ms = received_ms
        if received_ms is not None and self._ahead_ms is not None:
            self._venue.now_ms = max(self._venue.now_ms, received_ms + self._ahead_ms)

    def observe(self, event_ms: int) -> int:
        """The message tells this time of the exchange; returns the time that it is now, in ms."""
        if self._received_ms is not None:
            ahead = event_ms - self._received_ms
            self._ahead_ms = ahead if self._ahead_ms is None else max(self._ahead_ms, ahead)
        self._venue.now_ms = max(self._venue.now_ms, event_ms)
        return self._venue.now_ms


class _Symbol:
    """One symbol: each method takes one kind's payload into its state."""

    def __init__(self, feed: SymbolFeed, clock: Clock, recorded: frozenset[Kind]) -> None:
        self._feed = feed
        self._clock = clock
        self._instrument = feed.instrument
        self._price = feed.instrument.spec.price_decimals
        self._quantity = feed.instrument.spec.quantity_decimals
        self._recent: deque[tuple[int, Levels, Levels]] = deque(maxlen=_RECENT_UPDATES)
        self.handlers: dict[Kind, Callable[[bytes], None]] = {
            Kind.TRADE: self._on_trade,
            Kind.BOOK_TICKER: self._on_book_ticker,
            Kind.DEPTH: self._on_depth,
        }
        # The same news must not count twice.
        if Kind.TRADE not in recorded:
            self.handlers[Kind.AGG_TRADE] = self._on_agg_trade
        if Kind.DEPTH not in recorded:
            self.handlers.update(dict.fromkeys(PARTIAL_DEPTHS, self.on_snapshot))

    def on_snapshot(self, payload: bytes) -> None:
        """A whole book: REST depth, or partial depth where that is all there is."""
        found = decode_levels(payload)
        book = Book()
        bids, asks = found.bids or found.b, found.asks or found.a
        book.apply(found.last_update_id or found.u, self._levels(bids), self._levels(asks))
        # A snapshot is received later than updates that it does not contain yet.
        for update_id, changed_bids, changed_asks in self._recent:
            if update_id > book.update_id:
                book.apply(update_id, changed_bids, changed_asks)
        self._instrument.book = book

    def on_recorded_depth(self, payload: bytes) -> None:
        """An answer of REST depth; whoever asked for it before gets these bytes."""
        self.on_snapshot(payload)
        self._instrument.recorded_depth = payload
        self._instrument.awaits_book = False

    def _on_trade(self, payload: bytes) -> None:
        trade = _decode_trade(payload)
        quantity = to_units(trade.quantity, self._quantity)
        # Futures announce executions that are no trades with quantity 0.
        if quantity:
            self._add(trade.trade_id, trade, to_units(trade.price, self._price), quantity)

    def _on_agg_trade(self, payload: bytes) -> None:
        trade = _decode_agg_trade(payload)
        price, quantity = to_units(trade.price, self._price), to_units(trade.quantity, self._quantity)
        self._add(trade.last_trade_id, trade, price, quantity)

    def _add(self, trade_id: int, trade: payloads.Trade | payloads.AggTrade, price: int, quantity: int) -> None:
        now_ms = self._clock.observe(trade.event_ms)
        self._feed.on_trade(Trade(trade_id, price, quantity, trade.trade_ms, trade.buyer_is_maker), now_ms)

    def _on_book_ticker(self, payload: bytes) -> None:
        quote = _decode_book_ticker(payload)
        self._instrument.quoted = Top(
            quote.update_id,
            to_units(quote.bid, self._price),
            to_units(quote.bid_quantity, self._quantity),
            to_units(quote.ask, self._price),
            to_units(quote.ask_quantity, self._quantity),
        )

    def _on_depth(self, payload: bytes) -> None:
        update = _decode_depth(payload)
        now_ms = self._clock.observe(update.event_ms)
        book = self._instrument.book
        # What is older than the snapshot is in it already.
        if update.last_update_id > book.update_id:
            bids, asks = self._levels(update.bids), self._levels(update.asks)
            self._recent.append((update.last_update_id, bids, asks))
            if self._instrument.awaits_book:
                return
            book.apply(update.last_update_id, bids, asks)
            self._feed.on_book(now_ms)

    def _levels(self, levels: list[tuple[str, str]]) -> Levels:
        return [(to_units(price, self._price), to_units(quantity, self._quantity)) for price, quantity in levels]


_Handlers: TypeAlias = dict[tuple[Market, str], Callable[[bytes], None] | None]


class Follower:
    """Takes every recorded message into the markets' state and lets `feed` tell what is derived from it."""

    def __init__(self, contents: Contents, venue: Venue, feed: Feed) -> None:
        self.not_understood_total = 0
        self._venue = venue
        self._feed = feed
        self._clock = Clock(venue)
        self._tick_ms = 0
        self._feeds: list[SymbolFeed] = []
        self._symbols: dict[tuple[Market, str], _Symbol] = {}
        self._handlers: _Handlers = {}
        for spec in contents.specs:
            self._list(spec, contents)

    def follow(self, message: RecordedMessage) -> None:
        """Take one message in; one that cannot be understood is counted, the first one logged."""
        self._clock.hear(message.ts)
        self._pass_time()
        try:
            handler = self._handler(message)
            if handler is not None:
                handler(message.payload)
        except (msgspec.DecodeError, ValueError) as error:
            self.not_understood_total += 1
            if self.not_understood_total == 1:
                _log.warning("recorded payload not understood", stream=message.stream, error=str(error))

    def finish(self) -> None:
        """Tell what the last messages have led to."""
        self._tick(self._venue.now_ms)

    def _pass_time(self) -> None:
        now_ms = self._venue.now_ms
        if self._tick_ms == 0:
            self._tick_ms = now_ms
        due_ms = self._tick_ms + _TICK_MS
        if now_ms >= due_ms:
            # After a pause: first what was due soon after the messages before it.
            if now_ms > due_ms:
                self._tick(due_ms)
            self._tick(now_ms)

    def _tick(self, now_ms: int) -> None:
        self._venue.now_ms = self._tick_ms = now_ms
        for feed in self._feeds:
            feed.on_time(now_ms)
        self._feed.on_time(now_ms)

    def _list(self, spec: SymbolSpec, contents: Contents) -> None:
        recorded = frozenset(
            stream.kind
            for stream in contents.streams
            if stream.market is spec.market and stream.pair.upper() == spec.symbol
        )
        instrument = Instrument(spec, Book(), CandleStore())
        instrument.awaits_book = (spec.market, spec.symbol) in contents.books
        feed = self._feed.add(instrument)
        self._feeds.append(feed)
        self._symbols[spec.market, spec.symbol] = _Symbol(feed, self._clock, recorded)

    def _handler(self, message: RecordedMessage) -> Callable[[bytes], None] | None:
        if message.stream is None:
            symbol = self._symbols.get((message.market, depth_symbol(message.path) or ""))
            return symbol.on_recorded_depth if symbol is not None else None
        key = (message.market, message.stream)
        if key not in self._handlers:
            self._handlers[key] = self._find(message.market, message.stream)
        return self._handlers[key]

    def _find(self, market: Market, name: str) -> Callable[[bytes], None] | None:
        try:
            stream = StreamName.parse(name, market)
        except MarketError:
            return None
        symbol = self._symbols.get((market, stream.pair.upper()))
        return symbol.handlers.get(stream.kind) if symbol is not None else None
