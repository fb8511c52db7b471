"""The simulated market: seeded, driven by simulated time, the same for the same seed and start.

Every 100 ms of simulated time each symbol makes one step: its fair price moves, makers quote around
it, and takers trade against what is quoted. Trades, book, candles, tickers, mark price and
liquidations all follow from that one sequence of events. The fair price is drawn towards the path
that the seeded history goes on to tell, so that a restarted exchange goes on where prices were. How often
and in what portions `advance` is called changes nothing, nor does who listens.

Prices and quantities are integers throughout; only the fair price, which nobody sees, is a float.
"""

import random
from typing import Final

from exchange.book import Book, BookSide
from exchange.candles import CandleStore, Trade
from exchange.feed import Feed, SymbolFeed
from exchange.history import SeededHistory, SplitCache
from exchange.symbols import Listing, listings
from exchange.venue import Instrument, Liquidation, Venue
from market.intervals import DAY_MS, MINUTE_MS, SECOND_MS
from market.streams import Market

STEP_MS: Final = 100
SLOT_MS: Final = 10
"""Symbols take their steps in turn, one slot after the other, so that not all speak at once."""

LEVELS_PER_SIDE: Final = 200

_MEAN_NOTIONAL: Final = 700
_MOVE_CHANCE: Final = 0.35
_MOVE: Final = 2.5e-5
_PULL: Final = 0.02
_GAP: Final = 1.5e-5
_FILLS_PER_ORDER: Final = 1.25
_DEEPEST_FILL: Final = 4
_LIQUIDATION_CHANCE: Final = 0.0004


