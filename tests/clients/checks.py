"""What must hold for market data, whichever library delivered it."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

MINUTE_MS = 60_000


def check_klines(rows: Sequence[Sequence[Any]], columns: int = 12) -> None:
    """Five rows of one-minute klines, oldest first, each with low <= open, close <= high."""
    assert [len(row) for row in rows] == [columns] * 5
    assert [later[0] - earlier[0] for earlier, later in pairwise(rows)] == [MINUTE_MS] * 4
    for row in rows:
        opened, high, low, close = map(float, row[1:5])
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high


def check_growing(numbers: Iterable[int], *, by: int | None = None) -> None:
    """Strictly growing; `by` exactly so much where nothing may be missing."""
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    assert len(steps) >= 3
    assert all(step == by if by else step > 0 for step in steps), steps


def check_candles(messages: Sequence[dict[str, Any]], interval: str) -> None:
    """Klines of one interval as they grow, none older than the one before."""
    assert {message["k"]["i"] for message in messages} == {interval}
    order = [(message["E"], message["k"]["t"]) for message in messages]
    assert len(order) >= 4
    assert order == sorted(order)


def check_unbroken(diffs: Sequence[dict[str, Any]]) -> None:
    """Diffs of one book, none missing: on spot by `U`, on futures by `pu`."""
    assert len(diffs) >= 4
    for earlier, later in pairwise(diffs):
        assert later["pu"] == earlier["u"] if "pu" in later else later["U"] == earlier["u"] + 1


def check_symbol(messages: Sequence[dict[str, Any]], symbol: str = "BTCUSDT") -> None:
    """All of one symbol."""
    assert {message["s"] for message in messages} == {symbol}


def check_levels(sides: Iterable[Sequence[Sequence[Any]]], count: int, *, at_least: int | None = None) -> None:
    """`count` levels on each side (`at_least` as many), bids falling, asks rising, not crossed."""
    bids, asks = ([float(level[0]) for level in side] for side in sides)
    fewest = count if at_least is None else at_least
    assert fewest <= len(bids) <= count
    assert fewest <= len(asks) <= count
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
