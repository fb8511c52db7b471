"""From the markets' state to the streams that somebody wants; nothing else is ever encoded.

Speeds as in Binance "WebSocket Streams" and "Websocket Market Streams": klines every 2 s on spot
(1 s for 1s) and 250 ms on futures, tickers every 1 s and 2 s, mark prices every 3 s or 1 s, depth as
its name says. A stream that would only repeat itself stays silent until something changes.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from exchange.book import Diff, Top
from exchange.candles import AggTrade, Trade
from exchange.encoding import FUTURES, SPOT, encoder_of
from exchange.periodic import Periodic, periodic_of
from exchange.venue import Instrument, Liquidation, Venue
from market.streams import ALL, ARRAY, WINDOW_TICKERS, Kind, Market, StreamName

Publish: TypeAlias = Callable[[Market, str, bytes], None]
"""Called with market, Binance's stream name and payload."""

_FORCE_ORDER_GAP_MS: Final = 1_000


class Mirror(Protocol):
    """Another exchange's view of the same instrument, which hears what its streams hear."""

    def on_trade(self, trade: Trade) -> None:
        """A trade was counted in."""

    def on_time(self, now_ms: int) -> None:
        """Everything that happened up to now was told."""


class SymbolFeed:
    """The wanted streams of one instrument."""

    def __init__(self, instrument: Instrument, publish: Publish) -> None:
        self.instrument = instrument
        self.mirror: Mirror | None = None
        self._publish = publish
        self._encoder = encoder_of(instrument.spec.market)
        self._events: dict[Kind, str] = {}
        self._periodic: dict[StreamName, Periodic] = {}
        self._aggregate: AggTrade | None = None
        self._aggregate_id: int | None = None
        self._top: Top | None = None
        self._last_forced_ms = 0

    def want(self, stream: StreamName) -> None:
        """Encode `stream` from now on."""
        periodic = periodic_of(stream, self.instrument)
        if periodic is not None:
            self._periodic[stream] = periodic
        else:
            self._events[stream.kind] = stream.binance_name

    def unwant(self, stream: StreamName) -> None:
        """Encode `stream` no longer."""
        if self._periodic.pop(stream, None) is None:
            self._events.pop(stream.kind, None)

    def on_trade(self, trade: Trade, now_ms: int) -> None:
        """Count a trade in and tell of it."""
        self.instrument.on_trade(trade)
        self._aggregate_trade(trade, now_ms)
        name = self._events.get(Kind.TRADE)
        if name is not None:
            self._send(name, self._encoder.trade(self.instrument.spec, trade, now_ms))
        if self.mirror is not None:
            self.mirror.on_trade(trade)

    def on_book(self, now_ms: int) -> None:
        """Tell of the best bid and ask if they have changed."""
        name = self._events.get(Kind.BOOK_TICKER)
        if name is None:
            return
        top = self.instrument.top
        if top is not None and (self._top is None or top[1:] != self._top[1:]):
            self._top = top
            self._send(name, self._encoder.book_ticker(self.instrument.spec, top, now_ms))

    def on_liquidation(self, order: Liquidation, now_ms: int) -> bytes | None:
        """Tell of a forced order, at most one a second; returns the payload for the all-market stream."""
        if now_ms - self._last_forced_ms < _FORCE_ORDER_GAP_MS:
            return None
        self._last_forced_ms = now_ms
        payload = FUTURES.force_order(self.instrument.spec, order, now_ms)
        name = self._events.get(Kind.FORCE_ORDER)
        if name is not None:
            self._send(name, payload)
        return payload

    def on_diff(self, diff: Diff) -> None:
        """Add changed levels to the depth streams, which send them when they are due."""
        for periodic in self._periodic.values():
            periodic.on_diff(diff)

    def on_time(self, now_ms: int) -> None:
        """Close candles and send what is due."""
        self.instrument.candles.advance(now_ms)
        self.flush_aggregate(now_ms)
        for stream, periodic in self._periodic.items():
            for payload in periodic.due(now_ms):
                self._send(stream.binance_name, payload)
        if self.mirror is not None:
            self.mirror.on_time(now_ms)

    def flush_aggregate(self, now_ms: int) -> None:
        """End the open aggregate of trades and tell of it."""
        done, self._aggregate = self._aggregate, None
        if done is None:
            return
        self.instrument.aggregates.append(done)
        name = self._events.get(Kind.AGG_TRADE)
        if name is not None:
            self._send(name, self._encoder.agg_trade(self.instrument.spec, done, now_ms))

    def _aggregate_trade(self, trade: Trade, now_ms: int) -> None:
        """Join trades of one moment, price and side: what one taker order filled at one price."""
        known = self._aggregate
        if (
            known is not None
            and known.time_ms == trade.time_ms
            and known.price == trade.price
            and known.buyer_is_maker == trade.buyer_is_maker
        ):
            number, first, quantity = known.trade_id, known.first_id, known.quantity + trade.quantity
        else:
            if known is not None:
                self.flush_aggregate(now_ms)
            # Ids need only be consecutive: they begin where the trades' do.
            number = trade.trade_id if self._aggregate_id is None else self._aggregate_id + 1
            first, quantity = trade.trade_id, trade.quantity
            self._aggregate_id = number
        self._aggregate = AggTrade(
            trade_id=number,
            price=trade.price,
            quantity=quantity,
            time_ms=trade.time_ms,
            buyer_is_maker=trade.buyer_is_maker,
            first_id=first,
            last_id=trade.trade_id,
        )

    def _send(self, name: str, payload: bytes) -> None:
        self._publish(self.instrument.spec.market, name, payload)


