import pytest

from market.errors import Code, MarketError
from market.streams import Market, StreamName
from server.groups import Pace
from server.wishes import MAX_CURSORS, cursors_of, pace_of

TRADES, EVERY = StreamName.parse("futures:btcusdt@trade"), StreamName.parse("*@kline_1m")
SENT = {"BTCUSDT": TRADES, "ALL": EVERY}


def test_a_pace_is_one_of_a_few() -> None:
    assert [pace_of(throttle) for throttle in (None, 100, 250.0, 1000)] == [None, Pace(100), Pace(250), Pace(1000)]


@pytest.mark.parametrize("throttle", [0, 99, True, "250", [100], {}])
def test_other_paces_are_refused(throttle: object) -> None:
    with pytest.raises(MarketError, match="100, 250, 500, 1000") as refusal:
        pace_of(throttle)
    assert refusal.value.code is Code.BAD_REQUEST


def test_a_cursor_goes_by_what_the_client_wrote_by_the_streams_name_or_by_a_symbols_stream_of_all() -> None:
    kline = StreamName.parse("ethusdt@kline_1m")
    assert cursors_of({"BTCUSDT": 1, "spot:ethusdt@kline_1m": 2}, SENT, None) == {TRADES: 1, kline: 2}
    assert cursors_of({"btcusdt@trade": 3}, SENT, Market.FUTURES) == {TRADES: 3}


def test_cursors_of_what_is_not_asked_for_mean_nothing() -> None:
    others = {"ALL": 1, "*@kline_1m": 1, "btcusdt@trade": 1, "ethusdt@kline_5m": 1, "nonsense": 1}
    assert cursors_of(others, SENT, None) == {}


def test_the_number_of_cursors_is_bounded() -> None:
    since = {f"s{number}": 1 for number in range(MAX_CURSORS + 1)}
    with pytest.raises(MarketError) as refusal:
        cursors_of(since, SENT, None)
    assert refusal.value.code is Code.TOO_MANY_STREAMS
