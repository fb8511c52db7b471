"""The market before the simulation began: any candle of any time, from the seed alone.

A day's candle follows from the seed and its date; it is split into 24 hours, an hour into four
quarters, a quarter into minutes, a minute into seconds. Splitting keeps the books balanced, so that
at every level

- the parts' trades, volume, quote volume and both taker sums add up to the whole's,
- the first opens and the last closes where the whole does, and each opens where the one before closed,
- the highest high and the lowest low are the whole's, and low <= open, close <= high,
- volume times low <= quote volume <= volume times high.

Hence all 16 intervals agree with each other. No trades underlie these candles: they say how many
there were, not which, and a second with one trade may open and close at two prices. A part's taker
share is the day's.
"""

import hashlib
import math
import random
from collections import OrderedDict
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from exchange.candles import LEVELS, Candle
from exchange.symbols import SymbolSpec
from market.intervals import DAY_MS
from market.streams import Market

DAY_LEVEL: Final = len(LEVELS) - 1
_MAX_SPLITS: Final = 1_000
_MASK: Final = 2**64 - 1
# How often a walk is bent towards its mean: each time the lack shrinks to a fraction.
_BENDS: Final = 4
# Waves that the price rides on: period in days and size as a part of the price.
_WAVES: Final = ((512, 0.35), (128, 0.20), (32, 0.10), (8, 0.05), (2, 0.02))


_SplitKey: TypeAlias = tuple[tuple[Market, str], int, int]


class Node(NamedTuple):
    """A candle in ticks and steps; `first` counts the trades since 1970 before it."""

    open: int
    high: int
    low: int
    close: int
    trades: int
    volume: int
    quote: int
    taker_volume: int
    taker_quote: int
    first: int


class SplitCache:
    """The latest splits of all symbols, at most _MAX_SPLITS of up to 60 nodes."""

    def __init__(self) -> None:
        self._splits: OrderedDict[_SplitKey, list[Node]] = OrderedDict()

    def get(self, key: _SplitKey) -> list[Node] | None:
        """The split under `key`, or None."""
        found = self._splits.get(key)
        if found is not None:
            self._splits.move_to_end(key)
        return found

    def put(self, key: _SplitKey, nodes: list[Node]) -> None:
        """Remember a split, forget the least used one."""
        self._splits[key] = nodes
        if len(self._splits) > _MAX_SPLITS:
            self._splits.popitem(last=False)


