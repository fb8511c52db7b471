"""Order books of Bybit's, from snapshot and deltas to the streams that are made of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.payloads import Frame, parse_frame
from bybit.topics import MAX_STALE, BookGapError, Told, Topic
from market.book import BookBuilder, Outcome, decode_book
from market.cursors import cursor_of
from market.streams import Market, StreamName
from tests.bybit.samples import frame

BOOK, DEPTH = StreamName.parse("bybit:btcusdt@book"), StreamName.parse("bybit:btcusdt@depth")
DEPTH5, TOP = StreamName.parse("bybit:btcusdt@depth5"), StreamName.parse("bybit:btcusdt@bookTicker")


def book(
    kind: str, update_id: int, bids: dict[str, str], asks: dict[str, str], name: str = "orderbook.200.BTCUSDT"
) -> Frame:
    data = {"s": "BTCUSDT", "b": list(bids.items()), "a": list(asks.items()), "u": update_id, "seq": update_id}
    message = {"topic": name, "type": kind, "ts": 1_000 + update_id, "cts": 900 + update_id, "data": data}
    return parse_frame(json.dumps(message).encode())


def topic(*streams: StreamName, name: str = "orderbook.200.BTCUSDT") -> Topic:
    made = Topic(name)
    assert made.want(streams) == []
    return made


def bodies(told: Told, stream: StreamName) -> list[dict[str, Any]]:
    return [json.loads(payload) for one, payload in told if one == stream]


def test_a_documented_snapshot_makes_a_top_and_its_delta_out_of_turn_a_gap() -> None:
    made = topic(DEPTH5, name="orderbook.50.BTCUSDT")
    (body,) = bodies(made.take(frame("orderbook-snapshot")), DEPTH5)
    assert body == {
        "lastUpdateId": 18521288,
        "bids": [["16493.50", "0.006"], ["16493.00", "0.100"]],
        "asks": [["16611.00", "0.029"], ["16612.00", "0.213"]],
    }
    with pytest.raises(BookGapError):
        made.take(frame("orderbook-delta"))


def test_a_book_begins_with_a_snapshot_and_goes_on_with_its_changes() -> None:
    made = topic(BOOK, DEPTH)
    told = made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    assert [(stream, json.loads(payload)["e"]) for stream, payload in told] == [(BOOK, "bookSnapshot")]
    told = made.take(book("delta", 8, {"10": "0", "9": "3"}, {}))
    change = {"e": "depthUpdate", "E": 908, "s": "BTCUSDT", "U": 8, "u": 8, "b": [["10", "0"], ["9", "3"]], "a": []}
    assert bodies(told, BOOK) == bodies(told, DEPTH) == [change]
    assert {cursor_of(stream, payload) for stream, payload in told} == {8}


def test_a_top_is_told_only_where_it_has_changed() -> None:
    made = topic(DEPTH5)
    levels = {str(100 - n): "1" for n in range(8)}
    assert len(bodies(made.take(book("snapshot", 1, levels, {"101": "1"})), DEPTH5)) == 1
    assert made.take(book("delta", 2, {"94": "5"}, {})) == []
    (body,) = bodies(made.take(book("delta", 3, {"100": "0"}, {})), DEPTH5)
    assert [price for price, _ in body["bids"]] == ["99", "98", "97", "96", "95"]
    assert body["lastUpdateId"] == 3


def test_best_bid_and_ask_come_from_snapshots_alone_and_not_twice() -> None:
    made = topic(TOP, name="orderbook.1.BTCUSDT")
    (body,) = bodies(made.take(book("snapshot", 5, {"10": "1"}, {"11": "2"}, made.name)), TOP)
    assert body == {"u": 5, "s": "BTCUSDT", "b": "10", "B": "1", "a": "11", "A": "2"}
    assert made.take(book("snapshot", 5, {"10": "1"}, {"11": "2"}, made.name)) == []
    assert made.take(book("snapshot", 6, {}, {"11": "2"}, made.name)) == []


def test_across_a_lost_connection_the_changes_lead_from_the_old_book_to_the_new() -> None:
    made = topic(BOOK, DEPTH)
    made.take(book("snapshot", 7, {"10": "1", "9": "1"}, {"11": "2"}))
    made.lose()
    assert made.take(book("delta", 20, {"9": "9"}, {})) == []
    told = made.take(book("snapshot", 21, {"9": "1", "8": "4"}, {"11": "3"}))
    (change,) = bodies(told, DEPTH)
    assert (change["U"], change["u"]) == (8, 21)
    assert (change["b"], change["a"]) == ([["10", "0"], ["8", "4"]], [["11", "3"]])
    assert bodies(told, BOOK)[0]["e"] == "bookSnapshot"


def test_after_a_restart_of_bybits_ids_begin_anew() -> None:
    made = topic(BOOK, DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    told = made.take(book("delta", 1, {"5": "1"}, {"6": "2"}))
    assert [(stream, json.loads(payload)["u"]) for stream, payload in told] == [(BOOK, 1)]
    assert bodies(made.take(book("delta", 2, {"4": "1"}, {})), DEPTH)[0]["U"] == 2


def test_a_missed_change_is_a_gap_and_the_next_snapshot_mends_it() -> None:
    made = topic(DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    with pytest.raises(BookGapError):
        made.take(book("delta", 9, {"10": "5"}, {}))
    made.lose()
    (change,) = bodies(made.take(book("snapshot", 12, {"10": "6"}, {"11": "2"})), DEPTH)
    assert (change["U"], change["u"], change["b"]) == (8, 12, [["10", "6"]])


def test_a_crossed_book_is_a_gap() -> None:
    made = topic(DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    with pytest.raises(BookGapError):
        made.take(book("delta", 8, {"11.5": "1"}, {}))


def test_changes_that_never_get_their_snapshot_ask_for_it() -> None:
    made = topic(DEPTH)
    for number in range(MAX_STALE - 1):
        assert made.take(book("delta", number + 2, {}, {})) == []
    with pytest.raises(BookGapError):
        made.take(book("delta", MAX_STALE + 2, {}, {}))


def test_an_old_change_is_passed_over() -> None:
    made = topic(DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    assert made.take(book("delta", 7, {"10": "5"}, {})) == []


def test_a_stream_that_is_wanted_later_begins_with_what_is_known() -> None:
    made = topic(DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    told = made.want([DEPTH, BOOK, DEPTH5])
    assert bodies(told, BOOK)[0]["b"] == [["10", "1"]]
    assert bodies(told, DEPTH5)[0]["bids"] == [["10", "1"]]
    assert bodies(told, DEPTH) == []
    assert made.want([BOOK]) == []


def test_what_is_no_price_makes_the_book_wait_for_a_snapshot() -> None:
    made = topic(DEPTH)
    made.take(book("snapshot", 7, {"10": "1"}, {"11": "2"}))
    with pytest.raises(ValueError, match="not a price"):
        made.take(book("delta", 8, {"ten": "1"}, {}))
    assert made.take(book("delta", 9, {"10": "2"}, {})) == []


prices = st.integers(1, 9).map(str)
sides = st.dictionaries(prices, st.sampled_from(["0", "1", "2", "3"]), max_size=4)


@given(st.lists(st.tuples(sides, sides, st.booleans()), min_size=1, max_size=30))
def test_whoever_follows_the_book_stream_has_the_exchanges_book(
    steps: list[tuple[dict[str, str], dict[str, str], bool]],
) -> None:
    """Bids below 10, asks above: each step is a change, or a lost connection and the snapshot after it."""
    made, follower = topic(BOOK), BookBuilder(Market.BYBIT)
    bids: dict[str, str] = {}
    asks: dict[str, str] = {}
    for number, (changed_bids, changed, lost) in enumerate(steps):
        changed_asks = {f"1{price}": size for price, size in changed.items()}
        for side, changes in ((bids, changed_bids), (asks, changed_asks)):
            side.update(changes)
            for price in [price for price, size in side.items() if size == "0"]:
                del side[price]
        if lost:
            made.lose()
        is_whole = lost or not number
        sent = (
            book("snapshot", 50 + number, bids, asks)
            if is_whole
            else book("delta", 50 + number, changed_bids, changed_asks)
        )
        for _, payload in made.take(sent):
            update = decode_book(payload)
            if update.is_snapshot:
                follower.restart()
                assert follower.join(update)
            else:
                assert follower.add(update) is Outcome.APPLIED
        assert follower.book is not None
        assert dict(follower.book.bids.levels()) == bids
        assert dict(follower.book.asks.levels()) == asks


@given(st.lists(st.tuples(sides, sides), min_size=2, max_size=20))
def test_whoever_follows_changes_alone_has_the_book_across_lost_connections(
    books: list[tuple[dict[str, str], dict[str, str]]],
) -> None:
    made = topic(DEPTH)
    known: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    last_id = 0
    for number, (bids, asks) in enumerate(books):
        whole_bids = {price: size for price, size in bids.items() if size != "0"}
        whole_asks = {f"1{price}": size for price, size in asks.items() if size != "0"}
        made.lose()
        told = made.take(book("snapshot", 10 * number + 10, whole_bids, whole_asks))
        if not number:
            known = {"b": whole_bids, "a": whole_asks}
        for change in bodies(told, DEPTH):
            assert change["U"] == last_id + 1
            for side, levels in known.items():
                levels.update(change[side])
                known[side] = {price: size for price, size in levels.items() if size != "0"}
        last_id = 10 * number + 10
        assert known == {"b": whole_bids, "a": whole_asks}
