"""`python -m loadtest.kit` (`make loadtest`): load on a cluster, and one sentence on whether it held.

Starts a cluster of its own on free ports, or takes the one at `URL`; runs all scenarios, or `SCENARIO`, one after the
other; `QUICK=1` makes them small. Writes .run/loadtest/report.html. Exit status 1 when the cluster did not hold, 2 when
nothing could be measured, 130 after Ctrl-C.
"""

import asyncio
import contextlib
import os
import platform
import sys
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx
import typer
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from binance.settings import SettingsError, load_settings
from loadtest.cluster import ROOT, ClusterError, running_cluster, settings, until_told
from loadtest.kit import artillery
from loadtest.kit.artillery import ArtilleryError
from loadtest.kit.page import render
from loadtest.kit.verdict import Run, Verdict, faults_of, judge
from loadtest.probe.lean import Address
from loadtest.probe.probe import Probe, ProbeError

SCENARIOS: Final = ROOT / "loadtest" / "scenarios"
DIRECTORY: Final = ROOT / ".run" / "loadtest"
CLIENTS_A_DOOR: Final = 8
QUICK_CLIENTS_A_DOOR: Final = 2
PROGRESS_S: Final = 5.0


class Scenario(StrEnum):
    """The files in loadtest/scenarios, in the order in which they run."""

    TICKS = "ticks"
    STEADY = "steady"
    RAMP = "ramp"
    STORM = "storm"
    POLLING = "polling"
    MIXED = "mixed"

    @property
    def path(self) -> Path:
        """Its file."""
        return SCENARIOS / f"{self}.yml"


class LoadTestSettings(BaseSettings):
    """The environment variables of `make loadtest`; a cluster that it starts takes its own ones, too."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    scenario: Scenario | None = Field(default=None, description="the only scenario; all of them where it is not given")
    url: str | None = Field(default=None, description="where a cluster runs that is tested instead of one's own")
    quick: bool = Field(default=False, description="few clients for a short time")
    p99_ms: float = Field(default=250.0, gt=0, le=60_000, description="ms that no door's p99 may exceed")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        if url is not None:
            Address.of(url)
        return url.rstrip("/") if url else None

    @property
    def scenarios(self) -> list[Scenario]:
        """Which are run."""
        return [self.scenario] if self.scenario else list(Scenario)


class LoadTest:
    """One load test and what it found so far."""

    def __init__(self, chosen: LoadTestSettings) -> None:
        self._chosen = chosen
        self._began = time.monotonic()
        self._runs: list[Run] = []

    async def run(self) -> Verdict:
        """All scenarios, the report, the verdict.

        Where a later scenario cannot run the cluster did not hold, and what was found before is reported.

        Raises:
            ClusterError, ArtilleryError, ProbeError, httpx.HTTPError: there is no cluster, or no scenario could run.
        """
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        report = DIRECTORY / "report.html"
        report.unlink(missing_ok=True)  # nobody shall take an older one for this test's
        broken = ""
        async with self._cluster() as url:
            for scenario in self._chosen.scenarios:
                try:
                    self._runs.append(await self._scenario(scenario, url))
                except (ArtilleryError, ProbeError, httpx.HTTPError) as error:
                    if not self._runs:
                        raise
                    why = (str(error) or repr(error)).splitlines()[0].rstrip(":")
                    broken = f"{scenario} could not run: {why}"
                    self._say(broken)
                    break
        verdict = judge(self._runs, self._chosen.p99_ms, broken)
        report.write_text(render(self._runs, verdict, self._about()))
        typer.echo(f"Report: {report.relative_to(ROOT)}")
        return verdict

    async def _scenario(self, scenario: Scenario, url: str) -> Run:
        clients = QUICK_CLIENTS_A_DOOR if self._chosen.quick else CLIENTS_A_DOOR
        async with Probe(url, clients) as probe:
            self._say(f"{scenario}: the probe has {clients} clients at each door, Artillery starts")
            telling = asyncio.create_task(self._tell(scenario, probe))
            try:
                outcome = await artillery.run(scenario.path, url, DIRECTORY, quick=self._chosen.quick)
            finally:
                telling.cancel()
        run = Run(scenario, outcome, probe.findings())
        faults = faults_of(run, self._chosen.p99_ms)
        self._say(f"{scenario}: {outcome.created} clients, {probe.progress}; {'; '.join(faults) or 'held'}")
        return run

    async def _tell(self, scenario: Scenario, probe: Probe) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            self._say(f"{scenario}: {probe.progress}")

    @contextlib.asynccontextmanager
    async def _cluster(self) -> AsyncIterator[str]:
        if self._chosen.url is not None:
            self._say(
                f"{self._chosen.url}: all clients have one address, whose quotas must let them in (docs/quotas.md)"
            )
            yield self._chosen.url
            return
        self._say("starting a cluster: two replicas, two ingestors, Redis, Nginx, a simulated exchange")
        symbols = os.environ.get("SIM_SYMBOLS", "8")
        # All clients come from one address: by key they spread over both replicas all the same.
        async with running_cluster(settings(NGINX_BALANCE="key", SIM_SYMBOLS=symbols)) as url:
            self._say(f"{url} is ready")
            yield url

    def _about(self) -> dict[str, str]:
        return {
            "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "in": f"{time.monotonic() - self._began:.0f} s",
            "at": self._chosen.url or "a cluster of its own on the same machine",
            "on": f"{os.cpu_count()} cores, Linux {platform.release()}",
        }

    def _say(self, words: str) -> None:
        typer.echo(f"[{time.monotonic() - self._began:4.0f} s] {words}")


def main() -> None:
    """Run it and judge it."""
    try:
        verdict = asyncio.run(until_told(LoadTest(load_settings(LoadTestSettings)).run()))
    except (SettingsError, ClusterError, ArtilleryError, ProbeError, httpx.HTTPError) as error:
        typer.echo(f"The load test cannot run: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("\nEnded early; everything that was started is ended, too.", err=True)
        sys.exit(130)
    typer.echo(verdict.sentence)
    sys.exit(0 if verdict.held else 1)


if __name__ == "__main__":
    main()
