"""The state of all markets: what the simulator or the replay feeds, and what streams and REST show."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from exchange.book import Book, Top
from exchange.candles import AggTrade, Candle, CandleStore, Trade
from exchange.symbols import SymbolSpec
from market.intervals import HOUR_MS, MINUTE_MS
from market.streams import Market

FUNDING_MS: Final = 8 * HOUR_MS
AVERAGE_MINUTES: Final = 5
"""What an average price is made of (Binance, avgPriceMins of exchangeInfo)."""
KEPT_TRADES: Final = 500
"""Trades and aggregates that each instrument remembers for REST."""
_RATE_DECIMALS: Final = 8
_MARK_DECIMALS: Final = 8
# The premium above which funding leaves its usual 0.01 % (Binance, "Introduction to Funding Rates").
_USUAL_RATE: Final = 10_000
_DEAD_BAND: Final = 50_000


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Mark and index price in 10^-8, the funding rate in 10^-8, and when funding is next paid (ms)."""

    price: int
    index: int
    rate: int
    next_funding_ms: int


class Liquidation(msgspec.Struct, frozen=True, gc=False):
    """One forced order, filled at once; prices and quantities in units."""

    side: str
    price: int
    average: int
    quantity: int
    last_quantity: int
    time_ms: int


class Instrument:
    """One symbol of one market: book, candles, last trade, and what follows from them."""

    def __init__(self, spec: SymbolSpec, book: Book, candles: CandleStore) -> None:
        self.spec = spec
        self.book = book
        self.candles = candles
        self.trades: deque[Trade] = deque(maxlen=KEPT_TRADES)
        self.aggregates: deque[AggTrade] = deque(maxlen=KEPT_TRADES)
        self.index: int | None = None
        """Price of the asset elsewhere, in units; None = as the book has it."""
        self.quoted: Top | None = None
        """The top as a bookTicker told it, where that is newer than the book."""
        self.awaits_book = False
        """Whether the recording has yet to come to the book's snapshot; until then the book is empty."""
        self.recorded_depth: bytes | None = None
        """That snapshot as it was received."""

    @property
    def last(self) -> Trade | None:
        """The latest trade."""
        return self.trades[-1] if self.trades else None

    @property
    def top(self) -> Top | None:
        """Best bid and ask: the newer of what the book and the last bookTicker say."""
        top = self.book.top
        if self.quoted is not None and (top is None or self.quoted.update_id > top.update_id):
            return self.quoted
        return top

    @property
    def last_price(self) -> int:
        """Price of the last trade in units; before the first one, of the candle that is open."""
        return self.trades[-1].price if self.trades else self.candles.day().close

    def recent(self, now_ms: int) -> Candle:
        """What was traded in the last AVERAGE_MINUTES."""
        since = now_ms - AVERAGE_MINUTES * MINUTE_MS
        total = Candle.empty(since, self.last_price)
        for candle in self.candles.rows("1m", since, None, AVERAGE_MINUTES):
            total.absorb(candle)
        return total

    def on_trade(self, trade: Trade) -> None:
        """Count one trade in."""
        self.trades.append(trade)
        self.candles.add(trade)

    def mark(self, now_ms: int) -> Mark:
        """Mark price (the middle of the book) and the funding rate that its premium asks for."""
        scale: int = 10 ** (_MARK_DECIMALS - self.spec.price_decimals)
        top = self.top
        middle = (top.bid + top.ask) * scale // 2 if top else self.last_price * scale
        index = self.index * scale if self.index is not None else middle
        premium = (middle - index) * 10**_RATE_DECIMALS // index if index else 0
        rate = premium + max(-_DEAD_BAND, min(_DEAD_BAND, _USUAL_RATE - premium))
        return Mark(middle, index, rate, (now_ms // FUNDING_MS + 1) * FUNDING_MS)


class Venue:
    """All instruments and the exchange's clock."""

    def __init__(self, instruments: Iterable[Instrument] = (), now_ms: int = 0) -> None:
        self.now_ms = now_ms
        """The exchange's time: simulated, or the latest event time of the replay; ms since the epoch."""
        self.instruments: dict[tuple[Market, str], Instrument] = {}
        for instrument in instruments:
            self.add(instrument)

    def add(self, instrument: Instrument) -> None:
        """List one more symbol, or list it anew."""
        self.instruments[instrument.spec.market, instrument.spec.symbol] = instrument

    def get(self, market: Market, symbol: str) -> Instrument | None:
        """The instrument of an upper-case symbol, or None."""
        return self.instruments.get((market, symbol))

    def of(self, market: Market) -> list[Instrument]:
        """All instruments of a market, in the order of their listing."""
        return [instrument for instrument in self.instruments.values() if instrument.spec.market is market]
