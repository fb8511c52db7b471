"""The checker finds what is wrong, and only that."""

import math
from typing import Any

from loadtest.probe.checker import Client, Data, Event, Gap, Pulse, Renewed, failures, judge, losses, silences
from loadtest.probe.sequences import Span, Tally

TRADES = "spot:btcusdt@trade"
DEPTH = "spot:btcusdt@depth@100ms"
CANDLES = "spot:btcusdt@kline_1s"
BOOK = "spot:btcusdt@bookTicker"


def trade(number: int) -> Data:
    return Data(TRADES, {"t": number})


def candle(second: int, *, event_ms: int, closed: bool) -> Data:
    return Data(CANDLES, {"E": event_ms, "k": {"t": second * 1_000, "x": closed}})


def client(*events: Event, speaks_of_gaps: bool = True) -> Client:
    """A client that received these, a second apart."""
    made = Client("a client", speaks_of_gaps)
    for at, event in enumerate(events):
        made.take(event, float(at))
    return made


def counted(*events: Event) -> dict[str, int]:
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
    heard.end({TRADES: 7, CANDLES: 5}, 15.5)
    assert heard.silence_s == 3.5
    assert silences([heard], 2.5) == [f"a client: {TRADES}: nothing came for 3.5 s"]
    assert silences([heard], 3.5) == []


def test_candles_that_stop_are_a_silence_though_they_are_no_lively_stream() -> None:
    heard = client(candle(5, event_ms=6_000, closed=True))
    heard.end({CANDLES: 5}, 6.5)
    assert silences([heard], 5.0) == [f"a client: {CANDLES}: nothing came for 6.5 s"]
    assert heard.silence_s == 0


def test_candles_of_which_none_follows_a_new_subscription_are_lost_once_it_is_long_ago() -> None:
    events = candle(5, event_ms=6_000, closed=True), Renewed(CANDLES, recovered=True)
    just_back, long_back = client(*events), client(*events)
    just_back.end({CANDLES: 9}, 5.5)
    assert judge([just_back]).lost == 0
    long_back.end({CANDLES: 9}, 6.0)
    assert judge([long_back]).undetected == 4


def test_a_failure_names_client_stream_and_what_is_wrong() -> None:
    clients = [client(trade(5), trade(7))]
    judge(clients)
    assert failures(clients) == [f"a client: {TRADES}: 1 undetected"]
    assert losses(clients, lambda _client, _stream: False) == [f"a client: {TRADES}: 1 lost"]
    assert losses(clients, lambda _client, stream: stream == TRADES) == []


def test_a_client_that_hears_nothing_is_a_failure() -> None:
    silent = client(trade(5))
    silent.begin(1.0)
    assert failures([silent, Client("deaf")]) == [
        f"a client: {TRADES}: nothing came",
        "a client: nothing came at all",
        "deaf: nothing came at all",
    ]


def test_a_client_is_back_when_every_lively_stream_speaks_for_good() -> None:
    heard = client(trade(5), Data(BOOK, {"u": 1}))
    heard.mark(10.0)
    assert heard.back_s(10.5) == math.inf
    heard.take(trade(6), 10.1)  # was under way
    heard.take(Data(BOOK, {"u": 2}), 12.0)
    heard.take(trade(7), 12.5)
    assert heard.back_s(12.6) == 2.5
    heard.take(trade(8), 12.6)
    assert heard.back_s(14.0) == math.inf


def test_whoever_is_cut_off_at_the_end_knows_that_something_is_missing() -> None:
    cut, deaf = client(trade(5)), client(trade(5))
    cut.cut()
    for one in (cut, deaf):
        one.end({TRADES: 8}, 1.0)
    assert judge([cut]) == Tally(received=1, lost=3, announced=3)
    assert judge([deaf]) == Tally(received=1, lost=3, undetected=3)


def test_what_was_never_sent_is_not_lost_but_has_to_be_told() -> None:
    told = client(trade(5), Gap(TRADES, 899, conflated=False), trade(900))
    late = client(trade(5), Gap(TRADES, 901, conflated=False), trade(902))
    assert judge([told, late], {TRADES: 7}).lost == 2 + 2 + 2
    quiet = client(trade(5), trade(900))
    assert judge([quiet], {TRADES: 7}).undetected == 894


def test_a_pulse_proves_life_and_nothing_else() -> None:
    alive = client(Pulse("BTC"), Pulse("BTC"))
    assert failures([alive]) == []
    assert judge([alive]) == Tally()
