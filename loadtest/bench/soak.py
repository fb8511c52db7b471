"""`python -m loadtest.bench.soak`: thousands of clients for minutes; the replicas' memory must stay flat.

10,000 idle subscribed clients on one replica, 5,000 active ones on another through the Nginx that we
ship. `MINUTES` says how long (5). Exit status 1 when something drifts or gets lost.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from loadtest.bench.ground import prepare_ground
from loadtest.bench.metronome import Pace
from loadtest.bench.processes import ROOT, BenchError
from loadtest.bench.samples import DELIVERED_MIN, Sample
from loadtest.bench.scenarios import TICK_MS
from loadtest.bench.servers import CONTESTANTS, TICKCAST
from loadtest.bench.stage import Ground, Setup, Stage

IDLE_CLIENTS: Final = 10_000
ACTIVE_CLIENTS: Final = 5_000
STREAMS: Final = 2
UPDATES_PER_S: Final = 10
"""Of all streams together: every active client gets so many."""
WINDOW_S: Final = 29.0
GROWTH_MAX: Final = 1.05
"""Memory after the last window against that after the first one."""


class SoakSettings(BaseSettings):
    """The environment variables of `make soak`."""

    minutes: float = Field(default=5, ge=1, le=120, description="how long the clients stay")


class Moment(NamedTuple):
    """What one window found."""

    idle_mb: float
    active: Sample


def main() -> None:
    """Run the soak."""
    try:
        minutes = load_settings(SoakSettings).minutes
        (ROOT / ".run").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="soak-", dir=ROOT / ".run") as directory:
            moments = _soak(prepare_ground(Path(directory)), minutes * 60)
    except (BenchError, SettingsError) as error:
        typer.echo(f"The soak cannot run: {error}", err=True)
        sys.exit(2)
    sys.exit(0 if judge(moments) else 1)


def judge(moments: list[Moment]) -> bool:
    """Print one line per promise; whether all hold."""
    first, last = moments[0], moments[-1]
    delivered = sum(moment.active.delivered for moment in moments)
    offered = sum(moment.active.published * moment.active.clients for moment in moments)
    lost = sum(moment.active.lost_clients for moment in moments)
    promises = {
        "idle_memory_growth": (last.idle_mb / first.idle_mb, last.idle_mb <= first.idle_mb * GROWTH_MAX),
        "active_memory_growth": (
            last.active.rss_mb / first.active.rss_mb,
            last.active.rss_mb <= first.active.rss_mb * GROWTH_MAX,
        ),
        "active_delivered_share": (delivered / offered, delivered >= DELIVERED_MIN * offered),
        "active_lost_clients": (lost, lost == 0),
    }
    for name, (value, ok) in promises.items():
        typer.echo(f"SOAK {name} {value:.3g} {'ok' if ok else 'MISSED'}")
    return all(ok for _, ok in promises.values())


def _soak(ground: Ground, seconds: float) -> list[Moment]:
    tickcast = next(contestant for contestant in CONTESTANTS if contestant.name == TICKCAST)
    places = [ground._replace(directory=ground.directory / name) for name in ("idle", "active")]
    for place in places:
        place.directory.mkdir()
    with (
        Stage(places[0], tickcast, Setup(streams=1)) as idle,
        Stage(places[1], tickcast, Setup(streams=STREAMS, through_nginx=True)) as active,
    ):
        idle.connect(IDLE_CLIENTS)
        active.connect(ACTIVE_CLIENTS)
        typer.echo(f"{IDLE_CLIENTS} idle and {ACTIVE_CLIENTS} active clients are connected and subscribed")
        moments: list[Moment] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sample = active.measure(Pace(UPDATES_PER_S, TICK_MS), WINDOW_S)
            moments.append(Moment(idle.memory_mb(), sample))
            typer.echo(
                f"[{seconds - (end - time.monotonic()):4.0f} s] idle {moments[-1].idle_mb:.1f} MB, active "
                f"{sample.rss_mb:.1f} MB, {sample.delivered_per_s:,.0f}/s, p99 {sample.p99_ms:.1f} ms, "
                f"{sample.lost_clients} lost"
            )
    return moments


if __name__ == "__main__":
    main()
