import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.candles import Candle, CandleStore, Trade
from exchange.history import Node, SeededHistory, SplitCache, split
from exchange.symbols import listings
from market.intervals import SPOT_INTERVALS, next_open_time

NOW = 1_795_167_612_345


def store(seed: int = 1, now_ms: int = NOW) -> CandleStore:
    listing = listings(1)[0]
    second = now_ms // 1000 * 1000
    history = SeededHistory(
        listing.spec, seed, SplitCache(), price=listing.price, trades_per_day=345_600, mean_steps=800
    )
    history.anchor(second, 1_000_000_000)
    return CandleStore(second, history.node(0, second).open * listing.spec.tick, history)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    low = draw(st.integers(1, 10_000))
    high = low + draw(st.integers(0, 5_000))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    trades = draw(st.integers(1, 500))
    volume = trades + draw(st.integers(0, 10_000))
    quote = draw(st.integers(low * volume, high * volume))
    taker = draw(st.integers(0, volume))
    return Node(opened, high, low, closed, trades, volume, quote, taker, taker * quote // volume, 17)


@given(nodes(), st.sampled_from([3, 4, 15, 24, 60]), st.integers(0, 2**32))
def test_the_parts_of_a_split_make_up_the_whole(whole: Node, parts: int, seed: int) -> None:
    found = split(whole, parts, random.Random(seed))  # noqa: S311 # a market, not a secret
    assert len(found) == parts
    for name in ("trades", "volume", "quote", "taker_volume", "taker_quote"):
        assert sum(getattr(part, name) for part in found) == getattr(whole, name), name
    busy = [part for part in found if part.trades]
    assert max(part.high for part in busy) == whole.high
    assert min(part.low for part in busy) == whole.low
    assert (found[0].open, found[-1].close) == (whole.open, whole.close)
    first = whole.first
    for part, following in zip(found, [*found[1:], None], strict=True):
        assert part.first == first
        first += part.trades
        assert part.low <= min(part.open, part.close) <= max(part.open, part.close) <= part.high
        assert part.low * part.volume <= part.quote <= part.high * part.volume
        assert 0 <= part.taker_volume <= part.volume
        assert (part.volume > 0) == (part.trades > 0)
        assert following is None or following.open == part.close


@pytest.mark.parametrize("interval", sorted(SPOT_INTERVALS))
def test_a_thousand_candles_of_every_interval_follow_each_other(interval: str) -> None:
    rows = store().rows(interval, None, None, 1000)
    assert len(rows) == 1000
    for row, following in itertools.pairwise(rows):
        assert next_open_time(interval, row.open_ms) == following.open_ms
        assert row.close == following.open
    assert rows[-1].open_ms <= NOW < next_open_time(interval, rows[-1].open_ms)


@pytest.mark.parametrize(("longer", "shorter", "count"), [("1h", "1m", 60), ("1w", "1d", 7), ("12h", "2h", 6)])
def test_intervals_agree_with_each_other(longer: str, shorter: str, count: int) -> None:
    candles = store()
    whole = candles.rows(longer, None, None, 3)[0]
    parts = candles.rows(shorter, whole.open_ms, None, count)
    assert sum(part.volume for part in parts) == whole.volume
    assert sum(part.quote for part in parts) == whole.quote
    assert sum(part.trades for part in parts) == whole.trades
    assert max(part.high for part in parts) == whole.high
    assert min(part.low for part in parts) == whole.low
    assert (parts[0].open, parts[-1].close) == (whole.open, whole.close)
    assert (parts[0].first_id, parts[-1].last_id) == (whole.first_id, whole.last_id)


def test_the_same_seed_tells_the_same_past_whenever_it_is_asked() -> None:
    early, late = store(now_ms=NOW), store(now_ms=NOW + 90_000_000)
    hour = NOW // 3_600_000 * 3_600_000 - 3_600_000
    first, second = early.candle("1h", hour), late.candle("1h", hour)
    assert first is not None
    assert second is not None
    assert (first.open, first.high, first.low, first.close) == (second.open, second.high, second.low, second.close)
    other = store(seed=2).candle("1h", hour)
    assert other is not None
    assert other.volume != first.volume


def test_rows_are_selected_by_start_end_and_limit_as_binance_does() -> None:
    candles = store()
    minute = NOW // 60_000 * 60_000
    start = minute - 10 * 60_000

    def opens(begin: int | None, end: int | None, limit: int) -> list[int]:
        return [(row.open_ms - start) // 60_000 for row in candles.rows("1m", begin, end, limit)]

    assert opens(None, None, 3) == [8, 9, 10]
    assert opens(start, None, 3) == [0, 1, 2]
    assert opens(start + 1, None, 2) == [1, 2]
    assert opens(None, start + 2 * 60_000, 2) == [1, 2]
    assert opens(start, start + 60_000, 500) == [0, 1]
    assert opens(start, start - 60_000, 500) == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(90, 110), st.integers(1, 9), st.booleans()), max_size=50))
def test_candles_count_exactly_their_trades(gaps: list[tuple[int, int, int, bool]]) -> None:
    candles, at, trades = CandleStore(), NOW, []
    for number, (gap, price, quantity, maker) in enumerate(gaps):
        at += gap
        trades.append(Trade(number, price, quantity, at, maker))
        candles.add(trades[-1])
    for interval, length in (("1s", 1_000), ("3m", 180_000), ("4h", 14_400_000)):
        by_open: dict[int, list[Trade]] = {}
        for trade in trades:
            by_open.setdefault(trade.time_ms // length * length, []).append(trade)
        rows = {row.open_ms: row for row in candles.rows(interval, None, None, 500)}
        assert by_open.keys() <= rows.keys()
        for open_ms, inside in by_open.items():
            check(rows[open_ms], inside)
    assert not trades or candles.day().trades == sum(t.time_ms >= candles.day().open_ms for t in trades)


def check(candle: Candle, trades: list[Trade]) -> None:
    prices = [trade.price for trade in trades]
    assert (candle.open, candle.high, candle.low, candle.close) == (prices[0], max(prices), min(prices), prices[-1])
    assert (candle.first_id, candle.last_id) == (trades[0].trade_id, trades[-1].trade_id)
    assert candle.trades == len(trades)
    assert candle.volume == sum(trade.quantity for trade in trades)
    assert candle.quote == sum(trade.price * trade.quantity for trade in trades)
    taken = [trade for trade in trades if not trade.buyer_is_maker]
    assert candle.taker_volume == sum(trade.quantity for trade in taken)
    assert candle.taker_quote == sum(trade.price * trade.quantity for trade in taken)


def test_a_second_without_a_trade_repeats_the_close() -> None:
    candles = CandleStore()
    candles.add(Trade(1, 100, 5, NOW, buyer_is_maker=False))
    candles.advance(NOW + 2_000)
    assert candles.rows("1s", None, None, 2)[0] == Candle.empty(NOW // 1000 * 1000 + 1000, 100)


def test_more_than_a_day_of_silence_begins_anew_without_a_history() -> None:
    candles = CandleStore()
    candles.add(Trade(1, 100, 5, NOW, buyer_is_maker=False))
    later = NOW + 40 * 86_400_000
    candles.advance(later)
    candles.add(Trade(2, 70, 5, later, buyer_is_maker=False))
    assert [row.open for row in candles.rows("1m", None, None, 10)] == [70]