class SimulatedSymbol:
    """One symbol's market makers and takers; prices in ticks, quantities in steps until they are told."""

    def __init__(self, listing: Listing, seed: int, start_ms: int, trades_per_second: float, cache: SplitCache) -> None:
        spec = listing.spec
        self._tick, self._step_size = spec.tick, spec.step
        self._draw = random.Random(f"{seed}:{spec.market}:{spec.symbol}:{start_ms}")  # noqa: S311 # a market
        ticks = listing.price // spec.tick
        notional = 10 ** (spec.price_decimals + spec.quantity_decimals) * _MEAN_NOTIONAL
        self._mean_steps = max(2, notional // (listing.price * spec.step))
        per_day = max(1, round(trades_per_second * DAY_MS / SECOND_MS))
        self._history = SeededHistory(
            spec, seed, cache, price=listing.price, trades_per_day=per_day, mean_steps=self._mean_steps
        )
        # Twice as fast as trades come: ids grow on across a restart, whatever the draw.
        self._next_id = int(start_ms // SECOND_MS * max(1.0, 2 * trades_per_second))
        self._history.anchor(start_ms, self._next_id)
        price = self._history.node(0, start_ms).open
        self._fair = float(price)
        self._gap = max(1, int(ticks * _GAP))
        self._order_gap_ms = _FILLS_PER_ORDER * SECOND_MS / trades_per_second
        self._next_order_ms = start_ms + self._draw.expovariate(1.0) * self._order_gap_ms
        self._target = (0, 0.0, 0.0)
        # Some 100 levels change a second.
        book = Book(update_id=start_ms // SECOND_MS * 400)
        self.instrument = Instrument(spec, book, CandleStore(start_ms, price * spec.tick, self._history))
        self._open_book(price)

    def step(self, now_ms: int, feed: Feed, symbol: SymbolFeed) -> None:
        """Live through the STEP_MS that end at `now_ms` and tell `feed`."""
        self._move(now_ms)
        symbol.on_book(now_ms)
        while self._next_order_ms <= now_ms:
            self._take(max(now_ms - STEP_MS + 1, int(self._next_order_ms)), now_ms, symbol)
            self._next_order_ms += self._draw.expovariate(1.0) * self._order_gap_ms
        if self.instrument.spec.market is Market.FUTURES:
            self._liquidate(now_ms, feed, symbol)
        diff = self.instrument.book.take_diff()
        if diff is not None:
            symbol.on_diff(diff)
        symbol.on_time(now_ms)

    def _open_book(self, price: int) -> None:
        book = self.instrument.book
        self._fill(book.bids, price - 1)
        self._fill(book.asks, price + 1)
        book.take_diff()

    def _fill(self, side: BookSide, best: int) -> None:
        """Quote from `best` away from the other side until the side is full or has reached zero."""
        worst = side.worst
        price = best if worst is None else worst // self._tick - side.sign * self._jump()
        while len(side) < LEVELS_PER_SIDE and price > 0:
            self._set(side, price, self._quote())
            price -= side.sign * self._jump()

    def _move(self, now_ms: int) -> None:
        draw = self._draw
        if draw.random() < _MOVE_CHANCE:
            self._fair += draw.gauss(0.0, 1.0) * _MOVE * self._fair + _PULL * (self._pulled_to(now_ms) - self._fair)
            self._fair = max(3.0, self._fair)
        book = self.instrument.book
        spread = 1 if draw.random() < 0.7 else 1 + int(draw.random() * 3)  # noqa: PLR2004 # mostly one tick
        bid = max(1, int(self._fair) - spread // 2)
        self._requote(book.bids, book.asks, bid)
        self._requote(book.asks, book.bids, bid + spread)
        for side in (book.bids, book.asks):
            price = side.price_at(int(draw.random() * draw.random() * len(side)))
            if price is not None:
                self._set(side, price // self._tick, self._quote())

    def _requote(self, side: BookSide, other: BookSide, best: int) -> None:
        """Make `best` the best price of `side`: clear what stands before it on either side, keep the sides full."""
        sign, units = side.sign, best * self._tick
        while (known := side.best) is not None and known * sign > units * sign:
            self._set(side, known // self._tick, 0)
        while (known := other.best) is not None and known * sign <= units * sign:
            self._set(other, known // self._tick, 0)
        if not side.quantity(units):
            self._set(side, best, self._quote())
        while len(side) > LEVELS_PER_SIDE and (worst := side.worst) is not None:
            self._set(side, worst // self._tick, 0)
        if len(side) < LEVELS_PER_SIDE:
            self._fill(side, best)

    def _take(self, at_ms: int, now_ms: int, symbol: SymbolFeed) -> None:
        """One taker order: it fills against the best levels, each fill is a trade."""
        draw, book = self._draw, self.instrument.book
        buys = draw.random() < 0.5  # noqa: PLR2004 # as many buyers as sellers
        side = book.asks if buys else book.bids
        left = max(1, int(draw.expovariate(1.0) * self._mean_steps * _FILLS_PER_ORDER)) * self._step_size
        for _ in range(_DEEPEST_FILL):
            price = side.best
            # The last level stays: a book is never empty.
            if price is None or left <= 0 or len(side) == 1:
                break
            offered = side.quantity(price)
            filled = min(left, offered)
            book.set(side, price, offered - filled)
            left -= filled
            symbol.on_trade(Trade(self._next_id, price, filled, at_ms, not buys), now_ms)
            self._next_id += 1
        symbol.on_book(now_ms)

    def _liquidate(self, now_ms: int, feed: Feed, symbol: SymbolFeed) -> None:
        if self._draw.random() >= _LIQUIDATION_CHANCE:
            return
        buys = self._draw.random() < 0.5  # noqa: PLR2004 # as many shorts as longs
        top = self.instrument.book.top
        if top is None:
            return
        average = top.ask if buys else top.bid
        worse = max(1, average // self._tick // 200) * self._tick
        quantity = self._quote() * self._step_size
        last = max(self._step_size, quantity // self._step_size // 3 * self._step_size)
        price = average + worse if buys else max(self._tick, average - worse)
        side = "BUY" if buys else "SELL"
        feed.on_liquidation(symbol, Liquidation(side, price, average, quantity, last, now_ms), now_ms)

    def _pulled_to(self, now_ms: int) -> float:
        """The price that the history tells for this moment, in ticks."""
        minute = now_ms // MINUTE_MS * MINUTE_MS
        if self._target[0] != minute:
            node = self._history.node(1, minute)
            self._target = (minute, float(node.open), float(node.close))
        _, opened, closed = self._target
        return opened + (closed - opened) * (now_ms - minute) / MINUTE_MS

    def _set(self, side: BookSide, price: int, quantity: int) -> None:
        self.instrument.book.set(side, price * self._tick, quantity * self._step_size)

    def _jump(self) -> int:
        return 1 + int(self._draw.random() * 2 * self._gap)

    def _quote(self) -> int:
        return max(1, int(self._draw.expovariate(1.0) * self._mean_steps * 6))


class Simulation:
    """All simulated symbols of both markets, from `start_ms` (cut to a full second) on."""

    def __init__(
        self, venue: Venue, feed: Feed, *, symbols: int, seed: int, trades_per_second: float, start_ms: int
    ) -> None:
        start_ms = start_ms // SECOND_MS * SECOND_MS
        venue.now_ms = start_ms
        self._venue = venue
        self._feed = feed
        cache = SplitCache()
        slots = STEP_MS // SLOT_MS
        self._slots: list[list[tuple[SimulatedSymbol, SymbolFeed]]] = [[] for _ in range(slots)]
        for number, listing in enumerate(listings(symbols)):
            symbol = SimulatedSymbol(listing, seed, start_ms, trades_per_second, cache)
            self._slots[number % slots].append((symbol, feed.add(symbol.instrument)))
        self._link_indices()

    @property
    def now_ms(self) -> int:
        """How far the market has lived; a multiple of SLOT_MS."""
        return self._venue.now_ms

    def advance(self, until_ms: int) -> None:
        """Live on to `until_ms`."""
        while self._venue.now_ms + SLOT_MS <= until_ms:
            self._venue.now_ms += SLOT_MS
            now_ms = self._venue.now_ms
            for symbol, symbol_feed in self._slots[now_ms // SLOT_MS % len(self._slots)]:
                symbol.step(now_ms, self._feed, symbol_feed)
            if now_ms % STEP_MS == 0:
                self._feed.on_time(now_ms)
                self._link_indices()

    def _link_indices(self) -> None:
        """A contract's index price is what its asset costs on spot."""
        for instrument in self._venue.of(Market.FUTURES):
            spec = instrument.spec
            bundle = 1_000 if spec.base.startswith("1000") else 1
            spot = self._venue.get(Market.SPOT, spec.symbol.removeprefix("1000"))
            top = spot.book.top if spot is not None else None
            if spot is not None and top is not None:
                middle = (top.bid + top.ask) // 2 * bundle
                instrument.index = middle // 10 ** (spot.spec.price_decimals - spec.price_decimals)