class SeededHistory:
    """One symbol's past; see the module's text for what holds.

    `price` (units) is what the symbol is worth on average, `trades_per_day` and `mean_steps` (steps
    per trade) how much it trades. Ids are those of trades counted back from `anchor`.
    """

    def __init__(
        self, spec: SymbolSpec, seed: int, cache: SplitCache, *, price: int, trades_per_day: int, mean_steps: int
    ) -> None:
        self._spec = spec
        self._price = price
        self._trades_per_day = trades_per_day
        self._mean_steps = mean_steps
        self._cache = cache
        self._name = (spec.market, spec.symbol)
        # Spot and futures of an asset share their draws, and so move together.
        self._key = _key_of(f"{seed}:{spec.base.removeprefix('1000')}")
        self._id_offset = 0
        self._quote_unit = spec.tick * spec.step

    def anchor(self, at_ms: int, next_id: int) -> None:
        """Number the trades so that the first at or after `at_ms` (a full second) gets `next_id`."""
        self._id_offset = next_id - self.node(0, at_ms).first

    def candle(self, level: int, open_ms: int) -> Candle:
        """The candle of LEVELS[level] that opens at `open_ms`, in the spec's units."""
        node = self.node(level, open_ms)
        tick, step, unit = self._spec.tick, self._spec.step, self._quote_unit
        first = node.first + self._id_offset if node.trades else -1
        return Candle(
            open_ms=open_ms,
            open=node.open * tick,
            high=node.high * tick,
            low=node.low * tick,
            close=node.close * tick,
            volume=node.volume * step,
            quote=node.quote * unit,
            trades=node.trades,
            taker_volume=node.taker_volume * step,
            taker_quote=node.taker_quote * unit,
            first_id=first,
            last_id=first + node.trades - 1 if node.trades else -1,
        )

    def node(self, level: int, open_ms: int) -> Node:
        """The same candle in ticks and steps."""
        if level == DAY_LEVEL:
            return self._day(open_ms // DAY_MS)
        longer = LEVELS[level + 1]
        parent_ms = open_ms // longer * longer
        key = (self._name, level, parent_ms)
        parts = self._cache.get(key)
        if parts is None:
            draw = random.Random(_mix(self._key, level, parent_ms))  # noqa: S311 # a market, not a secret
            parts = split(self.node(level + 1, parent_ms), longer // LEVELS[level], draw)
            self._cache.put(key, parts)
        return parts[(open_ms - parent_ms) // LEVELS[level]]

    def _day(self, day: int) -> Node:
        opened, closed = self._midnight_price(day), self._midnight_price(day + 1)
        rise, fall, busy, share = (_fraction(_mix(self._key, day, i)) for i in range(4))
        top, bottom = max(opened, closed), min(opened, closed)
        high = top + int(top * 0.03 * rise)
        low = max(1, bottom - int(bottom * 0.03 * fall))
        trades = self._trades_per_day
        volume = trades + int(trades * (self._mean_steps - 1) * (0.6 + 0.8 * busy))
        quote = volume * ((opened + closed) // 2)
        percent = 45 + int(10 * share)
        taker = volume * percent // 100
        return Node(opened, high, low, closed, trades, volume, quote, taker, quote * percent // 100, day * trades)

    def _midnight_price(self, day: int) -> int:
        ticks = self._price / self._spec.tick
        return max(10, int(ticks * math.exp(_swing(self._key, day))))


@lru_cache(maxsize=4_096)
def _swing(asset_key: int, day: int) -> float:
    """Logarithm of an asset's price at the start of `day` against its average."""
    swing = 0.0
    for period, size in _WAVES:
        index, into = divmod(day, period)
        here = _fraction(_mix(asset_key, period, index))
        there = _fraction(_mix(asset_key, period, index + 1))
        swing += size * (2 * (here + (there - here) * into / period) - 1)
    return swing


def split(whole: Node, parts: int, draw: random.Random) -> list[Node]:
    """`parts` candles that make up `whole`; which ones is up to `draw`."""
    trades = _shares(whole.trades, [0.5 + draw.random() for _ in range(parts)])
    extra = _shares(whole.volume - whole.trades, [count * (0.5 + draw.random()) for count in trades])
    volumes = [count + more for count, more in zip(trades, extra, strict=True)]
    closes = _path(whole, trades, volumes, draw)
    opens = [whole.open, *closes[:-1]]
    highs, lows = _extremes(whole, trades, opens, closes, draw)
    quotes = _quotes(whole, volumes, highs, lows)
    nodes: list[Node] = []
    first, volume_done, quote_done = whole.first, 0, 0
    for i in range(parts):
        volume_then, quote_then = volume_done + volumes[i], quote_done + quotes[i]
        taker = _between(whole.taker_volume, volume_done, volume_then, whole.volume)
        taker_quote = _between(whole.taker_quote, quote_done, quote_then, whole.quote)
        nodes.append(
            Node(opens[i], highs[i], lows[i], closes[i], trades[i], volumes[i], quotes[i], taker, taker_quote, first)
        )
        first += trades[i]
        volume_done, quote_done = volume_then, quote_then
    return nodes


def _shares(total: int, weights: list[float]) -> list[int]:
    """`total` in integers that add up to it, about in proportion to `weights`."""
    whole = math.fsum(weights)
    shares: list[int] = []
    reached, done = 0.0, 0
    for i, weight in enumerate(weights):
        reached += weight
        then = total if i == len(weights) - 1 or not whole else min(total, int(total * (reached / whole)))
        # What rounding leaves over must not fall to a part that has no weight.
        shares.append(then - done if weight else 0)
        done = then if weight else done
    if done < total:
        last = max(i for i, weight in enumerate(weights) if weight)
        shares[last] += total - done
    return shares


def _between(total: int, begin: int, end: int, whole: int) -> int:
    """The part of `total` that belongs to the stretch from `begin` to `end` of `whole`."""
    return total * end // whole - total * begin // whole if whole else 0


def _path(whole: Node, trades: list[int], volumes: list[int], draw: random.Random) -> list[int]:
    """Closing prices: a random walk tied to the whole's open and close, still where nothing is traded.

    The walk is bent until its volume-weighted mean is the whole's, so that highs and lows need not
    be stretched to make the quote volumes add up.
    """
    parts = len(trades)
    steps = [draw.random() - 0.5 for _ in trades]
    drift = sum(steps) / parts
    scale = (whole.high - whole.low) / math.sqrt(parts)
    walk = [
        whole.open + (whole.close - whole.open) * (i + 1) / parts + (walked - drift * (i + 1)) * scale
        for i, walked in enumerate(accumulate(steps))
    ]
    bend = [4 * (i + 1) * (parts - i - 1) / parts**2 for i in range(parts)]
    weight = sum(volume * part for volume, part in zip(volumes, bend, strict=True))
    by = 0.0
    for _ in range(_BENDS):
        closes = _walked(whole, trades, [ideal + by * part for ideal, part in zip(walk, bend, strict=True)])
        middles = [(opened + closed) / 2 for opened, closed in zip([whole.open, *closes], closes, strict=False)]
        lack = whole.quote - sum(volume * middle for volume, middle in zip(volumes, middles, strict=True))
        by += lack / weight if weight else 0.0
    return closes


def _walked(whole: Node, trades: list[int], ideal: list[float]) -> list[int]:
    """The walk in ticks, thrown back at the whole's high and low; it stands where nothing is traded."""
    last = max((i for i, count in enumerate(trades) if count), default=-1)
    closes: list[int] = []
    price = whole.open
    for i, wished in enumerate(ideal):
        if i == last:
            price = whole.close
        elif trades[i] and i < last:
            within = 2 * whole.high - wished if wished > whole.high else wished
            within = 2 * whole.low - within if within < whole.low else within
            price = min(whole.high, max(whole.low, round(within)))
        closes.append(price)
    return closes


def _extremes(
    whole: Node, trades: list[int], opens: list[int], closes: list[int], draw: random.Random
) -> tuple[list[int], list[int]]:
    highs, lows = [], []
    for opened, closed, count in zip(opens, closes, trades, strict=True):
        top, bottom = (opened, closed) if opened > closed else (closed, opened)
        reach = 0.2 * draw.random() if count else 0.0
        highs.append(top + int((whole.high - top) * reach))
        lows.append(bottom - int((bottom - whole.low) * reach))
    busy = [i for i, count in enumerate(trades) if count]
    if busy:
        highs[max(busy, key=highs.__getitem__)] = whole.high
        lows[min(busy, key=lows.__getitem__)] = whole.low
    return highs, lows


def _quotes(whole: Node, volumes: list[int], highs: list[int], lows: list[int]) -> list[int]:
    """Quote volumes that add up; highs and lows are widened (in place) where they leave too little room."""
    most = sum(high * volume for high, volume in zip(highs, volumes, strict=True))
    if whole.quote > most:
        lack, room = whole.quote - most, whole.high * whole.volume - most
        for i, high in enumerate(highs):
            if volumes[i]:
                highs[i] = high - (-lack * (whole.high - high) // room)
    least = sum(low * volume for low, volume in zip(lows, volumes, strict=True))
    if whole.quote < least:
        lack, room = least - whole.quote, least - whole.low * whole.volume
        for i, low in enumerate(lows):
            if volumes[i]:
                lows[i] = low + (-lack * (low - whole.low) // room)
    spans = [(high - low) * volume for high, low, volume in zip(highs, lows, volumes, strict=True)]
    above = whole.quote - sum(low * volume for low, volume in zip(lows, volumes, strict=True))
    total, done = sum(spans), 0
    quotes: list[int] = []
    for span, low, volume in zip(spans, lows, volumes, strict=True):
        quotes.append(low * volume + _between(above, done, done + span, total))
        done += span
    return quotes


def _key_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _mix(key: int, first: int, second: int) -> int:
    """64 well-mixed bits of three integers (the finalizer of SplitMix64)."""
    bits = (key + first * 0x9E3779B97F4A7C15 + second * 0xD1342543DE82EF95) & _MASK
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _MASK
    return bits ^ (bits >> 31)


def _fraction(bits: int) -> float:
    return bits / 2**64
