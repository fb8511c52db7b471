import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.windows import RollingWindow


def test_quiet_times_earn_no_credit() -> None:
    window = RollingWindow(2, 1.0)
    assert [window.allow(at) for at in (100.0, 100.1, 100.2)] == [True, True, False]
    assert window.wait_s(100.2) == pytest.approx(0.8)
    assert window.allow(101.0)
    assert not window.allow(101.05)
    assert window.allow(101.2)


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5))
def test_no_period_ever_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    window, now, admitted = RollingWindow(limit, 1.0), 0.0, []
    for gap in gaps:
        now += gap
        if window.allow(now):
            admitted.append(now)
    for first, beyond in zip(admitted, admitted[limit:], strict=False):
        assert beyond - first >= 1.0 - 1e-9


@given(st.lists(st.floats(0, 2), min_size=1, max_size=20))
def test_after_the_wait_one_more_fits(gaps: list[float]) -> None:
    window, now = RollingWindow(3, 1.0), 0.0
    for gap in gaps:
        now += gap
        window.allow(now)
    assert window.allow(now + window.wait_s(now) + 1e-9)
