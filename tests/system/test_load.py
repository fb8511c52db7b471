"""`make loadtest` at its smallest: a cluster of its own, clients at every door, the probe, the report."""

import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.processes import ROOT, free_port, run_to_end
from tests.web.browsing import open_page, save

REPORT = ROOT / ".run" / "loadtest" / "report.html"
KIT = [sys.executable, "-m", "loadtest.kit"]
LIMIT_S = 240.0
"""Longer than the kit waits for its cluster (120 s) and for Artillery: what it says of them is worth more."""


@pytest.fixture(scope="module")
def said() -> list[str]:
    # How late messages are says something about the machine that runs the tests.
    finished = run_to_end(KIT, {"SCENARIO": "mixed", "QUICK": "1", "P99_MS": "60000"}, LIMIT_S)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.splitlines()


@pytest.mark.timeout(LIMIT_S + 60)
def test_clients_of_every_door_are_served_and_the_last_line_says_that_the_cluster_held(said: list[str]) -> None:
    assert said[-1].startswith("Held: 32 clients, p99 ")
    assert said[-1].endswith(", nothing missed.")
    assert said[-2] == "Report: .run/loadtest/report.html"


@pytest.mark.browser
@pytest.mark.timeout(LIMIT_S + 60)
async def test_its_report_shows_the_verdict_and_a_chart_for_a_person_to_look_at(
    said: list[str], browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, REPORT.as_uri())
    await expect(page.locator(".held")).to_have_text(said[-1])
    await expect(page.get_by_role("img").first).to_be_visible()
    await save(page, tmp_path, "load-testing")
    assert errors == []


def test_a_cluster_that_is_not_there_is_told_in_one_sentence() -> None:
    finished = run_to_end(KIT, {"URL": f"http://127.0.0.1:{free_port()}", "QUICK": "1"}, 60)
    assert finished.returncode == 2
    assert finished.stderr.startswith("The load test cannot run: ")
    assert len(finished.stderr.strip().splitlines()) == 1
