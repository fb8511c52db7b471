"""The goals of `make bench`, and how the figures of a run meet them. Pure."""

import operator
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from loadtest.bench import scenarios
from loadtest.bench.cold_start import ColdStart
from loadtest.bench.samples import P99_LIMIT_MS, Connecting, Results, Sample
from loadtest.bench.servers import NODE, STOCK, TICKCAST

_LARGE: Final = 1000
_COMPARE: Final = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


class Goal(NamedTuple):
    """What must be reached: `value(results) <relation> <bound>`; a value that was not measured misses it."""

    name: str
    relation: str
    bound: float
    value: Callable[[Results], float | None]


class Verdict(NamedTuple):
    """A goal and what the run has to say to it."""

    goal: Goal
    value: float | None

    @property
    def ok(self) -> bool:
        """Whether the goal is met."""
        return self.value is not None and _COMPARE[self.goal.relation](self.value, self.goal.bound)

    @property
    def line(self) -> str:
        """`RATIO <name> <value> <goal> ok|MISSED`."""
        value = "none" if self.value is None else _text(self.value)
        outcome = "ok" if self.ok else "MISSED"
        return f"RATIO {self.goal.name} {value} {self.goal.relation}{self.goal.bound:g} {outcome}"


def _text(value: float) -> str:
    """Three digits, of large figures the whole number."""
    return f"{value:.3g}" if value < _LARGE else f"{value:.0f}"


def judge(goals: Sequence[Goal], results: Results) -> list[Verdict]:
    """The verdict on every goal."""
    return [Verdict(goal, goal.value(results)) for goal in goals]


def _saturation_over(peer: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        ours = results.sample(scenarios.SATURATION, TICKCAST)
        theirs = results.sample(scenarios.SATURATION, peer)
        return ours.delivered_per_s / theirs.delivered_per_s if ours and theirs else None

    return value


def _saturation_p99(results: Results) -> float | None:
    ours = results.sample(scenarios.SATURATION, TICKCAST)
    return ours.p99_ms if ours else None


def _unbatched_cpu(results: Results) -> float | None:
    """At the highest rate that both serve one message a turn, whatever the outcome at the others.

    Below it a core is mostly idle, and what it costs to wake up weighs more than what it costs to deliver;
    above it Node is overloaded and works off its backlog, several messages a turn.
    """
    ours = results.sample(scenarios.UNBATCHED, TICKCAST, scenarios.MEDIUM_RATE)
    theirs = results.sample(scenarios.UNBATCHED, NODE, scenarios.MEDIUM_RATE)
    if not ours or not theirs or not ours.delivered or not theirs.delivered:
        return None
    return ours.cpu_us / theirs.cpu_us


def _idle(figure: Callable[[Connecting], float]) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        ours = results.connecting(scenarios.IDLE, TICKCAST)
        theirs = results.connecting(scenarios.IDLE, NODE)
        return figure(ours) / figure(theirs) if ours and theirs else None

    return value


def _slow_quarter(results: Results) -> float | None:
    without = results.sample(scenarios.SLOW_QUARTER, TICKCAST, scenarios.ALL_READ)
    beside = results.sample(scenarios.SLOW_QUARTER, TICKCAST, scenarios.QUARTER_STALLS)
    return beside.p99_ms / without.p99_ms if beside and without and without.p99_ms else None


def _ingest(figure: Callable[[Sample], float]) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        sample = results.sample(scenarios.INGEST, TICKCAST, scenarios.INGEST_RATE)
        return figure(sample) if sample else None

    return value


def _cold_start(figure: Callable[[ColdStart], float]) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        start = results.cold_start(scenarios.COLD_START, TICKCAST)
        return figure(start) if start else None

    return value


MAIN_GOALS: Final = (
    Goal("saturation_deliveries_vs_node", ">=", 6.0, _saturation_over(NODE)),
    Goal("saturation_deliveries_vs_python_socketio", ">=", 25.0, _saturation_over(STOCK)),
    Goal("saturation_p99_ms", "<", P99_LIMIT_MS, _saturation_p99),
    Goal("unbatched_cpu_per_delivery_vs_node", "<=", 0.6, _unbatched_cpu),
)
MORE_GOALS: Final = (
    Goal("idle_memory_per_connection_vs_node", "<=", 0.8, _idle(lambda cost: cost.memory_kb)),
    Goal("connect_cpu_per_connection_vs_node", "<=", 0.8, _idle(lambda cost: cost.cpu_us)),
    Goal("slow_quarter_p99_vs_without", "<=", 1.2, _slow_quarter),
    Goal("ingest_messages_per_s", ">=", 20_000, _ingest(lambda sample: sample.delivered_per_s)),
    Goal("ingest_lost", "<=", 0, _ingest(lambda sample: sample.published - sample.delivered)),
    Goal("ingest_lag_p99_ms", "<", 50, _ingest(lambda sample: sample.p99_ms)),
    Goal("cold_start_limits_exceeded", "<=", 0, _cold_start(lambda start: start.limits_exceeded)),
    Goal("cold_start_beyond_plan_s", "<", 2, _cold_start(lambda start: start.beyond_plan_s)),
)
