"""The arithmetic of Binance's limits beside what a cold start did."""

from dataclasses import replace

import pytest

from loadtest.bench.cold_start import plan
from tests.loadtest.samples import A_COLD_START


def test_messages_hold_two_hundred_names() -> None:
    planned = plan([f"s{number:03}@trade" for number in range(600)], [400, 200])
    assert (planned.streams, planned.connections, planned.fullest, planned.messages) == (600, 2, 400, 2)


def test_messages_of_long_names_hold_what_four_kilobytes_hold() -> None:
    assert plan(["x" * 97] * 400, [400]).messages == 10


@pytest.mark.parametrize(("streams", "seconds"), [(400, 0.0), (401, 0.7), (800, 0.7), (1000, 1.4)])
def test_more_than_two_messages_wait_for_the_window(streams: int, seconds: float) -> None:
    names = [f"s{number:04}@trade" for number in range(streams)]
    assert plan(names, [streams]).seconds == pytest.approx(seconds)


def test_what_exceeds_the_plan_is_what_the_limits_do_not_explain() -> None:
    slow = replace(A_COLD_START, plan=replace(A_COLD_START.plan, seconds=1.4), acknowledged_s=2.0)
    assert slow.beyond_plan_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    "broken",
    [
        replace(A_COLD_START, connections=301),
        replace(A_COLD_START, busiest_second=6),
        replace(A_COLD_START, refused=1),
        replace(A_COLD_START, plan=replace(A_COLD_START.plan, fullest=1025)),
    ],
)
def test_each_limit_that_is_exceeded_counts(broken: object) -> None:
    assert A_COLD_START.limits_exceeded == 0
    assert getattr(broken, "limits_exceeded") == 1  # noqa: B009 # parametrize hands over objects
