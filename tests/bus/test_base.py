"""What all implementations lean on: the pace of retries and the limit on log lines."""

from hypothesis import given
from hypothesis import strategies as st

from bus.base import RETRY_FIRST_S, RETRY_MAX_S, retry_delay_s
from bus.loglimit import LOG_INTERVAL_S, LogLimit


@given(st.integers(0, 10**9))
def test_no_retry_waits_longer_than_the_limit_or_less_than_half_the_first_step(failures: int) -> None:
    assert RETRY_FIRST_S / 2 <= retry_delay_s(failures) <= RETRY_MAX_S


def test_the_first_retry_comes_soon_and_later_ones_spread() -> None:
    assert retry_delay_s(0) <= RETRY_FIRST_S
    late = {retry_delay_s(20) for _ in range(50)}
    assert len(late) > 1
    assert min(late) >= RETRY_MAX_S / 2


def test_a_repeated_fault_is_logged_once_an_interval_with_the_number_held_back() -> None:
    now = 0.0
    limit = LogLimit(lambda: now)
    assert limit.admit() == 0
    assert limit.admit() is None
    assert limit.admit() is None
    now = LOG_INTERVAL_S
    assert limit.admit() == 2
    assert limit.admit() is None
