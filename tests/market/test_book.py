import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import book as book_module
from market.book import MAX_LEVELS, MAX_OLD, BookBuilder, OrderBook, Outcome, decode_book, snapshot_from_rest
from market.payloads import BOOK_SNAPSHOT, BookUpdate, Level
from market.ring import RING_BYTES
from market.streams import Market
from tests.market.offline_book import RECORDINGS, events, offline_books

MARKETS = st.sampled_from(Market)


def snapshot(update_id: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> BookUpdate:
    return BookUpdate(BOOK_SNAPSHOT, 0, "BTCUSDT", update_id, bids or [], asks or [])


def diff(
    first: int, last: int, previous: int, bids: list[Level] | None = None, asks: list[Level] | None = None
) -> BookUpdate:
    return BookUpdate("depthUpdate", last, "BTCUSDT", last, bids or [], asks or [], first, previous)


def levels(book: OrderBook | None) -> tuple[int, list[Level], list[Level]]:
    assert book is not None
    return book.update_id, book.bids.levels(), book.asks.levels()


def test_levels_are_sorted_by_price_and_keep_their_text() -> None:
    book = OrderBook(snapshot(7, [("9.50", "1"), ("10.0", "2"), ("9.5000000001", "3")], [("11", "1"), ("10.9", "2")]))
    assert book.bids.levels() == [("10.0", "2"), ("9.5000000001", "3"), ("9.50", "1")]
    assert book.asks.levels() == [("10.9", "2"), ("11", "1")]
    assert (book.bids.best, book.asks.best) == (("10.0", "2"), ("10.9", "2"))


def test_quantities_are_absolute_zero_deletes_and_an_unknown_level_is_deleted_in_peace() -> None:
    book = OrderBook(snapshot(7, [("9.50", "1"), ("9.40", "1")]))
    book.apply(diff(8, 8, 7, [("9.5", "4.0"), ("9.40", "0.000"), ("1.00", "0.00000000")]))
    assert book.bids.levels() == [("9.5", "4.0")]


def test_prices_that_no_float_can_tell_apart_are_two_levels() -> None:
    book = OrderBook(snapshot(1, [("1000000000.00000001", "1"), ("1000000000.00000002", "1")]))
    assert len(book.bids) == 2


def test_beyond_the_limit_the_level_farthest_from_the_other_side_goes() -> None:
    book = OrderBook(snapshot(1, [("3", "1"), ("2", "1")], [("4", "1"), ("5", "1")]), max_levels=2)
    book.apply(diff(2, 2, 1, [("2.5", "1"), ("1", "1")], [("4.5", "1"), ("9", "1")]))
    assert [price for price, _ in book.bids.levels()] == ["3", "2.5"]
    assert [price for price, _ in book.asks.levels()] == ["4", "4.5"]
    assert (book.bids.dropped_total, book.asks.dropped_total) == (2, 2)


def test_a_book_is_written_as_a_snapshot_that_reads_as_the_same_book() -> None:
    book = OrderBook(snapshot(7, [("9.50", "1.10")], [("10.00", "2.0")]))
    book.apply(diff(8, 9, 7, [("9.60", "1")]))
    written = book.encode()
    assert json.loads(written) == {
        "e": "bookSnapshot",
        "E": 9,
        "s": "BTCUSDT",
        "u": 9,
        "b": [["9.60", "1"], ["9.50", "1.10"]],
        "a": [["10.00", "2.0"]],
    }
    read = decode_book(written)
    assert read.is_snapshot
    assert levels(OrderBook(read)) == levels(book)


def test_the_largest_snapshot_fits_what_is_remembered_of_a_stream() -> None:
    side = [(f"{1_000_000 + i}.12345678", "12345678.12345678") for i in range(MAX_LEVELS)]
    assert len(OrderBook(snapshot(2**53, side, [(f"9{price}", quantity) for price, quantity in side])).encode()) < (
        RING_BYTES
    )


@pytest.mark.parametrize("price", ["", "x", "1e5", "1." + "0" * 19])
def test_what_is_no_price_is_refused_and_the_book_given_up(price: str) -> None:
    builder = BookBuilder(Market.SPOT)
    assert builder.join(snapshot(5))
    with pytest.raises(ValueError, match="not a price"):
        builder.add(diff(6, 6, 5, [(price, "1")]))
    assert builder.book is None
    assert builder.add(diff(7, 7, 6, [(price, "1")])) is Outcome.HELD
    with pytest.raises(ValueError, match="not a price"):
        builder.join(snapshot(6))
    assert builder.join(snapshot(7))


def test_rest_snapshots_of_both_markets_are_read() -> None:
    spot = snapshot_from_rest("btcusdt", b'{"lastUpdateId":5,"bids":[["1","2"]],"asks":[]}')
    futures = snapshot_from_rest("btcusdt", b'{"lastUpdateId":5,"E":9,"T":8,"bids":[["1","2"]],"asks":[]}')
    assert (spot.symbol, spot.last_update_id, spot.bids, spot.is_snapshot) == ("BTCUSDT", 5, [("1", "2")], True)
    assert (spot.event_ms, futures.event_ms) == (0, 9)
    with pytest.raises(msgspec.ValidationError):
        snapshot_from_rest("btcusdt", b'{"code":-1121,"msg":"Invalid symbol."}')


def test_spot_accepts_a_change_that_begins_right_behind_the_snapshot() -> None:
    builder = BookBuilder(Market.SPOT)
    assert builder.add(diff(1, 10, 0)) is Outcome.HELD
    assert builder.add(diff(11, 15, 0, [("5", "1")])) is Outcome.HELD
    assert builder.join(snapshot(10))
    assert levels(builder.book) == (15, [("5", "1")], [])


def test_futures_accept_a_bridge_that_ends_where_the_snapshot_does_and_apply_it() -> None:
    builder = BookBuilder(Market.FUTURES)
    builder.add(diff(1, 10, 0, [("5", "1")]))
    builder.add(diff(14, 20, 10, [("6", "1")]))
    assert builder.join(snapshot(10))
    assert levels(builder.book) == (20, [("6", "1"), ("5", "1")], [])


def test_futures_accept_a_first_change_that_names_the_snapshot_as_its_predecessor() -> None:
    builder = BookBuilder(Market.FUTURES)
    builder.add(diff(14, 20, 10, [("6", "1")]))
    assert builder.join(snapshot(10))
    assert levels(builder.book) == (20, [("6", "1")], [])


@given(MARKETS)
def test_a_snapshot_older_than_the_first_change_asks_for_another_and_keeps_the_changes(market: Market) -> None:
    builder = BookBuilder(market)
    builder.add(diff(12, 15, 11, [("5", "1")]))
    assert not builder.join(snapshot(10))
    assert builder.book is None
    assert builder.join(snapshot(13))
    assert levels(builder.book) == (15, [("5", "1")], [])


@given(MARKETS)
def test_a_snapshot_joined_before_any_change_is_followed_by_the_one_that_bridges(market: Market) -> None:
    builder = BookBuilder(market)
    assert builder.join(snapshot(10))
    assert builder.add(diff(4, 8, 3)) is Outcome.OLD
    assert builder.add(diff(9, 12, 8)) is Outcome.APPLIED
    assert builder.add(diff(13, 13, 12)) is Outcome.APPLIED
    assert builder.add(diff(13, 13, 12)) is Outcome.OLD


@given(MARKETS)
def test_a_gap_gives_up_the_book_and_what_revealed_it_joins_the_next_snapshot(market: Market) -> None:
    builder = BookBuilder(market)
    assert builder.join(snapshot(10))
    assert builder.add(diff(15, 16, 14, [("5", "1")])) is Outcome.GAP
    assert (builder.book, builder.gaps_total) == (None, 1)
    assert not builder.join(snapshot(12))
    assert builder.join(snapshot(15))
    assert levels(builder.book) == (16, [("5", "1")], [])


@given(MARKETS)
def test_changes_before_a_gap_do_not_wait_for_a_snapshot_any_more(market: Market) -> None:
    builder = BookBuilder(market)
    builder.add(diff(1, 5, 0))
    builder.add(diff(9, 10, 8))
    assert not builder.join(snapshot(4))
    assert builder.join(snapshot(9))


def test_a_crossed_book_is_given_up_and_a_crossed_snapshot_refused() -> None:
    builder = BookBuilder(Market.SPOT)
    assert not builder.join(snapshot(1, [("5", "1")], [("5", "1")]))
    assert builder.join(snapshot(1, [("4", "1")], [("5", "1")]))
    assert builder.add(diff(2, 2, 1, [("5.00", "1")])) is Outcome.GAP
    assert builder.book is None


@given(MARKETS, st.booleans())
def test_ids_that_begin_anew_are_noticed(market: Market, joined: bool) -> None:  # noqa: FBT001 # hypothesis passes it
    builder = BookBuilder(market)
    builder.add(diff(1_000_000, 1_000_005, 999_999))
    assert builder.join(snapshot(1_000_002)) or not joined
    if not joined:
        builder.restart()
        builder.add(diff(1_000_000, 1_000_005, 999_999))
    outcomes = [builder.add(diff(i, i, i - 1)) for i in range(1, 2 * MAX_OLD)]
    assert (Outcome.GAP in outcomes) is joined
    assert builder.join(snapshot(2 * MAX_OLD - 2))
    assert levels(builder.book)[0] == 2 * MAX_OLD - 1


def test_changes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = BookBuilder(Market.SPOT)
    for i in range(1, book_module.MAX_HELD + 11):
        builder.add(diff(i, i, i - 1))
    assert not builder.join(snapshot(9))
    assert builder.join(snapshot(10))


PRICES = st.integers(1, 12)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Market, list[BookUpdate], list[BookUpdate]]:
    """A market, all its changes in order, and the true book after each single change of a level."""
    market = draw(MARKETS)
    truth: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    states = [snapshot(0)]
    diffs: list[BookUpdate] = []
    update_id = previous = 0
    for _ in range(draw(st.integers(2, 12))):
        changed: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        # Futures ids belong to all symbols: there are holes between the changes of one.
        first = update_id + 1 + (draw(st.integers(0, 3)) if market is Market.FUTURES else 0)
        update_id = first - 1
        for _ in range(draw(st.integers(1, 4))):
            side = draw(st.sampled_from(("b", "a")))
            price = f"{draw(PRICES) + (20 if side == 'a' else 0)}.00"
            quantity = draw(st.sampled_from(("0.000", "1.000", "2.500")))
            update_id += 1
            changed[side][price] = truth[side][price] = quantity
            states.append(
                snapshot(update_id, *([(p, q) for p, q in truth[s].items() if q != "0.000"] for s in ("b", "a")))
            )
        diffs.append(diff(first, update_id, previous, list(changed["b"].items()), list(changed["a"].items())))
        previous = update_id
    return market, diffs, states


