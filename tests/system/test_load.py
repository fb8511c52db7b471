"""`make loadtest` at its smallest: a cluster of its own, clients at every door, the probe, the report."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.processes import ROOT, free_port
from tests.web.browsing import open_page, save

REPORT = ROOT / ".run" / "loadtest" / "report.html"
KIT = [sys.executable, "-m", "loadtest.kit"]


@pytest.fixture(scope="module")
def said() -> list[str]:
    # How late messages are says something about the machine that runs the tests.
    env = {**os.environ, "SCENARIO": "mixed", "QUICK": "1", "P99_MS": "60000"}
    REPORT.unlink(missing_ok=True)
    finished = subprocess.run(KIT, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.splitlines()


@pytest.mark.timeout(120)
def test_clients_of_every_door_are_served_and_the_last_line_says_that_the_cluster_held(said: list[str]) -> None:
    assert said[-1].startswith("Held: 32 clients, p99 ")
    assert said[-1].endswith(", nothing missed.")
    assert said[-2] == "Report: .run/loadtest/report.html"


@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_its_report_shows_the_verdict_and_a_chart_for_a_person_to_look_at(
    said: list[str], browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, REPORT.as_uri())
    await expect(page.locator(".held")).to_have_text(said[-1])
    await expect(page.get_by_role("img").first).to_be_visible()
    await save(page, tmp_path, "load-testing")
    assert errors == []


def test_a_cluster_that_is_not_there_is_told_in_one_sentence() -> None:
    env = {**os.environ, "URL": f"http://127.0.0.1:{free_port()}", "QUICK": "1"}
    finished = subprocess.run(KIT, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("The load test cannot run: ")
    assert len(finished.stderr.strip().splitlines()) == 1
