"""`python -m loadtest.bench`: measure, show progress, print a table, write loadtest/report.html, judge.

`QUICK=1` measures the two main scenarios alone. Exit status 1 when a goal is missed, 2 when nothing
could be measured, 130 after Ctrl-C.
"""

import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import typer
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from binance.settings import SettingsError, load_settings
from loadtest.bench import scenarios
from loadtest.bench.capacity import FRAMES_PER_WRITE, measure_capacity, measure_floor
from loadtest.bench.goals import MAIN_GOALS, MORE_GOALS, judge
from loadtest.bench.ground import prepare_ground
from loadtest.bench.page import render
from loadtest.bench.processes import ROOT, BenchError
from loadtest.bench.samples import Results
from loadtest.bench.servers import CONTESTANTS, versions
from loadtest.bench.tables import LEGEND, as_text, capacity_lines, line_of, table, warnings

REPORT: Final = ROOT / "loadtest" / "report.html"


class BenchSettings(BaseSettings):
    """The environment variables of `make bench`."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    quick: bool = Field(default=False, description="measure the two main scenarios alone")


def main() -> None:
    """Run the bench."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        missed = run(quick=load_settings(BenchSettings).quick)
    except (BenchError, SettingsError) as error:
        typer.echo(f"The bench cannot run: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("\nEnded early; everything that was started is ended, too.", err=True)
        sys.exit(130)
    sys.exit(1 if missed else 0)


def run(*, quick: bool) -> bool:
    """Measure everything and report; whether a goal was missed. Raises BenchError when it cannot begin."""
    began = time.monotonic()
    chosen = scenarios.MAIN_SCENARIOS if quick else scenarios.MAIN_SCENARIOS + scenarios.MORE_SCENARIOS
    results = Results()

    def say(words: str) -> None:
        typer.echo(f"[{time.monotonic() - began:4.0f} s] {words}")

    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / ".run") as directory:
        ground = prepare_ground(Path(directory))
        say(f"server on core {ground.server_core}, everything else on core {ground.other_core}")
        for frames in FRAMES_PER_WRITE:
            results.capacity[f"{frames} a write"] = measure_capacity(ground, frames)
            say(capacity_lines(results)[-1])
        results.floor = measure_floor(ground, scenarios.FLOOR_RATE)
        say(capacity_lines(results)[-1])
        scenarios.measure(chosen, CONTESTANTS, ground, results, lambda row: say(line_of(row)))
    verdicts = judge(MAIN_GOALS if quick else MAIN_GOALS + MORE_GOALS, results)
    REPORT.write_text(render(chosen, results, verdicts, _about(time.monotonic() - began)))
    _print(chosen, results)
    for verdict in verdicts:
        typer.echo(verdict.line)
    return not all(verdict.ok for verdict in verdicts)


def _print(chosen: Sequence[scenarios.Scenario], results: Results) -> None:
    for scenario in chosen:
        rows = [row for row in results.rows if row.scenario == scenario.name]
        typer.echo(f"\n{scenario.name}: {scenario.explanation}\n{as_text(table(rows, results))}")
    typer.echo(f"\n{LEGEND}")
    for line in capacity_lines(results):
        typer.echo(line)
    typer.echo(f"Report: {REPORT.relative_to(ROOT)}")
    for line in warnings(results):
        typer.echo(line)


def _about(seconds: float) -> dict[str, str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "in": f"{seconds:.0f} s",
        "on": f"{model}, {os.cpu_count()} cores, Linux {platform.release()}",
        **versions(),
    }


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
