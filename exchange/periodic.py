"""Streams that are sent by the clock: klines, tickers, depth, mark price."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from exchange.book import Diff
from exchange.candles import Candle
from exchange.encoding import FUTURES, SPOT, encoder_of
from exchange.venue import Instrument
from market.intervals import HOUR_MS, next_open_time, open_time
from market.streams import SPOT_ONLY, Kind, Market, StreamName

_LEVELS: Final = {Kind.DEPTH5: 5, Kind.DEPTH10: 10, Kind.DEPTH20: 20}
# Depth without a speed in its name.
_DEPTH_MS: Final = {Market.SPOT: 1_000, Market.FUTURES: 250}
_TICKER_MS: Final = {Market.SPOT: 1_000, Market.FUTURES: 2_000}


class Periodic(ABC):
    """One stream with a period; sends at multiples of it, counted from 1970."""

    def __init__(self, instrument: Instrument, period_ms: int) -> None:
        self._instrument = instrument
        self._encoder = encoder_of(instrument.spec.market)
        self._period_ms = max(1, period_ms)
        self._due_ms = 0

    def due(self, now_ms: int) -> Iterator[bytes]:
        """The payloads to send at `now_ms`: none before the period is over."""
        if now_ms >= self._due_ms:
            self._due_ms = (now_ms // self._period_ms + 1) * self._period_ms
            yield from self._payloads(now_ms)

    def on_diff(self, diff: Diff) -> None:  # noqa: B027 # most streams have no use for it
        """Hear of changed levels; only diff depth listens."""

    @abstractmethod
    def _payloads(self, now_ms: int) -> Iterator[bytes]: ...


def periodic_of(stream: StreamName, instrument: Instrument) -> Periodic | None:
    """The sender of `stream`, or None for kinds that are sent as things happen."""
    market = stream.market
    if stream.kind in (Kind.KLINE, Kind.CONTINUOUS_KLINE):
        klines = Klines if stream.kind is Kind.KLINE else _ContinuousKlines
        return klines(instrument, stream.option)
    if stream.kind in SPOT_ONLY | {Kind.TICKER, Kind.MINI_TICKER}:
        return _Figures(instrument, stream.kind, _TICKER_MS[market])
    speed = int(stream.option.removesuffix("ms")) if stream.option.endswith("ms") else _DEPTH_MS[market]
    if stream.kind is Kind.DEPTH:
        return _Diffs(instrument, speed)
    if stream.kind in _LEVELS:
        return _PartialDepth(instrument, _LEVELS[stream.kind], speed)
    if stream.kind is Kind.MARK_PRICE:
        return _MarkPrice(instrument, 1_000 if stream.option == "1s" else 3_000)
    return None


class Klines(Periodic):
    """Sends the open candle when it has changed, and each closed one once more as closed."""

    def __init__(self, instrument: Instrument, option: str) -> None:
        self._interval, _, zone = option.partition("@")
        self._option = option
        self._shift_ms = 8 * HOUR_MS if zone else 0
        slow = 1_000 if self._interval == "1s" else 2_000
        super().__init__(instrument, slow if instrument.spec.market is Market.SPOT else 250)
        self._open_ms = -1
        self._sent = -1

    def due(self, now_ms: int) -> Iterator[bytes]:
        """Closed candles at once, the open one by the clock."""
        current = self._open_time(self._instrument.candles.open_ms)
        if self._open_ms < 0:
            self._open_ms = current
        while self._open_ms < current:
            done = self._instrument.candles.candle(self._interval, self._open_ms, self._shift_ms)
            if done is None:
                self._open_ms = current
                break
            yield self._encode(done, now_ms, closed=True)
            self._open_ms = next_open_time(self._interval, self._open_ms + self._shift_ms) - self._shift_ms
            self._sent = -1
        yield from super().due(now_ms)

    def _payloads(self, now_ms: int) -> Iterator[bytes]:
        candle = self._instrument.candles.candle(self._interval, self._open_ms, self._shift_ms)
        if candle is not None and candle.trades != self._sent:
            self._sent = candle.trades
            yield self._encode(candle, now_ms, closed=False)

    def _open_time(self, at_ms: int) -> int:
        return open_time(self._interval, at_ms + self._shift_ms) - self._shift_ms

    def _encode(self, candle: Candle, now_ms: int, *, closed: bool) -> bytes:
        return self._encoder.kline(self._instrument.spec, candle, self._option, closed=closed, now_ms=now_ms)


class _ContinuousKlines(Klines):
    """Those of a perpetual, under the name of its continuous contract."""

    def _encode(self, candle: Candle, now_ms: int, *, closed: bool) -> bytes:
        return FUTURES.continuous_kline(self._instrument.spec, candle, self._option, closed=closed, now_ms=now_ms)


class _Figures(Periodic):
    """Tickers, window tickers and average prices."""

    def __init__(self, instrument: Instrument, kind: Kind, period_ms: int) -> None:
        super().__init__(instrument, period_ms)
        self._kind = kind

    def _payloads(self, now_ms: int) -> Iterator[bytes]:
        match self._kind:
            case Kind.TICKER:
                yield self._encoder.ticker(self._instrument, now_ms)
            case Kind.MINI_TICKER:
                yield self._encoder.mini_ticker(self._instrument, now_ms)
            case Kind.AVG_PRICE:
                yield SPOT.average_price(self._instrument, now_ms)
            case _:
                yield SPOT.window_ticker(self._instrument, self._kind, now_ms)


class _MarkPrice(Periodic):
    def _payloads(self, now_ms: int) -> Iterator[bytes]:
        yield FUTURES.mark_price(self._instrument.spec, self._instrument.mark(now_ms), now_ms)


class _PartialDepth(Periodic):
    def __init__(self, instrument: Instrument, levels: int, period_ms: int) -> None:
        super().__init__(instrument, period_ms)
        self._levels = levels
        self._sent_id = -1

    def _payloads(self, now_ms: int) -> Iterator[bytes]:
        update_id = self._instrument.book.update_id
        if update_id != self._sent_id:
            previous = self._sent_id if self._sent_id >= 0 else update_id - 1
            self._sent_id = update_id
            yield self._encoder.partial_depth(self._instrument, self._levels, previous, now_ms)


class _Diffs(Periodic):
    """Gathers changed levels over its period; message follows message without a gap in the ids."""

    def __init__(self, instrument: Instrument, period_ms: int) -> None:
        super().__init__(instrument, period_ms)
        self._gathered: Diff | None = None

    def on_diff(self, diff: Diff) -> None:
        known = self._gathered
        if known is None:
            # Several streams gather from one diff: its levels are copied, never changed.
            self._gathered = diff._replace(bids=dict(diff.bids), asks=dict(diff.asks))
            return
        known.bids.update(diff.bids)
        known.asks.update(diff.asks)
        self._gathered = known._replace(last_id=diff.last_id)

    def _payloads(self, now_ms: int) -> Iterator[bytes]:
        diff, self._gathered = self._gathered, None
        if diff is not None:
            yield self._encoder.depth_update(self._instrument.spec, diff, now_ms)
