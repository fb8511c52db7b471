"""A recording as an exchange: its payloads byte for byte, at its pace, and what follows from them.

A stream is served from the recording where it was recorded under that name; the diff depth of a
symbol is served from whichever speed was recorded (`@depth` from `depth@100ms` or `depth@0ms`). All
other kinds are derived from the recorded trades and books. REST tells the state that the recording
has reached.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from exchange.book import Book, Levels, Top
from exchange.broadcast import Broadcast
from exchange.candles import CandleStore, Trade
from exchange.connections import Sockets
from exchange.feed import Feed, SymbolFeed
from exchange.fixed import to_units
from exchange.recording import Contents, RecordedMessage, decode_levels, depth_symbol, read
from exchange.symbols import SymbolSpec
from exchange.venue import Instrument, Venue
from market.errors import MarketError
from market.payloads import AggTrade, BookTicker, DepthUpdate
from market.payloads import Trade as TradePayload
from market.streams import PARTIAL_DEPTHS, Kind, Market, StreamName

TURN_MESSAGES: Final = 64
"""Messages that are handed out before they are written and readers are waited for."""
HIGH_WATER: Final = 256 * 1024
"""Bytes unread by a client for which the replay waits."""
STALL_S: Final = 30.0
"""How long the replay waits for a client that reads nothing at all before it cuts the client off."""

_WAIT_S: Final = 0.005
_TICK_MS: Final = 100
_DIFF_NAMES: Final = ("depth", "depth@100ms", "depth@0ms", "depth@250ms", "depth@500ms", "depth@1000ms")

_log = structlog.get_logger(__name__)

_Handle = Callable[[RecordedMessage], None]


class Replay:
    """Plays a recording into the markets' state and out to subscribers.

    Each client that reads gets every message; the whole replay waits for the slowest of them, and
    then makes up for the time lost.
    """

    def __init__(self, path: Path, contents: Contents, venue: Venue, broadcast: Broadcast, sockets: Sockets) -> None:
        self.rounds = 0
        self.messages_total = 0
        self.underived_total = 0
        self._path = path
        self._contents = contents
        self._venue = venue
        self._broadcast = broadcast
        self._sockets = sockets
        self._feed = Feed(venue, broadcast.publish)
        self._rewind()

    def want(self, stream: StreamName) -> None:
        """Derive `stream` from now on, unless it was recorded."""
        if not self._is_recorded(stream):
            self._feed.want(stream)

    def unwant(self, stream: StreamName) -> None:
        """Derive `stream` no longer."""
        self._feed.unwant(stream)

    async def play(self, *, speed: float, loop: bool) -> None:
        """Play from the beginning, again and again where `loop` says so."""
        while True:
            self._rewind()
            self.rounds += 1
            _log.info("replay begins", path=str(self._path), messages=self._contents.messages, speed=speed)
            await self._play_once(speed)
            if not loop:
                return
            # An empty recording must not keep the loop busy.
            await asyncio.sleep(_WAIT_S)

    async def _play_once(self, speed: float) -> None:
        began, first_ms, in_turn = time.monotonic(), None, 0
        for message in read(self._path):
            if message.ts is not None:
                first_ms = message.ts if first_ms is None else first_ms
                due = began + (message.ts - first_ms) / 1_000 / speed
                if due - time.monotonic() > _WAIT_S:
                    await self._end_turn()
                    in_turn = 0
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._hand_out(message)
            in_turn += 1
            if in_turn >= TURN_MESSAGES:
                await self._end_turn()
                in_turn = 0
        await self._end_turn()

    async def _end_turn(self) -> None:
        """Write, let others work, and wait for readers that lag."""
        self._broadcast.flush()
        await asyncio.sleep(0)
        stalled: dict[object, tuple[int, float]] = {}
        while True:
            lagging = [one for one in self._sockets.open if not one.is_closing and one.backlog > HIGH_WATER]
            if not lagging:
                return
            now = time.monotonic()
            for connection in lagging:
                least, since = stalled.get(connection, (connection.backlog + 1, now))
                if connection.backlog < least:
                    stalled[connection] = (connection.backlog, now)
                elif now - since > STALL_S:
                    _log.warning("client has stopped reading, cut off", route=connection.route.name)
                    connection.abort()
            await asyncio.sleep(_WAIT_S)

    def _rewind(self) -> None:
        """Forget what was played; subscriptions stay."""
        self._skew_ms = 0
        self._tick_ms = 0
        self._handlers: dict[tuple[Market, str], _Handle] = {}
        self._symbols: dict[tuple[Market, str], SymbolFeed] = {}
        self._venue.now_ms = 0
        traded = {key for key, kind in map(_kind_of, self._contents.streams) if kind is Kind.TRADE}
        for spec in self._contents.specs:
            feed = self._feed.add(Instrument(spec, Book(), CandleStore()))
            key = (spec.market, spec.symbol)
            self._symbols[key] = feed
            self._handlers.update(_handlers(self, feed, has_trades=key in traded))

    def _hand_out(self, message: RecordedMessage) -> None:
        self.messages_total += 1
        if message.ts is not None:
            self._venue.now_ms = max(self._venue.now_ms, message.ts + self._skew_ms)
        if message.stream is None:
            self._derive(self._on_snapshot, message)
            return
        self._broadcast.publish(message.market, message.stream, message.payload)
        handler = self._handlers.get((message.market, message.stream))
        if handler is not None:
            self._derive(handler, message)
        if self._venue.now_ms >= self._tick_ms + _TICK_MS:
            self._tick_ms = self._venue.now_ms // _TICK_MS * _TICK_MS
            for feed in self._symbols.values():
                feed.on_time(self._venue.now_ms)
            self._feed.on_time(self._venue.now_ms)

    def _derive(self, handler: _Handle, message: RecordedMessage) -> None:
        """Let the state follow; a payload that it cannot follow was published all the same."""
        try:
            handler(message)
        except (msgspec.DecodeError, ValueError) as error:
            self.underived_total += 1
            if self.underived_total == 1:
                _log.warning("recorded payload not understood", stream=message.stream, error=str(error))

    def observe(self, event_ms: int, message: RecordedMessage) -> int:
        """Learn the exchange's time from an event time; returns it."""
        if message.ts is not None:
            self._skew_ms = max(self._skew_ms, event_ms - message.ts) if self._skew_ms else event_ms - message.ts
        self._venue.now_ms = max(self._venue.now_ms, event_ms)
        return self._venue.now_ms

    def republish(self, message: RecordedMessage) -> None:
        """Serve the other speeds of a symbol's diff depth from this one."""
        symbol, _, recorded = (message.stream or "").partition("@")
        for name in _DIFF_NAMES:
            if name != recorded and (message.market, f"{symbol}@{name}") not in self._contents.streams:
                self._broadcast.publish(message.market, f"{symbol}@{name}", message.payload)

    def _on_snapshot(self, message: RecordedMessage) -> None:
        symbol = depth_symbol(message.path)
        feed = self._symbols.get((message.market, symbol or ""))
        if feed is None:
            return
        levels = decode_levels(message.payload)
        spec, book = feed.instrument.spec, Book()
        book.apply(levels.last_update_id, _levels(spec, levels.bids), _levels(spec, levels.asks))
        feed.instrument.book = book

    def _is_recorded(self, stream: StreamName) -> bool:
        recorded = self._contents.streams
        if stream.kind is Kind.DEPTH:
            return any((stream.market, f"{stream.symbol}@{name}") in recorded for name in _DIFF_NAMES)
        return (stream.market, stream.binance_name) in recorded


