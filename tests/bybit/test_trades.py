from hypothesis import given
from hypothesis import strategies as st

from bybit.trades import MAX_HELD, Trades


def trades(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, b"%d" % number) for number in numbers]


def test_live_trades_are_passed_on_as_they_come() -> None:
    made = Trades()
    assert made.take(trades(5, 6)) == [b"5", b"6"]
    assert made.take(trades(9)) == [b"9"]


def test_before_the_first_trade_there_is_nothing_to_miss() -> None:
    made = Trades()
    made.lose()
    assert not made.is_behind
    assert made.take(trades(5)) == [b"5"]


def test_after_a_loss_live_trades_wait_for_the_missed_ones() -> None:
    made = Trades()
    made.take(trades(5))
    made.lose()
    assert made.is_behind
    assert made.take(trades(9, 11)) == []
    recent = trades(11, 9, 8, 6, 5, 3)
    assert made.reaches(recent)
    assert made.mend(recent) == [b"6", b"8", b"9", b"11"]
    assert made.take(trades(12)) == [b"12"]


def test_recent_trades_that_do_not_reach_back_are_told_from_those_that_do() -> None:
    made = Trades()
    made.take(trades(5))
    made.lose()
    assert not made.reaches(trades(9, 8))
    assert not made.reaches([])
    assert made.mend(trades(9, 8)) == [b"8", b"9"]


def test_a_second_loss_forgets_nothing_that_waits() -> None:
    made = Trades()
    made.take(trades(5))
    made.lose()
    made.take(trades(7))
    made.lose()
    made.take(trades(9))
    assert made.mend(()) == [b"7", b"9"]


def test_too_many_waiting_trades_go_on_without_the_missed_ones() -> None:
    made = Trades()
    made.take(trades(1))
    made.lose()
    assert made.take(trades(*range(2, MAX_HELD + 2))) == []
    assert len(made.take(trades(MAX_HELD + 2))) == MAX_HELD + 1
    assert not made.is_behind


numbers = st.lists(st.integers(1, 40), unique=True).map(sorted)


@given(numbers, numbers, numbers)
def test_each_trade_is_passed_on_once_and_in_order(before: list[int], missed: list[int], live: list[int]) -> None:
    made = Trades()
    told = made.take(trades(*before))
    made.lose()
    told += made.take(trades(*(number + 40 for number in live)))
    recent = {number + 20 for number in missed} | {number + 40 for number in live[:5]}
    told += made.mend(trades(*sorted(recent, reverse=True)))
    found = [int(payload) for payload in told]
    if before:
        assert found == sorted(set(found))
        assert set(found) >= {number for number in recent if number > before[-1]}
