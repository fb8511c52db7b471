"""Bybit's topics, made of the simulated spot market: the same prices and trades in Bybit's words.

Sources: Bybit v5 "Trade", "Ticker", "Kline" and "Orderbook" (Websocket Stream, Public). Books are pushed as often
as the simulation moves, which is less often than on Bybit.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from bybit.names import INTERVAL_NAMES, TOP_LEVELS
from exchange.book import Book, BookSide, Levels
from exchange.candles import Candle, Trade
from exchange.feed import Feed, SymbolFeed
from exchange.fixed import ratio_text
from exchange.periodic import Klines
from exchange.venue import Instrument, Venue
from market.intervals import close_time
from market.streams import Market

PREFIX: Final = 2_290_000_000_000_000_000
"""What Bybit's trade ids begin with."""
REPEAT_MS: Final = 3_000
"""After how long the best bid and ask are told again, unchanged."""

_PERIODS_MS: Final = {1: 0, 50: 0, 200: 200}
_PERCENT_DECIMALS: Final = 4

_encode: Final = msgspec.json.Encoder().encode


def trimmed(text: str) -> str:
    """A decimal number as Bybit prints it: no zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Topic(ABC):
    """One wanted topic of one instrument."""

    def __init__(self, name: str, instrument: Instrument) -> None:
        self.name = name
        self.instrument = instrument

    def on_trade(self, trade: Trade) -> None:  # noqa: B027 # most topics have no use for it
        """Hear of a trade."""

    def snapshot(self, now_ms: int) -> bytes | None:  # noqa: ARG002 # most topics have none
        """What a new subscriber gets first, None where it just waits."""
        return None

    @abstractmethod
    def due(self, now_ms: int) -> Iterator[bytes]:
        """The messages to send at `now_ms`."""

    def message(self, now_ms: int, data: Any, kind: str = "snapshot", **beside: int) -> bytes:  # noqa: ANN401 # JSON
        """One message of the topic."""
        return _encode({"topic": self.name, "ts": now_ms, "type": kind, "data": data} | beside)


class _Trades(_Topic):
    def __init__(self, name: str, instrument: Instrument) -> None:
        super().__init__(name, instrument)
        self._gathered: list[Trade] = []

    def on_trade(self, trade: Trade) -> None:
        self._gathered.append(trade)

    def due(self, now_ms: int) -> Iterator[bytes]:
        trades, self._gathered = self._gathered, []
        if trades:
            yield self.message(now_ms, [self._trade(trade) for trade in trades])

    def _trade(self, trade: Trade) -> dict[str, Any]:
        spec = self.instrument.spec
        return {
            "i": str(PREFIX + trade.trade_id),
            "T": trade.time_ms,
            "p": trimmed(spec.price_text(trade.price)),
            "v": trimmed(spec.quantity_text(trade.quantity)),
            "S": "Sell" if trade.buyer_is_maker else "Buy",
            "s": spec.symbol,
            "BT": False,
            "RPI": False,
            "seq": self.instrument.book.update_id,
        }


class _Ticker(_Topic):
    def __init__(self, name: str, instrument: Instrument) -> None:
        super().__init__(name, instrument)
        self._sent: int | None = None

    def snapshot(self, now_ms: int) -> bytes:
        instrument = self.instrument
        spec, day = instrument.spec, instrument.candles.day()
        data = {
            "symbol": spec.symbol,
            "lastPrice": trimmed(spec.price_text(day.close)),
            "highPrice24h": trimmed(spec.price_text(day.high)),
            "lowPrice24h": trimmed(spec.price_text(day.low)),
            "prevPrice24h": trimmed(spec.price_text(day.open)),
            "volume24h": trimmed(spec.quantity_text(day.volume)),
            "turnover24h": trimmed(spec.quote_text(day.quote)),
            "price24hPcnt": ratio_text(day.close - day.open, day.open, _PERCENT_DECIMALS),
            "usdIndexPrice": "",
        }
        return self.message(now_ms, data, cs=instrument.book.update_id)

    def due(self, now_ms: int) -> Iterator[bytes]:
        last = self.instrument.last
        if last is not None and last.trade_id != self._sent:
            self._sent = last.trade_id
            yield self.snapshot(now_ms)


class _KlineSender(Klines):
    """Bybit's bytes of a candle where Binance's would be."""

    def __init__(self, topic: _Topic, spelt: str) -> None:
        super().__init__(topic.instrument, INTERVAL_NAMES[spelt])
        self._topic = topic
        self._spelt = spelt

    def _encode(self, candle: Candle, now_ms: int, *, closed: bool) -> bytes:
        spec = self._instrument.spec
        data = {
            "start": candle.open_ms,
            "end": close_time(self._option, candle.open_ms),
            "interval": self._spelt,
            "open": trimmed(spec.price_text(candle.open)),
            "close": trimmed(spec.price_text(candle.close)),
            "high": trimmed(spec.price_text(candle.high)),
            "low": trimmed(spec.price_text(candle.low)),
            "volume": trimmed(spec.quantity_text(candle.volume)),
            "turnover": trimmed(spec.quote_text(candle.quote)),
            "confirm": closed,
            "timestamp": now_ms,
        }
        return self._topic.message(now_ms, [data])


class _Klines(_Topic):
    def __init__(self, name: str, instrument: Instrument, spelt: str) -> None:
        super().__init__(name, instrument)
        self._sender = _KlineSender(self, spelt)

    def due(self, now_ms: int) -> Iterator[bytes]:
        return self._sender.due(now_ms)


class _OrderBook(_Topic):
    """The best levels: a snapshot for each subscriber, then what has changed; of the very best always a snapshot.

    A level that others have pushed out of the window is told as deleted, and told again when it is back.
    """

    def __init__(self, name: str, instrument: Instrument, levels: int) -> None:
        super().__init__(name, instrument)
        self._levels = levels
        self._due_ms = 0
        self._sent_ms = 0
        self._update_id = instrument.book.update_id
        self._bids, self._asks = self._window(instrument.book)

    def snapshot(self, now_ms: int) -> bytes:
        return self._book(now_ms, "snapshot", list(self._bids.items()), list(self._asks.items()))

    def due(self, now_ms: int) -> Iterator[bytes]:
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + _PERIODS_MS[self._levels]
        bids, asks = self._window(self.instrument.book)
        changed_bids, changed_asks = _changed(self._bids, bids), _changed(self._asks, asks)
        is_top = self._levels == TOP_LEVELS
        if changed_bids or changed_asks:
            self._bids, self._asks = bids, asks
            self._update_id += 1
            self._sent_ms = now_ms
            yield self.snapshot(now_ms) if is_top else self._book(now_ms, "delta", changed_bids, changed_asks)
        elif is_top and now_ms - self._sent_ms >= REPEAT_MS:
            self._sent_ms = now_ms
            yield self.snapshot(now_ms)

    def _window(self, book: Book) -> tuple[dict[int, int], dict[int, int]]:
        def best(side: BookSide) -> dict[int, int]:
            return dict(side.top(self._levels))

        return best(book.bids), best(book.asks)

    def _book(self, now_ms: int, kind: str, bids: Levels, asks: Levels) -> bytes:
        spec = self.instrument.spec

        def texts(levels: Levels) -> list[tuple[str, str]]:
            return [(trimmed(spec.price_text(price)), trimmed(spec.quantity_text(size))) for price, size in levels]

        data = {
            "s": spec.symbol,
            "b": texts(bids),
            "a": texts(asks),
            "u": self._update_id,
            "seq": self.instrument.book.update_id,
        }
        return self.message(now_ms, data, kind, cts=now_ms)


class _Symbol:
    """The wanted topics of one instrument (exchange/feed.py: Mirror)."""

    def __init__(self, publish: Callable[[Market, str, bytes], None]) -> None:
        self.topics: dict[str, _Topic] = {}
        self._publish = publish

    def on_trade(self, trade: Trade) -> None:
        for topic in self.topics.values():
            topic.on_trade(trade)

    def on_time(self, now_ms: int) -> None:
        for topic in self.topics.values():
            for message in topic.due(now_ms):
                self._publish(Market.BYBIT, topic.name, message)


class BybitMarket:
    """All topics that somebody wants; `feed` is what brings the spot market to life."""

    def __init__(self, venue: Venue, feed: Feed, publish: Callable[[Market, str, bytes], None]) -> None:
        self.venue = venue
        self._feed = feed
        self._publish = publish
        self._symbols: dict[str, _Symbol] = {}

    def has(self, name: str) -> bool:
        """Whether there is such a topic, of a symbol that is listed."""
        return self._make(name) is not None

    def want(self, name: str) -> None:
        """Send the topic's messages from now on."""
        topic = self._make(name)
        feed = self._feed_of(name)
        if topic is None or feed is None:
            return
        symbol = self._symbols.setdefault(name.rpartition(".")[2], _Symbol(self._publish))
        symbol.topics[name] = topic
        feed.mirror = symbol

    def unwant(self, name: str) -> None:
        """Send them no longer."""
        symbol, feed = self._symbols.get(name.rpartition(".")[2]), self._feed_of(name)
        if symbol is None or feed is None:
            return
        symbol.topics.pop(name, None)
        if not symbol.topics:
            feed.mirror = None

    def snapshot(self, name: str) -> bytes | None:
        """What a new subscriber of a wanted topic gets first, None where it just waits."""
        symbol = self._symbols.get(name.rpartition(".")[2])
        topic = symbol.topics.get(name) if symbol is not None else None
        return topic.snapshot(self.venue.now_ms) if topic is not None else None

    def _feed_of(self, name: str) -> SymbolFeed | None:
        return self._feed.symbol(Market.SPOT, name.rpartition(".")[2].lower())

    def _make(self, name: str) -> _Topic | None:
        family, _, rest = name.partition(".")
        option, _, symbol = rest.rpartition(".")
        instrument = self.venue.get(Market.SPOT, symbol)
        if instrument is None:
            return None
        if family == "publicTrade" and not option:
            return _Trades(name, instrument)
        if family == "tickers" and not option:
            return _Ticker(name, instrument)
        if family == "kline" and option in INTERVAL_NAMES:
            return _Klines(name, instrument, option)
        if family == "orderbook" and option.isdecimal() and int(option) in _PERIODS_MS:
            return _OrderBook(name, instrument, int(option))
        return None


def _changed(before: dict[int, int], after: dict[int, int]) -> Levels:
    gone = [(price, 0) for price in before if price not in after]
    return gone + [level for level in after.items() if before.get(level[0]) != level[1]]
