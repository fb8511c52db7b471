"""What grows is told from what only moves."""

import random

import pytest

from loadtest.bench.drift import DESCRIPTORS, MEMORY, THREADS, Measure, Point, Trend, trend_of
from loadtest.bench.processes import BenchError
from loadtest.bench.vitals import tasks_in

TIMES = [15.0 * number for number in range(40)]


def trend(values: list[float], measure: Measure = MEMORY) -> Trend:
    made = trend_of("a process", measure, [Point(at, value) for at, value in zip(TIMES, values, strict=False)])
    assert made is not None
    return made


def test_what_stays_flat_under_noise_does_not_drift() -> None:
    draw = random.Random(1)  # noqa: S311 # noise
    flat = trend([100 + draw.uniform(-5, 5) for _ in TIMES])
    assert not flat.drifts
    assert flat.level == pytest.approx(100, abs=2)


def test_a_slow_leak_drifts_even_under_noise() -> None:
    draw = random.Random(2)  # noqa: S311 # noise
    leak = trend([100 + 0.05 * at + draw.uniform(-3, 3) for at in TIMES])
    assert leak.drifts
    assert leak.growth == pytest.approx(0.05 * 0.75 * TIMES[-1], rel=0.2)


def test_growth_that_ends_with_the_warm_up_does_not_count() -> None:
    assert not trend([min(100.0, 50 + 10 * number) for number in range(40)]).drifts


def test_single_outliers_bend_nothing() -> None:
    values = [100.0] * 40
    values[-2] = 900.0
    assert trend(values).growth == 0


def test_each_measure_has_its_own_tolerance() -> None:
    climbing = [4 + number / 10 for number in range(40)]
    assert trend(climbing, THREADS).drifts
    assert not trend(climbing, DESCRIPTORS).drifts


def test_too_few_samples_say_nothing() -> None:
    assert trend_of("a process", MEMORY, [Point(at, 1.0) for at in TIMES[:7]]) is None
    assert trend_of("a process", MEMORY, []) is None


def test_tasks_are_read_from_the_metrics() -> None:
    assert tasks_in("# HELP tickcast_tasks asyncio tasks\ntickcast_tasks 12.0\n") == 12
    with pytest.raises(BenchError, match="tickcast_tasks"):
        tasks_in("tickcast_streams 1.0\n")
