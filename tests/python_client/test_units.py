"""The pure parts: packets, the inbox, candles, books."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.python.tickcast_client import (
    Candle,
    ClosedError,
    Gap,
    Level,
    Message,
    OrderBook,
    Recovered,
    UnreachableError,
    packets,
)
from clients.python.tickcast_client.backoff import MAX_S, Backoff
from clients.python.tickcast_client.candles import CandleSeries
from clients.python.tickcast_client.inbox import Inbox
from clients.python.tickcast_client.link import socket_url
from clients.python.tickcast_client.routes import Routes, Terms

TRADES = "spot:btcusdt@trade"
TICKER = "spot:btcusdt@ticker"
BOOK = "spot:btcusdt@book"


def message(stream: str, cursor: int, kind: str = "x") -> Message:
    return Message(stream, cursor, 0, {"e": kind})


async def drained(inbox: Inbox) -> list[Any]:
    return [await inbox.get() for _ in range(len(inbox))]


@pytest.mark.parametrize(
    ("frame", "packet"),
    [
        ("2", packets.Ping()),
        ('40{"sid":"a"}', packets.Accepted()),
        ('44{"message":"no"}', packets.Denied({"message": "no"})),
        ("41", packets.Ended()),
        ("1", packets.Ended()),
        ('42["gap",{"missed":1}]', packets.ServerEvent("gap", msgspec.Raw(b'{"missed":1}'))),
        ('42["bare"]', packets.ServerEvent("bare", msgspec.Raw(b"null"))),
        ('4317[{"ok":true}]', packets.Ack(17, {"ok": True})),
        ("431[]", packets.Ack(1, None)),
        ('0{"sid":"a"}', None),
        ("6", None),
    ],
)
def test_frames_are_read_as_the_protocols_have_them(frame: str, packet: packets.Packet | None) -> None:
    assert packets.decode(frame) == packet


@pytest.mark.parametrize("frame", ["", "9", "43", "43x[]", "42", "42{}", "42[1]", "42[", "44[]", "451-[]", b"\x00"])
def test_what_is_no_packet_is_refused(frame: str | bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        packets.decode(frame)


def test_the_door_is_found_below_any_address() -> None:
    assert socket_url("http://h:1") == "ws://h:1/socket.io/?EIO=4&transport=websocket"
    assert socket_url("https://h/base/") == "wss://h/base/socket.io/?EIO=4&transport=websocket"


def test_waits_stay_below_their_limit_and_begin_short_again() -> None:
    backoff = Backoff()
    assert all(0 <= backoff.next_s() <= MAX_S for _ in range(100))
    backoff.reset()
    assert backoff.next_s() <= 0.25


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([TRADES, TICKER, "spot:ethusdt@trade"]), st.booleans()), max_size=60))
async def test_nothing_is_lost_without_a_gap_in_its_place_and_nothing_piles_up(steps: list[tuple[str, bool]]) -> None:
    inbox, taken, sent = Inbox(5), list[Any](), dict[str, int]()
    for stream, is_read in steps:
        sent[stream] = sent.get(stream, 0) + 1
        inbox.put(message(stream, sent[stream]))
        assert len(inbox) <= 5 + 2 * 3
        if is_read:
            taken.append(await inbox.get())
    taken += await drained(inbox)
    for stream, last in sent.items():
        if stream == TICKER:
            assert [one.cursor for one in taken if one.stream == TICKER][-1] == last
            continue
        at = 0
        for event in (one for one in taken if one.stream == stream):
            if isinstance(event, Gap):
                assert event.missed is not None
                at += event.missed
                assert event.until == at
            else:
                at += 1
                assert event.cursor == at
        assert at == last


async def test_a_torn_book_is_silent_until_its_snapshot() -> None:
    inbox = Inbox(2)
    for cursor in range(1, 6):
        inbox.put(message(BOOK, cursor, "depthUpdate"))
    assert await drained(inbox) == [
        message(BOOK, 1, "depthUpdate"),
        message(BOOK, 2, "depthUpdate"),
        Gap(BOOK, 3, 5, "unread"),
    ]
    assert not inbox.put(message(BOOK, 6, "depthUpdate"))
    assert inbox.put(message(BOOK, 7, "bookSnapshot"))
    assert inbox.put(message(BOOK, 8, "depthUpdate"))
    assert [event.cursor for event in await drained(inbox)] == [7, 8]


async def test_news_of_the_connection_does_not_pile_up_either() -> None:
    inbox = Inbox(1)
    inbox.put(message(TICKER, 1))
    for away_s in range(10):
        inbox.put(Recovered(float(away_s), "r1", ()))
    assert await drained(inbox) == [message(TICKER, 1), Recovered(9.0, "r1", ())]


async def test_an_end_comes_behind_what_waits_and_the_first_end_counts() -> None:
    inbox = Inbox(5)
    inbox.put(message(TICKER, 1))
    inbox.end(UnreachableError("first"))
    inbox.end(ClosedError())
    assert await inbox.get() == message(TICKER, 1)
    with pytest.raises(UnreachableError, match="first"):
        await inbox.get()


def test_what_was_asked_for_by_name_is_not_asked_for_again_with_all_symbols() -> None:
    def reply(name: str) -> dict[str, Any]:
        return {"subscribed": [{"stream": name, "cursor": None, "ts": None, "snapshot": None}], "rejected": []}

    routes, everything, named, terms = Routes(), Inbox(9), Inbox(9), Terms(None, snapshot=True)
    assert routes.digest(everything, terms, reply("spot:*@trade")) == []
    assert routes.digest(named, Terms(250, snapshot=False), reply(TRADES)) == []
    assert routes.digest(everything, terms, reply(TRADES))[0].code == "already_subscribed"
    routes.deliver(message(TRADES, 7))
    routes.deliver(message("spot:ethusdt@trade", 3))
    assert (len(everything), len(named)) == (2, 1)
    assert [routes.request(part) for part in routes.resume()] == [
        {"streams": [TRADES], "snapshot": False, "throttle": 250, "since": {TRADES: 7}},
        {"streams": ["spot:*@trade"], "snapshot": True, "since": {"spot:ethusdt@trade": 3}},
    ]


def entry(stream: str, cursor: int) -> dict[str, Any]:
    return {"stream": stream, "cursor": cursor, "ts": 0, "snapshot": {"e": "bookSnapshot"}}


async def test_who_has_a_book_gets_the_snapshot_that_another_one_s_request_brought() -> None:
    routes, first, second, terms = Routes(), Inbox(9), Inbox(9), Terms(None, snapshot=True)
    routes.digest(first, terms, {"subscribed": [entry(BOOK, 5)], "rejected": []})
    for cursor in (5, 8):  # the changes in between were on their way, and are in the second snapshot
        (refused,) = routes.digest(second, terms, {"subscribed": [entry(BOOK, cursor)], "rejected": []})
        assert refused.code == "already_subscribed"
    assert await drained(first) == [message(BOOK, 5, "bookSnapshot"), message(BOOK, 8, "bookSnapshot")]
    assert len(second) == 0


def candle(minute: int, volume: str = "1", *, is_closed: bool | None = None) -> Candle:
    return Candle(minute * 60, minute * 60 + 59, "1", "1", "1", "1", volume, None, None, is_closed)


def minutes(candles: list[Candle]) -> list[tuple[int, bool | None]]:
    return [(one.open_time // 60, one.is_closed) for one in candles]


def test_the_past_and_live_candles_meet_without_a_seam() -> None:
    series = CandleSeries()
    assert minutes(series.begin([candle(1), candle(2), candle(3, "5")])) == [(1, True), (2, True), (3, False)]
    for stale in (candle(2, "9", is_closed=True), candle(3, "4", is_closed=False)):
        assert series.hole_before(stale) is None
        assert series.take(stale) == []
    assert minutes(series.take(candle(3, "6", is_closed=False))) == [(3, False)]
    assert minutes(series.take(candle(3, "6", is_closed=True))) == [(3, True)]
    assert series.take(candle(3, "7", is_closed=True)) == []
    assert series.hole_before(candle(4)) is None
    assert minutes(series.take(candle(4, "0", is_closed=False))) == [(4, False)]


def test_a_hole_is_filled_from_the_candle_that_was_not_seen_closed() -> None:
    series = CandleSeries()
    series.begin([candle(1), candle(2)])
    live = candle(5, is_closed=False)
    assert series.hole_before(live) == 2 * 60
    filling, is_all = series.fill([candle(2, "3"), candle(3), candle(4), candle(5)], live)
    assert (minutes(filling), is_all) == ([(2, True), (3, True), (4, True)], True)
    assert series.hole_before(live) is None
    assert minutes(series.take(live)) == [(5, False)]
    assert series.hole_before(candle(7)) == 5 * 60


def test_the_last_candle_of_an_answer_that_may_be_old_does_not_fill_a_hole() -> None:
    series = CandleSeries()
    series.begin([candle(1)])
    live = candle(3, is_closed=False)
    assert series.fill([], live) == ([], False)
    filling, is_all = series.fill([candle(1, "2"), candle(2, "old")], live)
    assert (minutes(filling), is_all) == ([(1, True)], False)
    assert series.hole_before(live) == 2 * 60
    filling, is_all = series.fill([candle(2, "3"), candle(3)], live)
    assert ([one.volume for one in filling], is_all) == (["3"], True)


def book_message(kind: str, first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> Message:
    return Message(BOOK, last, 0, {"e": kind, "U": first, "u": last, "b": bids, "a": asks})


def test_a_book_is_what_its_snapshot_and_changes_say_and_unknown_behind_a_gap() -> None:
    book = OrderBook(BOOK)
    assert not book.apply(book_message("depthUpdate", 1, 1, [["9", "1"]], []))
    assert (book.is_known, book.bids(), book.asks()) == (False, [], [])
    assert book.apply(book_message("bookSnapshot", 0, 5, [["9.0", "1"], ["8", "2"]], [["10", "1"], ["11", "3"]]))
    assert not book.apply(book_message("depthUpdate", 4, 5, [["9", "7"]], []))
    assert book.apply(book_message("depthUpdate", 6, 7, [["9.00", "0"], ["8.5", "4"], ["3", "0"]], [["9.5", "1"]]))
    assert book.bids() == [Level(Decimal("8.5"), Decimal(4)), Level(Decimal(8), Decimal(2))]
    assert book.asks(2) == [Level(Decimal("9.5"), Decimal(1)), Level(Decimal(10), Decimal(1))]
    assert not book.apply(Message(TRADES, 1, 0, {}))
    assert book.apply(Gap(BOOK, 1, 8, "dropped"))
    assert (book.is_known, book.bids()) == (False, [])