class Feed:
    """The wanted streams of all instruments, the all-market streams included."""

    def __init__(self, venue: Venue, publish: Publish) -> None:
        self._venue = venue
        self._publish = publish
        self._symbols: dict[tuple[Market, str], SymbolFeed] = {}
        self._arrays: dict[StreamName, _AllMarket] = {}
        self._wanted: set[StreamName] = set()
        self._force_order_name: str | None = None

    def add(self, instrument: Instrument) -> SymbolFeed:
        """Begin to serve an instrument, or serve a symbol's new one."""
        spec = instrument.spec
        self._venue.add(instrument)
        feed = SymbolFeed(instrument, self._publish)
        self._symbols[spec.market, spec.symbol.lower()] = feed
        for stream in self._wanted:
            if stream.market is spec.market and _listed_symbol(stream) == spec.symbol.lower():
                feed.want(stream)
        return feed

    def symbol(self, market: Market, symbol: str) -> SymbolFeed | None:
        """The streams of one lower-case symbol, None where it is not listed."""
        return self._symbols.get((market, symbol))

    def want(self, stream: StreamName) -> None:
        """Encode `stream`, which Binance has, from now on; an unknown symbol's stays silent."""
        self._wanted.add(stream)
        if stream.symbol == ARRAY:
            self._arrays[stream] = _AllMarket(stream, self._venue)
            return
        if stream.symbol == ALL:
            self._force_order_name = stream.binance_name
            return
        feed = self._symbols.get((stream.market, _listed_symbol(stream)))
        if feed is not None:
            feed.want(stream)

    def unwant(self, stream: StreamName) -> None:
        """Encode `stream` no longer."""
        self._wanted.discard(stream)
        if stream.symbol == ARRAY:
            self._arrays.pop(stream, None)
            return
        if stream.symbol == ALL:
            self._force_order_name = None
            return
        feed = self._symbols.get((stream.market, _listed_symbol(stream)))
        if feed is not None:
            feed.unwant(stream)

    def on_liquidation(self, feed: SymbolFeed, order: Liquidation, now_ms: int) -> None:
        """Tell of a forced order on the symbol's stream and on that of all symbols."""
        payload = feed.on_liquidation(order, now_ms)
        if payload is not None and self._force_order_name is not None:
            self._publish(Market.FUTURES, self._force_order_name, payload)

    def on_time(self, now_ms: int) -> None:
        """Send the all-market streams that are due."""
        for stream, every in self._arrays.items():
            for payload in every.due(now_ms):
                self._publish(stream.market, stream.binance_name, payload)


class _AllMarket:
    """One all-market stream: arrays of what has changed, and `!bookTicker` one symbol at a time."""

    def __init__(self, stream: StreamName, venue: Venue) -> None:
        self._stream = stream
        self._venue = venue
        slow = stream.kind is Kind.MARK_PRICE and stream.option != "1s"
        self._period_ms = 5_000 if stream.kind is Kind.BOOK_TICKER else 3_000 if slow else 1_000
        self._due_ms = 0
        self._seen: dict[str, int] = {}

    def due(self, now_ms: int) -> list[bytes]:
        """The payloads to send at `now_ms`."""
        if now_ms < self._due_ms:
            return []
        self._due_ms = (now_ms // self._period_ms + 1) * self._period_ms
        bodies = [body for body in map(self._body, self._venue.of(self._stream.market)) if body is not None]
        if self._stream.kind is Kind.BOOK_TICKER or not bodies:
            return bodies
        return [b"[" + b",".join(bodies) + b"]"]

    def _body(self, instrument: Instrument) -> bytes | None:
        spec, now_ms, kind = instrument.spec, self._venue.now_ms, self._stream.kind
        if kind is Kind.MARK_PRICE:
            return FUTURES.mark_price(spec, instrument.mark(now_ms), now_ms)
        top = instrument.top
        if kind is Kind.BOOK_TICKER:
            if top is None or not self._is_new(spec.symbol, top.update_id):
                return None
            return encoder_of(spec.market).book_ticker(spec, top, now_ms)
        if instrument.last is None or not self._is_new(spec.symbol, instrument.last.trade_id):
            return None
        if kind in WINDOW_TICKERS:
            return SPOT.window_ticker(instrument, kind, now_ms)
        encoder = encoder_of(spec.market)
        return encoder.ticker(instrument, now_ms) if kind is Kind.TICKER else encoder.mini_ticker(instrument, now_ms)

    def _is_new(self, symbol: str, number: int) -> bool:
        if self._seen.get(symbol) == number:
            return False
        self._seen[symbol] = number
        return True


def _listed_symbol(stream: StreamName) -> str:
    """The symbol whose trades make the stream; all that are listed here are perpetual, so are their contracts."""
    is_contract = stream.kind is Kind.CONTINUOUS_KLINE
    return stream.symbol.removesuffix("_perpetual") if is_contract else stream.symbol