@given(histories(), st.data())
def test_whenever_the_snapshot_is_taken_and_comes_the_book_is_the_true_one(
    history: tuple[Market, list[BookUpdate], list[BookUpdate]], data: st.DataObject
) -> None:
    market, diffs, states = history
    joins_at = data.draw(st.integers(0, len(diffs) - 1))
    taken = data.draw(st.sampled_from(states))
    builder = BookBuilder(market)
    for number, one in enumerate(diffs):
        builder.add(one)
        if data.draw(st.booleans()):
            builder.add(one)  # as over two connections
        if number == joins_at and not builder.join(taken):
            # Taken before the first change that was seen; none may be missing in between.
            assert taken.last_update_id < _first(diffs[0]) - 1
            assert builder.join(states[-1])
        if builder.book is None and number >= joins_at:
            # Taken in the future of the changes so far, in a hole that no exchange's snapshot falls into.
            builder.join(states[-1])
    final = OrderBook(states[-1])
    assert builder.book is not None
    assert levels(builder.book) == levels(final)


def _first(one: BookUpdate) -> int:
    assert one.first_update_id is not None
    return one.first_update_id


def _updates(path: Path) -> Iterator[tuple[str, str, BookUpdate]]:
    for market, symbol, is_snapshot, message in events(path):
        body: Any = json.dumps(message).encode()
        yield market, symbol, snapshot_from_rest(symbol, body) if is_snapshot else decode_book(body)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_book_ends_as_the_one_computed_offline(recordings: Path, name: str) -> None:
    builders: dict[str, BookBuilder] = {}
    outcomes = set()
    for market, symbol, update in _updates(recordings / name):
        builder = builders.setdefault(f"{market}:{symbol}", BookBuilder(Market(market)))
        if update.is_snapshot:
            assert builder.join(update)
        else:
            outcomes.add(builder.add(update))
    assert outcomes <= {Outcome.HELD, Outcome.APPLIED, Outcome.OLD}
    expected = offline_books(recordings / name)
    assert builders.keys() == expected.keys()
    for key, builder in builders.items():
        assert levels(builder.book) == expected[key].levels()
        assert builder.book is not None
        assert builder.book.bids.dropped_total == builder.book.asks.dropped_total == 0
