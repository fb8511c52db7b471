"""Quantiles in bounded memory."""

import pytest

from loadtest.bench.histogram import LONGEST_US, STEP_US, Histogram


def of(*durations_us: int) -> Histogram:
    histogram = Histogram()
    for duration_us in durations_us:
        histogram.add(duration_us)
    return histogram


@pytest.mark.parametrize(("part", "expected"), [(0.5, 5_000), (0.99, 9_900), (1.0, 10_000)])
def test_a_quantile_is_right_to_one_step(part: float, expected: int) -> None:
    histogram = of(*range(0, 10_000, 10))
    assert abs(histogram.quantile(part) - expected) <= STEP_US
    assert histogram.count == 1_000


def test_what_is_out_of_range_counts_at_its_ends() -> None:
    histogram = of(-5, 10 * LONGEST_US)
    assert histogram.quantile(0.5) == STEP_US
    assert histogram.quantile(1.0) == LONGEST_US + STEP_US


def test_nothing_has_no_quantile() -> None:
    assert of().quantile(0.99) == 0.0
