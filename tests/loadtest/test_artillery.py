"""Artillery itself, where it cannot do what it should."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from loadtest.kit import artillery
from loadtest.kit.artillery import ArtilleryError
from tests.support.processes import free_port

ENDLESS = """
config:
  phases: [{duration: 1, arrivalRate: 1}]
scenarios:
  - flow: [{think: 600}]
"""


async def test_a_run_that_does_not_come_to_its_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artillery, "LIMIT_S", 3.0)
    scenario = tmp_path / "endless.yml"
    scenario.write_text(ENDLESS)
    outcome = await artillery.run(scenario, f"http://127.0.0.1:{free_port()}", tmp_path, quick=False)
    assert outcome.status is None


async def test_what_does_not_end_politely_is_killed_even_if_nobody_waits_for_that() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", stubborn, stdout=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    ending = asyncio.create_task(artillery._end(process))
    await asyncio.sleep(0)  # it has asked, and waits
    ending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ending
    is_alive = process.returncode is None
    if is_alive:
        process.kill()
    assert not is_alive


async def test_a_scenario_that_artillery_cannot_read_is_told_with_its_words(tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.yml"
    scenario.write_text("config: {phases: 1}\n")
    with pytest.raises(ArtilleryError, match="wrong did not run"):
        await artillery.run(scenario, f"http://127.0.0.1:{free_port()}", tmp_path, quick=False)
