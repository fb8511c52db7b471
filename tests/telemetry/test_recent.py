"""Times of the last few seconds."""

from telemetry.recent import MAX_TIMES, RECKON_EVERY_S, WINDOW_S, Percentiles, RecentTimes, percentiles


def test_percentiles_are_times_that_were_noted() -> None:
    assert percentiles([]) is None
    assert percentiles([7]) == Percentiles(7, 7, 1)
    assert percentiles([*range(100, 0, -1), 1000]) == Percentiles(51, 96, 101)


def test_times_are_forgotten_after_the_window() -> None:
    recent = RecentTimes()
    recent.note(5_000, 0.0)
    recent.note(10, 6.0)
    assert recent.percentiles(6.0) == Percentiles(10, 5_000, 2)
    assert recent.percentiles(WINDOW_S + 0.1) == Percentiles(10, 10, 1)
    assert recent.percentiles(2 * WINDOW_S) is None


def test_an_answer_holds_for_a_second() -> None:
    recent = RecentTimes()
    recent.note(10, 0.0)
    assert recent.percentiles(0.0) == Percentiles(10, 10, 1)
    recent.note(20, 0.1)
    assert recent.percentiles(RECKON_EVERY_S - 0.01) == Percentiles(10, 10, 1)
    assert recent.percentiles(RECKON_EVERY_S) == Percentiles(10, 20, 2)


def test_only_so_many_times_are_kept() -> None:
    recent = RecentTimes()
    for time_us in range(3 * MAX_TIMES):
        recent.note(time_us, 0.0)
    found = recent.percentiles(0.0)
    assert found is not None
    assert (found.samples, found.p50_us >= 2 * MAX_TIMES) == (MAX_TIMES, True)
