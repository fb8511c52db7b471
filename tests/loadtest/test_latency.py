"""How late messages were, over all and second by second, and what a clock that is wrong does to that."""

import pytest

from loadtest.probe.clock import Clock, Reading, compare
from loadtest.probe.latency import KEPT, Latency, Second


def test_each_second_has_its_own_quantile_and_count() -> None:
    latency = Latency()
    for number in range(100):
        latency.add(1_000 if number < 98 else 50_000, 0.5)
    latency.add(7_000, 2.1)
    latency.end()
    assert latency.course == [Second(0, 100, 50.0), Second(2, 1, 7.0)]
    assert latency.quantiles.messages == 101
    assert latency.quantiles.max_ms == 50.0
    assert latency.quantiles.p50_ms == pytest.approx(1.0, abs=0.1)


def test_of_a_busy_second_all_are_counted_and_some_are_kept() -> None:
    latency = Latency()
    for _ in range(KEPT + 500):
        latency.add(2_000, 0.0)
    latency.end()
    assert latency.course == [Second(0, KEPT + 500, 2.0)]


def test_without_messages_there_is_no_course() -> None:
    latency = Latency()
    latency.end()
    assert latency.course == []
    assert latency.quantiles == (0, 0.0, 0.0, 0.0)


def test_a_message_that_seems_to_come_before_it_was_sent_counts_as_none_late() -> None:
    latency = Latency()
    latency.add(-900, 0.0)
    latency.end()
    assert latency.course == [Second(0, 1, 0.0)]


def test_the_quickest_answer_tells_the_clocks_apart() -> None:
    slow, quick = Reading(0.0, 100.0, 900.0), Reading(1_000.0, 1_004.0, 1_501.5)
    assert compare([slow, quick]) == Clock(ahead_ms=500.0, uncertain_ms=2.5)


@pytest.mark.parametrize(
    ("clock", "correction_ms", "words"),
    [
        (Clock(500.0, 2.5), 500.0, "500.0 ms ahead of this machine's (± 2.5 ms); latencies are corrected"),
        (Clock(-40.0, 2.5), -40.0, "40.0 ms behind this machine's"),
        (Clock(1.5, 2.5), 0.0, "nothing was corrected"),
    ],
)
def test_a_difference_is_corrected_only_where_there_surely_is_one(
    clock: Clock, correction_ms: float, words: str
) -> None:
    assert clock.correction_ms == correction_ms
    assert words in clock.note
