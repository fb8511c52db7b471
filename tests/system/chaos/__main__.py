"""`python -m tests.system.chaos` (`make chaos`): a seeded sequence of faults against a whole cluster.

One line for each fault, a report in .run/, and a last line for scripts. Exit status 1 if a client saw what none may
see, or a planned fault did not happen, 130 after Ctrl-C. `SEED` repeats a run, `QUICK=1` makes it short.
"""

import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from tests.support.processes import ROOT
from tests.system.chaos.company import Company
from tests.system.chaos.faults import fault_of
from tests.system.chaos.ground import Ground
from tests.system.chaos.plan import plan
from tests.system.chaos.report import Result, Verdict

ROTATION_S: Final = 60
"""After how long each connection to the exchange is replaced, beside all faults."""
_MAX_SEED: Final = 1_000_000


class ChaosSettings(BaseSettings):
    """The environment variables of `make chaos`."""

    seed: int = Field(
        default_factory=lambda: random.randrange(_MAX_SEED),  # noqa: S311 # it is printed
        ge=0,
        description="the same seed, the same plan",
    )
    quick: bool = Field(default=False, description="a short round")


def main() -> None:
    """Let all of it happen."""
    try:
        settings = load_settings(ChaosSettings)
    except SettingsError as error:
        typer.echo(f"Cannot begin: {error}", err=True)
        sys.exit(2)
    (ROOT / ".run").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{settings.seed}-", dir=ROOT / ".run"))
    try:
        result = asyncio.run(_interruptible(directory, settings))
    except asyncio.CancelledError:
        typer.echo("\nEnded early; everything that was started is ended, too.", err=True)
        sys.exit(130)
    report = directory / "report.json"
    report.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    typer.echo(f"The report: {report.relative_to(ROOT)}; the processes' logs: {directory.relative_to(ROOT)}/state/logs")
    typer.echo(result.last_line)
    sys.exit(0 if result.ok else 1)


async def _interruptible(directory: Path, settings: ChaosSettings) -> Result:
    """The run, cancelled by SIGINT, SIGTERM and SIGHUP."""
    run = asyncio.create_task(_run(directory, settings))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, run.cancel)
    return await run


async def _run(directory: Path, settings: ChaosSettings) -> Result:
    began = time.monotonic()
    steps = plan(settings.seed, quick=settings.quick)
    typer.echo(f"SEED={settings.seed}: {len(steps)} faults")
    verdicts: list[Verdict] = []
    wrong: list[str] = []
    async with (
        Ground(directory, {"CONNECTION_LIFETIME_S": str(ROTATION_S)}) as ground,
        Company(ground.site.url, settings.seed) as company,
    ):
        typer.echo(f"{len(ground.clients)} clients hear everything after {time.monotonic() - began:.0f} s")
        try:
            for step in steps:
                verdicts.append(await ground.undergo(fault_of(step)))
                _tell(verdicts[-1])
        except (AssertionError, httpx.HTTPError) as error:
            wrong.append(f"it cannot go on: {error!r}, {error.__cause__!r}")
        clients = len(ground.clients)
        rotations = await ground.handovers("age")
    typer.echo(f"The crowd: {company.crowd.told}")
    typer.echo(f"The hostile: {company.hostile.told}")
    typer.echo(f"It took {time.monotonic() - began:.0f} s; {rotations} connections were replaced for their age")
    wrong += company.failures
    for failure in wrong:
        typer.echo(f"    {failure}")
    return Result(settings.seed, len(steps), clients, verdicts, wrong)


def _tell(verdict: Verdict) -> None:
    """Print what came of one fault."""
    typer.echo(verdict.line)
    for line in (*verdict.failures, *(f"(told, but avoidable) {loss}" for loss in verdict.losses)):
        typer.echo(f"    {line}")


if __name__ == "__main__":
    main()
