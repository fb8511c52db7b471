"""The report of a load test: .run/loadtest/report.html, one file that needs no other. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from loadtest.kit.verdict import Run, Verdict
from loadtest.probe.latency import Quantiles
from loadtest.probe.probe import Door
from loadtest.report.charts import Course, series_of, timeline
from loadtest.report.page import document, heading, paragraph, table

_SERIES: Final = series_of([str(door) for door in Door])
_RUN_HEAD: Final = (
    "scenario",
    "clients",
    "failed",
    "messages",
    "missed",
    "doubled",
    "p50",
    "p99",
    "slowest",
    "lag p99",
)
_DOOR_HEAD: Final = (
    "door",
    "clients",
    "messages",
    "p50",
    "p99",
    "slowest",
    "from ingest: p50",
    "p99",
    "missed",
    "doubled",
    "reordered",
    "cut off",
)
LEGEND: Final = (
    "Latencies are the probe's, which sits at every door beside Artillery's clients: from the exchange's event time "
    "(whole ms, so up to 1 ms too late) to the moment the client has the message, in ms. From ingest: from the "
    "ingestor's receipt. Lag is how late the probe's own loop was: where it is not small, this machine was busy with "
    "other things, and latencies contain that."
)


def render(runs: Sequence[Run], verdict: Verdict, about: Mapping[str, str]) -> str:
    """The page; `about` says what was measured when and where."""
    parts = [
        paragraph(verdict.sentence, "held" if verdict.held else "missed"),
        *([] if verdict.held else [table(("fault",), ([fault] for fault in verdict.faults))]),
        paragraph("; ".join(f"{name} {value}" for name, value in about.items())),
        table(_RUN_HEAD, map(_run_row, runs)),
        paragraph(LEGEND),
    ]
    for run in runs:
        parts += _section(run)
    return document("Tickcast load test", "Tickcast under load", parts)


def _run_row(run: Run) -> list[str]:
    doors, slowest = run.findings.doors, run.findings.slowest.exchange
    return [
        run.scenario,
        f"{run.outcome.created + run.findings.clients:,}",
        f"{run.outcome.failed:,}",
        f"{sum(door.exchange.messages for door in doors):,}",
        f"{run.findings.missed:,}",
        f"{sum(door.tally.doubled for door in doors):,}",
        *_quantiles(slowest),
        f"{run.findings.lag.p99_ms:.1f}",
    ]


def _section(run: Run) -> list[str]:
    doors = run.findings.doors
    late = [Course(door.door, _SERIES[door.door], tuple((at.at_s, at.p99_ms) for at in door.course)) for door in doors]
    flow = [
        Course(door.door, _SERIES[door.door], tuple((at.at_s, at.messages) for at in door.course)) for door in doors
    ]
    crowd = [Course("clients", 0, ((0.0, 0.0), *run.outcome.crowd))] if run.outcome.crowd else []
    return [
        heading(run.scenario),
        table(
            _DOOR_HEAD,
            (
                [
                    door.door,
                    str(door.clients),
                    f"{door.exchange.messages:,}",
                    *_quantiles(door.exchange),
                    *_quantiles(door.ingest)[:2],
                    f"{door.tally.lost:,}",
                    f"{door.tally.doubled:,}",
                    f"{door.tally.disordered:,}",
                    f"{door.disconnects:,}",
                ]
                for door in doors
            ),
        ),
        timeline("p99 of each second, exchange to client", "ms", late),
        timeline("Messages to the probe's clients", "/s", flow),
        timeline("Artillery's clients at once, at the end of each of its periods", "", crowd),
        *_artillery(run),
        paragraph(run.findings.clock.note),
    ]


def _artillery(run: Run) -> list[str]:
    """What Artillery itself says: its timings, its conditions, its errors."""
    outcome = run.outcome
    rows = [
        [timing.name, f"{timing.times:,}", f"{timing.p50_ms:.0f}", f"{timing.p99_ms:.0f}", f"{timing.max_ms:.0f}"]
        for timing in outcome.timings
    ]
    verdicts = [[check.condition, "held" if check.held else "did not hold"] for check in outcome.checks]
    errors = [[name, f"{count:,}"] for name, count in outcome.errors.items()]
    return [
        *([table(("Artillery's clients, ms", "times", "p50", "p99", "slowest"), rows)] if rows else []),
        *([table(("ensure", ""), verdicts)] if verdicts else []),
        *([table(("errors", "times"), errors)] if errors else []),
    ]


def _quantiles(of: Quantiles) -> list[str]:
    return [f"{ms:.1f}" if of.messages else "-" for ms in (of.p50_ms, of.p99_ms, of.max_ms)]
