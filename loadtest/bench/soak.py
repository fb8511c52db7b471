"""`python -m loadtest.bench.soak` (`make soak`): thousands of clients for half an hour; nothing may drift.

10,000 idle subscribed clients on one replica, 5,000 active ones on another through Nginx, and a whole cluster
through whose Nginx clients come, change their minds and go. Of every process memory, descriptors, threads and
tasks are watched, and latencies besides. `MINUTES` says how long (30). Exit status 1 when something drifts or is lost.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from loadtest.bench.churn_stage import ChurnStage
from loadtest.bench.drift import LATENCY, Measure, Point, Trend, trend_of
from loadtest.bench.ground import prepare_ground
from loadtest.bench.metronome import Pace
from loadtest.bench.processes import ROOT, BenchError, Child
from loadtest.bench.samples import DELIVERED_MIN, Sample
from loadtest.bench.scenarios import TICK_MS
from loadtest.bench.servers import CONTESTANTS, TICKCAST
from loadtest.bench.stage import Ground, Setup, Stage
from loadtest.bench.vitals import vitals

IDLE_CLIENTS: Final = 10_000
ACTIVE_CLIENTS: Final = 5_000
STREAMS: Final = 2
UPDATES_PER_S: Final = 10
"""Of all streams together: every active client gets so many."""
WINDOW_S: Final = 14.0
FAILURES_MAX: Final = 0.001
"""Of visits: a client may be cut off now and then, as by an address in use."""

Series = Mapping[tuple[str, Measure], list[Point]]
"""What was sampled, by process and measure."""


class SoakSettings(BaseSettings):
    """The environment variables of `make soak`."""

    minutes: float = Field(default=30, ge=3, le=240, description="how long the clients stay")


class Found(NamedTuple):
    """What a soak found: every window of the active clients, the visitors' sums, and the series."""

    windows: list[Sample]
    visitors: Mapping[str, int]
    series: Series


class Places(NamedTuple):
    """Where clients are."""

    idle: Stage
    active: Stage
    churn: ChurnStage

    def processes(self) -> Iterator[tuple[str, Child, int | None]]:
        """Each process that serves: its name, itself, and the port of its metrics, where it has some."""
        for place, stage in (("idle", self.idle), ("active", self.active)):
            for name in stage.children.keys() & {"server", "redis", "nginx"}:
                yield f"{place} {name}", stage.children[name], stage.server_port if name == "server" else None
        for name, child in self.churn.children.items():
            if name != "visitors":
                yield f"churn {name}", child, self.churn.replica_port if name == "app1" else None


def main() -> None:
    """Run the soak."""
    try:
        minutes = load_settings(SoakSettings).minutes
        (ROOT / ".run").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="soak-", dir=ROOT / ".run") as directory:
            found = _soak(prepare_ground(Path(directory)), minutes * 60)
    except (BenchError, SettingsError) as error:
        typer.echo(f"The soak cannot run: {error}", err=True)
        sys.exit(2)
    sys.exit(0 if judge(found) else 1)


def judge(found: Found) -> bool:
    """Print the trends, then one line per promise; whether all hold."""
    trends = trends_of(found.series)
    for trend in trends:
        typer.echo(trend.line)
    drifting = [trend for trend in trends if trend.drifts]
    delivered = sum(window.delivered for window in found.windows)
    offered = sum(window.published * window.clients for window in found.windows)
    lost = sum(window.lost_clients for window in found.windows)
    visits, failed = found.visitors.get("visits", 0), found.visitors.get("failures", 0)
    promises: dict[str, tuple[float, bool]] = {
        "trends": (len(trends), len(trends) == len(found.series) > 0),
        "drifting": (len(drifting), not drifting),
        "active_delivered_share": (delivered / offered, delivered >= DELIVERED_MIN * offered),
        "active_lost_clients": (lost, lost == 0),
        "visits": (visits, visits > 0),
        "failed_visits": (failed, failed <= FAILURES_MAX * visits),
    }
    for name, (value, ok) in promises.items():
        typer.echo(f"SOAK {name} {value:.3g} {'ok' if ok else 'MISSED'}")
    return all(ok for _, ok in promises.values())


def trends_of(series: Series) -> list[Trend]:
    """The trend of each series that is long enough."""
    trends = (trend_of(process, measure, points) for (process, measure), points in sorted(series.items()))
    return [trend for trend in trends if trend is not None]


def _soak(ground: Ground, seconds: float) -> Found:
    tickcast = next(contestant for contestant in CONTESTANTS if contestant.name == TICKCAST)
    where = [ground._replace(directory=ground.directory / name) for name in ("idle", "active", "churn")]
    for place in where:
        place.directory.mkdir()
    with ExitStack() as running:
        places = Places(
            running.enter_context(Stage(where[0], tickcast, Setup(streams=1))),
            running.enter_context(Stage(where[1], tickcast, Setup(streams=STREAMS, through_nginx=True))),
            running.enter_context(ChurnStage(where[2])),
        )
        places.idle.connect(IDLE_CLIENTS)
        places.active.connect(ACTIVE_CLIENTS)
        typer.echo(f"{IDLE_CLIENTS} idle and {ACTIVE_CLIENTS} active clients are connected, others come and go")
        return _watch(places, seconds)


def _watch(places: Places, seconds: float) -> Found:
    series: defaultdict[tuple[str, Measure], list[Point]] = defaultdict(list)
    windows: list[Sample] = []
    visitors = dict.fromkeys(("visits", "failures", "messages"), 0)
    began = time.monotonic()
    while (at_s := time.monotonic() - began) < seconds:
        window = places.active.measure(Pace(UPDATES_PER_S, TICK_MS), WINDOW_S)
        windows.append(window)
        visited = places.churn.take()
        for name in visitors:
            visitors[name] += visited[name]
        series["active clients", LATENCY].append(Point(at_s, window.p99_ms))
        series["churn visitors", LATENCY].append(Point(at_s, visited["p99_us"] / 1000))
        for name, child, port in places.processes():
            for measure, value in vitals(child.pid, port):
                series[name, measure].append(Point(at_s, value))
        typer.echo(_line(at_s, window, visited))
    return Found(windows, visitors, series)


def _line(at_s: float, window: Sample, visited: Mapping[str, Any]) -> str:
    return (
        f"[{at_s:4.0f} s] active {window.rss_mb:.1f} MB, {window.delivered_per_s:,.0f}/s, p99 {window.p99_ms:.1f} ms, "
        f"{window.lost_clients} lost; {visited['visits']} visits, {visited['failures']} failed, "
        f"p99 {visited['p99_us'] / 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
