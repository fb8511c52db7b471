"""The last lines of `make bench`: one per goal."""

from dataclasses import replace

import pytest

from loadtest.bench import scenarios
from loadtest.bench.goals import MAIN_GOALS, MORE_GOALS, Goal, Verdict, judge
from loadtest.bench.samples import Results
from loadtest.bench.servers import TICKCAST
from tests.loadtest.samples import results, sample


def lines(found: Results) -> list[str]:
    return [verdict.line for verdict in judge(MAIN_GOALS + MORE_GOALS, found)]


def test_each_goal_is_one_line_with_its_value_and_what_was_wanted() -> None:
    assert lines(results()) == [
        "RATIO saturation_deliveries_vs_node 10 >=6 ok",
        "RATIO saturation_deliveries_vs_python_socketio 40 >=25 ok",
        "RATIO saturation_p99_ms 20 <100 ok",
        "RATIO unbatched_cpu_per_delivery_vs_node 0.5 <=0.6 ok",
        "RATIO idle_memory_per_connection_vs_node 0.5 <=0.8 ok",
        "RATIO connect_cpu_per_connection_vs_node 0.5 <=0.8 ok",
        "RATIO slow_quarter_p99_vs_without 1.1 <=1.2 ok",
        "RATIO ingest_messages_per_s 21000 >=20000 ok",
        "RATIO ingest_lost 0 <=0 ok",
        "RATIO ingest_lag_p99_ms 20 <50 ok",
        "RATIO cold_start_limits_exceeded 0 <=0 ok",
        "RATIO cold_start_beyond_plan_s 0.5 <2 ok",
    ]


def test_a_goal_that_was_not_measured_is_missed() -> None:
    assert all(line.endswith("MISSED") and " none " in line for line in lines(Results()))


def test_a_figure_that_is_worse_misses_its_goal() -> None:
    found = results()
    slower = sample(delivered=500_000, p99_ms=100.0)
    found.rows = [
        replace(row, sample=slower) if (row.scenario, row.server) == (scenarios.SATURATION, TICKCAST) else row
        for row in found.rows
    ]
    assert lines(found)[:3] == [
        "RATIO saturation_deliveries_vs_node 5 >=6 MISSED",
        "RATIO saturation_deliveries_vs_python_socketio 20 >=25 MISSED",
        "RATIO saturation_p99_ms 100 <100 MISSED",
    ]


def test_one_message_less_misses_a_goal() -> None:
    found = results()
    found.rows = [
        replace(row, sample=replace(row.sample, delivered=row.sample.delivered - 1))
        if row.scenario == scenarios.INGEST and row.sample
        else row
        for row in found.rows
    ]
    assert "RATIO ingest_lost 1 <=0 MISSED" in lines(found)


@pytest.mark.parametrize(
    ("relation", "value", "ok"),
    [
        (">=", 6.0, True),
        (">=", 5.99, False),
        ("<=", 0.6, True),
        ("<=", 0.61, False),
        ("<", 100.0, False),
        ("<", 99.9, True),
        ("<=", float("nan"), False),
    ],
)
def test_a_bound_is_met_or_missed_exactly(relation: str, value: float, ok: bool) -> None:  # noqa: FBT001
    bound = {">=": 6.0, "<=": 0.6, "<": 100.0}[relation]
    verdict = Verdict(Goal("some_goal", relation, bound, lambda _results: value), value)
    assert verdict.ok is ok
    assert verdict.line.split()[-1] == ("ok" if ok else "MISSED")
