"""The checker finds what is wrong, and only that."""

from typing import Any

from tests.system.chaos.checker import Client, Data, Gap, Renewed, failures, judge
from tests.system.chaos.sequences import Span

TRADES = "spot:btcusdt@trade"
DEPTH = "spot:btcusdt@depth@100ms"
CANDLES = "spot:btcusdt@kline_1s"
BOOK = "spot:btcusdt@bookTicker"


def trade(number: int) -> Data:
    return Data(TRADES, {"t": number})


def candle(second: int, *, event_ms: int, closed: bool) -> Data:
    return Data(CANDLES, {"E": event_ms, "k": {"t": second * 1_000, "x": closed}})


def client(*events: Data | Gap | Renewed, speaks_of_gaps: bool = True) -> Client:
    """A client that received these, a second apart."""
    made = Client("a client", speaks_of_gaps)
    for at, event in enumerate(events):
        made.take(event, float(at))
    return made


def counted(*events: Data | Gap | Renewed) -> dict[str, int]:
    """What is counted of these events, zeros left out."""
    return {name: count for name, count in vars(judge([client(*events)])).items() if count}


def test_an_unbroken_stream_has_nothing_to_blame() -> None:
    assert counted(trade(5), trade(6), trade(7)) == {"received": 3}


def test_what_comes_again_is_doubled() -> None:
    assert counted(trade(5), trade(6), trade(6), trade(5)) == {"received": 4, "doubled": 2}


def test_a_hole_that_nobody_speaks_of_is_undetected() -> None:
    assert counted(trade(5), trade(9)) == {"received": 2, "lost": 3, "undetected": 3}


def test_a_hole_is_announced_as_far_as_the_gap_says() -> None:
    assert counted(trade(5), Gap(TRADES, 7, conflated=False), trade(9)) == {
        "received": 2,
        "lost": 3,
        "announced": 2,
        "undetected": 1,
    }


def test_a_gap_announces_nothing_of_another_stream_nor_of_a_later_hole() -> None:
    others = Gap(DEPTH, 8, conflated=False)
    assert counted(trade(5), others, trade(7))["undetected"] == 1
    assert counted(trade(5), Gap(TRADES, 6, conflated=False), trade(7), trade(9))["undetected"] == 1


def test_what_fills_a_hole_later_is_disordered_and_not_lost() -> None:
    assert counted(trade(5), trade(8), trade(6)) == {"received": 3, "lost": 1, "disordered": 1, "undetected": 1}


def test_an_answer_that_says_not_recovered_announces_whatever_is_missing_before_the_next_message() -> None:
    told = Renewed(TRADES, recovered=False)
    assert counted(trade(5), told, trade(90), trade(92)) == {
        "received": 3,
        "lost": 85,
        "announced": 84,
        "undetected": 1,
    }
    assert counted(trade(5), Renewed(TRADES, recovered=True), trade(7))["undetected"] == 1


def test_depth_updates_follow_each_other_by_the_ids_that_they_cover() -> None:
    def change(first: int, last: int, **more: Any) -> Data:
        return Data(DEPTH, {"U": first, "u": last, **more})

    assert counted(change(1, 4), change(5, 9), change(10, 10)) == {"received": 3}
    assert counted(change(1, 4), change(7, 9)) == {"received": 2, "lost": 2, "undetected": 2}
    assert counted(change(1, 4), change(7, 9, pu=4)) == {"received": 2}
    assert counted(change(1, 4), change(4, 9)) == {"received": 2, "doubled": 1}


def test_a_candle_that_was_not_seen_closed_is_lost_unless_it_was_conflated() -> None:
    seen = candle(5, event_ms=6_000, closed=True), candle(6, event_ms=6_500, closed=False)
    later = candle(7, event_ms=8_000, closed=True)
    assert counted(*seen, later)["undetected"] == 1
    assert "lost" not in counted(*seen, Gap(CANDLES, 7_000, conflated=True), later)


def test_values_may_skip_but_neither_go_back_nor_come_twice() -> None:
    def value(number: int) -> Data:
        return Data(BOOK, {"u": number})

    assert counted(value(5), value(9)) == {}
    assert counted(value(5), value(5)) == {"doubled": 1, "received": 1}
    assert counted(value(5), value(4), value(6)) == {"disordered": 1}
    assert counted(value(5), Renewed(BOOK, recovered=True), value(5)) == {}


def test_whoever_subscribes_anew_may_be_shown_the_latest_value_again() -> None:
    closed = candle(5, event_ms=6_000, closed=True)
    late = candle(5, event_ms=6_001, closed=True)
    told = Renewed(CANDLES, recovered=True)
    assert counted(closed, told, closed) == counted(closed, told, late) == {"received": 1}
    assert counted(closed, told, late, late)["doubled"] == 2  # as a value, and as a candle


def test_a_client_whose_protocol_has_no_words_may_miss_what_was_announced_to_others() -> None:
    mute = client(trade(5), trade(9), trade(11), speaks_of_gaps=False)
    told = client(trade(5), Gap(TRADES, 8, conflated=False), trade(9), trade(10), trade(11))
    judge([mute, told])
    assert mute.sequences[TRADES].tally.undetected == 1
    assert mute.sequences[TRADES].tally.announced == 3


def test_what_never_came_at_the_end_is_lost_too() -> None:
    ended = client(trade(5))
    ended.sequences[TRADES].miss(Span(6, 8))
    assert judge([ended]).undetected == 3


def test_a_new_count_still_follows_what_came_before_it() -> None:
    watched = client(trade(5), trade(7))
    watched.begin(10.0)
    watched.take(trade(9), 10.0)
    assert judge([watched]).lost == 1


def test_the_longest_silence_is_that_of_one_stream() -> None:
    heard = client(trade(5), trade(6))
    heard.begin(10.0)
    heard.take(trade(7), 12.0)
    heard.take(candle(5, event_ms=6_000, closed=True), 13.0)
    heard.note_time(15.5)
    assert heard.silence_s == 3.5


def test_a_failure_names_client_stream_and_what_is_wrong() -> None:
    clients = [client(trade(5), trade(7))]
    judge(clients)
    found = failures(clients, may_lose=lambda _client, _stream: False)
    assert found == [f"a client: {TRADES}: 1 undetected", f"a client: {TRADES}: 1 lost"]
    assert failures(clients, may_lose=lambda _client, _stream: True) == found[:1]


def test_a_client_that_hears_nothing_is_a_failure() -> None:
    silent = client(trade(5))
    silent.begin(1.0)
    assert failures([silent, Client("deaf")], may_lose=lambda _client, _stream: True) == [
        f"a client: {TRADES}: nothing came",
        "deaf: nothing came at all",
    ]