_decode_trade: Final = msgspec.json.Decoder(TradePayload).decode
_decode_agg_trade: Final = msgspec.json.Decoder(AggTrade).decode
_decode_book_ticker: Final = msgspec.json.Decoder(BookTicker).decode
_decode_depth: Final = msgspec.json.Decoder(DepthUpdate).decode


def _handlers(replay: Replay, feed: SymbolFeed, *, has_trades: bool) -> dict[tuple[Market, str], _Handle]:
    """What each recorded stream of a symbol does to its state."""
    instrument, spec = feed.instrument, feed.instrument.spec

    def on_trade(message: RecordedMessage) -> None:
        trade = _decode_trade(message.payload)
        now_ms = replay.observe(trade.event_ms, message)
        quantity = to_units(trade.quantity, spec.quantity_decimals)
        # Futures announce void executions with quantity 0.
        if quantity:
            price = to_units(trade.price, spec.price_decimals)
            feed.on_trade(Trade(trade.trade_id, price, quantity, trade.trade_ms, trade.buyer_is_maker), now_ms)

    def on_agg_trade(message: RecordedMessage) -> None:
        trade = _decode_agg_trade(message.payload)
        now_ms = replay.observe(trade.event_ms, message)
        price, quantity = to_units(trade.price, spec.price_decimals), to_units(trade.quantity, spec.quantity_decimals)
        feed.on_trade(Trade(trade.last_trade_id, price, quantity, trade.trade_ms, trade.buyer_is_maker), now_ms)

    def on_book_ticker(message: RecordedMessage) -> None:
        quote = _decode_book_ticker(message.payload)
        price, quantity = spec.price_decimals, spec.quantity_decimals
        instrument.quoted = Top(
            quote.update_id,
            to_units(quote.bid, price),
            to_units(quote.bid_quantity, quantity),
            to_units(quote.ask, price),
            to_units(quote.ask_quantity, quantity),
        )

    def on_depth(message: RecordedMessage) -> None:
        replay.republish(message)
        update = _decode_depth(message.payload)
        now_ms = replay.observe(update.event_ms, message)
        # Older than the snapshot: what it says is in there already.
        if update.last_update_id > instrument.book.update_id:
            instrument.book.apply(update.last_update_id, _levels(spec, update.bids), _levels(spec, update.asks))
            feed.on_book(now_ms)

    def on_partial_depth(message: RecordedMessage) -> None:
        levels = decode_levels(message.payload)
        book = Book()
        bids, asks = levels.bids or levels.b, levels.asks or levels.a
        book.apply(levels.last_update_id or levels.u, _levels(spec, bids), _levels(spec, asks))
        instrument.book = book
        feed.on_book(replay.observe(replay.now_ms, message))

    by_kind: dict[Kind, _Handle] = {Kind.TRADE: on_trade, Kind.BOOK_TICKER: on_book_ticker, Kind.DEPTH: on_depth}
    if not has_trades:
        by_kind[Kind.AGG_TRADE] = on_agg_trade
    found: dict[tuple[Market, str], _Handle] = {}
    return found


def _levels(spec: SymbolSpec, levels: list[tuple[str, str]]) -> Levels:
    price, quantity = spec.price_decimals, spec.quantity_decimals
    return [(to_units(p, price), to_units(q, quantity)) for p, q in levels]


def _kind_of(stream: tuple[Market, str]) -> tuple[tuple[Market, str], Kind | None]:
    market, text = stream
    try:
        name = StreamName.parse(text, market)
    except MarketError:
        return (market, text), None
    return (market, name.symbol.upper()), name.kind
