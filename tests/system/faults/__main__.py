"""`python -m tests.system.faults` (`make faults`): all faults, each for 10 s, and 5 minutes of rotation; 15 minutes.

One line for each fault, then a total. Exit status 1 if a client saw what none may see, 130 after Ctrl-C.
`SECONDS` and `ROTATION_SECONDS` shorten it.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from tests.support.processes import ROOT
from tests.system.faults.checker import Tally
from tests.system.faults.ground import Fault, Ground, Verdict, cluster_ground
from tests.system.faults.scenarios import NODE_LOST, ON_NATS, ON_REDIS, ROTATED

ROTATION_S: Final = 20
"""After how long each connection to the exchange is replaced while rotation is watched."""


class FaultSettings(BaseSettings):
    """The environment variables of `make faults`."""

    seconds: float = Field(default=10, ge=1, le=60, description="how long a fault lasts")
    rotation_seconds: float = Field(default=300, ge=20, le=3_600, description="how long rotation is watched")


def main() -> None:
    """Let all of it happen."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings = load_settings(FaultSettings)
    except SettingsError as error:
        typer.echo(f"Cannot begin: {error}", err=True)
        sys.exit(2)
    (ROOT / ".run").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="faults-", dir=ROOT / ".run"))
    try:
        verdicts = list(_report(_all(directory, settings)))
    except KeyboardInterrupt:
        typer.echo("\nEnded early; everything that was started is ended, too.", err=True)
        sys.exit(130)
    failed = any(verdict.failures for verdict in verdicts)
    if failed:
        typer.echo(f"The processes' logs are in {directory.relative_to(ROOT)}")
    sys.exit(1 if failed else 0)


def _report(verdicts: Iterator[Verdict]) -> Iterator[Verdict]:
    """Print each verdict as it comes, and the sum of all."""
    began = time.monotonic()
    total, failed, silence_s = Tally(), list[str](), 0.0
    for verdict in verdicts:
        typer.echo(verdict.line)
        for failure in verdict.failures:
            typer.echo(f"    {failure}")
        total.add(verdict.tally)
        silence_s = max(silence_s, verdict.silence_s)
        failed += verdict.failures
        yield verdict
    typer.echo(Verdict(f"all, in {time.monotonic() - began:.0f} s", total, silence_s, failed).line)


def _all(directory: Path, settings: FaultSettings) -> Iterator[Verdict]:
    typer.echo("Redis")
    with Ground(directory / "redis") as ground:
        yield from _each(ground, ON_REDIS, settings.seconds)
    typer.echo(f"Redis, every connection to the exchange replaced after {ROTATION_S} s")
    with Ground(directory / "rotation", {"CONNECTION_LIFETIME_S": str(ROTATION_S)}) as ground:
        yield ground.undergo(ROTATED, settings.rotation_seconds)
    typer.echo("NATS")
    with Ground(directory / "nats", bus="nats") as ground:
        yield from _each(ground, ON_NATS, settings.seconds)
    typer.echo("Redis Cluster")
    with cluster_ground(directory / "redis-cluster") as ground:
        yield ground.undergo(NODE_LOST, settings.seconds)


def _each(ground: Ground, faults: Sequence[Fault], seconds: float) -> Iterator[Verdict]:
    for fault in faults:
        yield ground.undergo(fault, seconds)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
