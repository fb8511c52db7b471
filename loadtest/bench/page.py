"""loadtest/report.html: everything that one run found, in one file that needs no other. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from loadtest.bench import scenarios
from loadtest.bench.goals import Verdict
from loadtest.bench.samples import P99_LIMIT_MS, Results, Row
from loadtest.bench.servers import CONTESTANTS
from loadtest.bench.tables import LEGEND, capacity_lines, table, warnings
from loadtest.report.charts import Bar, Line, bars, lines, series_of
from loadtest.report.page import document, heading, paragraph
from loadtest.report.page import table as page_table

_SERIES: Final = series_of([contestant.name for contestant in CONTESTANTS])


def render(
    run: Sequence[scenarios.Scenario], results: Results, verdicts: Sequence[Verdict], about: Mapping[str, str]
) -> str:
    """The page; `about` says what was measured when and where."""
    parts = [
        paragraph("; ".join(f"{name} {value}" for name, value in about.items())),
        _goals(verdicts),
        *map(paragraph, warnings(results) + capacity_lines(results)),
        paragraph(LEGEND),
    ]
    for scenario in run:
        parts += _section(scenario, results)
    return document("Tickcast bench", "Tickcast beside its peers", parts)


def _section(scenario: scenarios.Scenario, results: Results) -> list[str]:
    rows = [row for row in results.rows if row.scenario == scenario.name]
    parts = [heading(scenario.name), paragraph(scenario.explanation), _table(rows, results)]
    if any(row.cold_start for row in rows):
        return parts + [paragraph(row.cold_start.line) for row in rows if row.cold_start]
    if any(row.connecting for row in rows):
        parts += _connecting_charts(rows)
    else:
        parts.append(_cpu_chart(rows))
    if scenario.name == scenarios.SATURATION:
        steps = [row for row in results.rows if row.scenario == scenarios.STEPS]
        parts += [_rate_chart(rows), *_step_charts(steps), _table(steps, results)]
    elif scenario.name == scenarios.SLOW_QUARTER:
        parts.append(_latency_chart(rows))
    return parts


def _cpu_chart(rows: Sequence[Row]) -> str:
    content = [
        Bar(_label(row), _SERIES[row.server], (row.sample.user_us, row.sample.system_us))
        for row in rows
        if row.sample and row.sample.delivered
    ]
    return bars("CPU time per delivery: user, system (lighter)", "us", content)


def _rate_chart(rows: Sequence[Row]) -> str:
    content = [Bar(_label(row), _SERIES[row.server], (row.sample.delivered_per_s,)) for row in rows if row.sample]
    return bars("Deliveries a second on one core", "/s", content)


def _latency_chart(rows: Sequence[Row]) -> str:
    content = [Bar(_label(row), _SERIES[row.server], (row.sample.p99_ms,)) for row in rows if row.sample]
    return bars("p99 of the clients that read", "ms", content)


def _step_charts(rows: Sequence[Row]) -> list[str]:
    samples = {
        name: [row.sample for row in rows if row.server == name and row.sample and row.sample.delivered]
        for name in _SERIES
    }
    delivered = [
        Line(name, _SERIES[name], tuple((sample.offered_per_s, sample.delivered_per_s) for sample in steps))
        for name, steps in samples.items()
    ]
    late = [
        Line(name, _SERIES[name], tuple((sample.offered_per_s, max(sample.p99_ms, 0.01)) for sample in steps))
        for name, steps in samples.items()
    ]
    return [
        lines("Delivered over offered", ("deliveries/s offered", "deliveries/s"), delivered),
        lines("p99 over offered", ("deliveries/s offered", "ms"), late, limit=P99_LIMIT_MS),
    ]


def _connecting_charts(rows: Sequence[Row]) -> list[str]:
    costs = [(row, row.connecting) for row in rows if row.connecting]
    memory = [Bar(_label(row), _SERIES[row.server], (cost.memory_kb,)) for row, cost in costs]
    cpu = [
        Bar(
            _label(row),
            _SERIES[row.server],
            tuple(s * 1e6 / cost.clients for s in (cost.cpu.user_s, cost.cpu.system_s)),
        )
        for row, cost in costs
    ]
    return [
        bars("Memory per idle client", "KB", memory),
        bars("CPU time to connect: user, system (lighter)", "us", cpu),
    ]


def _label(row: Row) -> str:
    return f"{row.server} {row.variant}".rstrip()


def _goals(verdicts: Sequence[Verdict]) -> str:
    head = "<tr><th>goal</th><th>measured</th><th>wanted</th><th></th></tr>"
    body = "".join(
        f"<tr{'' if verdict.ok else ' class=missed'}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in verdict.line.split()[1:])
        + "</tr>"
        for verdict in verdicts
    )
    return f"<table>{head}{body}</table>"


def _table(rows: Sequence[Row], results: Results) -> str:
    return page_table(*table(rows, results))
