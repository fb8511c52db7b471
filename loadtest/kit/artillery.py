"""One run of Artillery: started, limited in time, and read."""

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from loadtest.cluster import ROOT

LIMIT_S: Final = 150.0
"""A client whose acknowledgement never comes waits for ever: a run that takes longer has failed."""
_END_S: Final = 10.0
_CHECK: Final = re.compile(r"^(ok|fail): (.+)$", re.MULTILINE)
_ERROR: Final = "errors."


class ArtilleryError(Exception):
    """Why a scenario could not be run at all, as a sentence."""


class Check(NamedTuple):
    """One condition of a scenario's `ensure`, and whether it held."""

    condition: str
    held: bool


class Crowd(NamedTuple):
    """How many clients there were `at_s` into the run."""

    at_s: float
    clients: int


class Timing(NamedTuple):
    """What the scenario's own clients timed, in ms."""

    name: str
    times: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Outcome(NamedTuple):
    """How a scenario went. `status` is Artillery's exit status, None where it had to be ended."""

    status: int | None
    created: int
    failed: int
    errors: Mapping[str, int]
    checks: tuple[Check, ...]
    crowd: tuple[Crowd, ...]
    timings: tuple[Timing, ...]


async def run(scenario: Path, url: str, directory: Path, *, quick: bool) -> Outcome:
    """Run `scenario` against `url`; Artillery's own report and output stay in `directory`. Raises ArtilleryError."""
    report, log = directory / f"{scenario.stem}.json", directory / f"{scenario.stem}.log"
    report.unlink(missing_ok=True)
    offline = str(Path(__file__).with_name("offline.cjs"))
    command = ["node", "--require", offline, "node_modules/artillery/bin/run", "run"]
    command += ["--target", url, "--output", str(report)]
    command += ["--environment", "quick"] if quick else []
    env = {**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true", "NO_COLOR": "1"}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, str(scenario), cwd=ROOT, env=env, stdin=DEVNULL, stdout=output, stderr=STDOUT
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                await process.wait()
            status = process.returncode
        except TimeoutError:
            status = None
        finally:
            await _end(process)
    said = log.read_text(errors="replace")
    if not report.exists() and status is not None:
        raise ArtilleryError(f"{scenario.stem} did not run; the end of {log}:\n{said[-1000:]}")
    return read_outcome(status, said, report.read_bytes() if report.exists() else b'{"aggregate": {}}')


def read_outcome(status: int | None, said: str, report: bytes) -> Outcome:
    """What Artillery's output and its JSON report tell. Pure."""
    decoded = msgspec.json.decode(report)
    counters: dict[str, int] = decoded["aggregate"].get("counters", {})
    summaries: dict[str, dict[str, float]] = decoded["aggregate"].get("summaries", {})
    return Outcome(
        status,
        counters.get("vusers.created", 0),
        counters.get("vusers.failed", 0),
        {name.removeprefix(_ERROR): count for name, count in counters.items() if name.startswith(_ERROR)},
        tuple(Check(condition, word == "ok") for word, condition in _CHECK.findall(said)),
        _crowd(decoded.get("intermediate", [])),
        tuple(
            Timing(name, int(summary["count"]), summary["median"], summary["p99"], summary["max"])
            for name, summary in summaries.items()
            if name.startswith("clients.")
        ),
    )


def _crowd(periods: list[dict[str, Any]]) -> tuple[Crowd, ...]:
    """How many clients there were at the end of each period, by Artillery's own times (ms since the epoch)."""
    crowd, clients = [], 0
    for period in periods:
        counters = period["counters"]
        clients += counters.get("vusers.created", 0)
        clients -= counters.get("vusers.completed", 0) + counters.get("vusers.failed", 0)
        crowd.append(Crowd((period["lastMetricAt"] - periods[0]["firstMetricAt"]) / 1000, clients))
    return tuple(crowd)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it, if it has not ended, politely and then firmly."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
