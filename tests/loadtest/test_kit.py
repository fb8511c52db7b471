"""What the load kit makes of Artillery's words and the probe's findings: a verdict, and a page."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
import pytest

import loadtest.kit.__main__ as kit
from loadtest.kit import artillery
from loadtest.kit.__main__ import LoadTest, LoadTestSettings
from loadtest.kit.artillery import Check, Crowd, Outcome, read_outcome
from loadtest.kit.page import render
from loadtest.kit.verdict import Run, judge
from loadtest.probe.clients import STREAMS
from loadtest.probe.clock import Clock
from loadtest.probe.latency import Quantiles, Second
from loadtest.probe.probe import Door, DoorFigures, Findings
from loadtest.probe.sequences import Tally
from tests.loadtest.feed import Feed
from tests.server.conftest import Served
from tests.support.processes import free_port

LIMIT_MS = 250.0
OUTCOME = Outcome(0, 200, 0, {}, (Check("clients.missed == 0", held=True),), (Crowd(10.0, 180),), ())
SAID = """
Checks:
ok: maxErrorRate < 0
fail: clients.missed == 0
"""
REPORT = {
    "aggregate": {
        "counters": {"vusers.created": 20, "vusers.failed": 2, "vusers.completed": 18, "errors.no pong": 2},
        "summaries": {
            "clients.back_ms": {"count": 18, "min": 1, "median": 12.5, "p99": 80, "max": 90},
            "vusers.session_length": {"count": 18, "min": 1, "median": 2, "p99": 3, "max": 4},
        },
    },
    "intermediate": [
        {
            "firstMetricAt": 1_000_500,
            "lastMetricAt": 1_008_000,
            "counters": {"vusers.created": 15, "vusers.completed": 5},
        },
        {
            "firstMetricAt": 1_010_001,
            "lastMetricAt": 1_018_000,
            "counters": {"vusers.created": 5, "vusers.completed": 13, "vusers.failed": 2},
        },
    ],
}


def door(which: Door, *, p99_ms: float = 14.0, lost: int = 0) -> DoorFigures:
    course = (Second(0, 40, 9.0), Second(1, 44, p99_ms))
    exchange, ingest = Quantiles(84, 3.0, p99_ms, p99_ms), Quantiles(84, 2.0, 8.0, 9.0)
    return DoorFigures(which, 8, 0, exchange, ingest, course, Tally(received=84, lost=lost))


def findings(*doors: DoorFigures, failures: tuple[str, ...] = (), lag_ms: float = 1.0) -> Findings:
    everywhere = doors or tuple(door(which) for which in Door)
    return Findings(everywhere, failures, Clock(0.2, 0.9), Quantiles(50, 0.1, lag_ms, lag_ms))


def test_artillery_s_report_is_read() -> None:
    outcome = read_outcome(1, SAID, json.dumps(REPORT).encode())
    assert (outcome.status, outcome.created, outcome.failed) == (1, 20, 2)
    assert outcome.errors == {"no pong": 2}
    assert outcome.checks == (Check("maxErrorRate < 0", held=True), Check("clients.missed == 0", held=False))
    assert outcome.crowd == (Crowd(7.5, 10), Crowd(17.5, 0))
    assert [(timing.name, timing.times, timing.p99_ms) for timing in outcome.timings] == [("clients.back_ms", 18, 80)]


def test_a_cluster_that_held_is_told_in_one_sentence() -> None:
    assert judge([Run("steady", OUTCOME, findings())], LIMIT_MS) == (
        "Held: 232 clients, p99 14 ms, nothing missed.",
        (),
    )
    slow = findings(door(Door.JSON, p99_ms=80.0))
    two = judge([Run("steady", OUTCOME, slow), Run("storm", OUTCOME, findings())], LIMIT_MS)
    assert two.held
    assert two.sentence == "Held: 440 clients in 2 scenarios, p99 80 ms, nothing missed."


@pytest.mark.parametrize(
    ("outcome", "found", "fault"),
    [
        (OUTCOME, findings(door(Door.JSON, lost=3)), "in storm the probe missed 3 messages"),
        (OUTCOME, findings(door(Door.JSON, p99_ms=300.0)), "p99 was 300 ms at the door JSON (limit 250 ms)"),
        (OUTCOME, findings(door(Door.JSON, p99_ms=300.0), lag_ms=90.0), "itself late by 90 ms"),
        (OUTCOME, findings(failures=("JSON 1: nothing came at all",)), "JSON 1: nothing came at all"),
        (OUTCOME._replace(failed=2, errors={"a": 1, "no pong": 2}), findings(), "2 of 200 clients failed (no pong)"),
        (OUTCOME._replace(failed=2), findings(), "2 of 200 clients failed (unknown)"),
        (OUTCOME._replace(checks=(Check("x == 0", held=False),), status=1), findings(), "x == 0 did not hold"),
        (OUTCOME._replace(status=7), findings(), "Artillery ended with status 7"),
        (OUTCOME._replace(status=None), findings(), "did not come to its end"),
    ],
)
def test_each_fault_alone_is_enough_not_to_hold(outcome: Outcome, found: Findings, fault: str) -> None:
    verdict = judge([Run("steady", OUTCOME, findings()), Run("storm", outcome, found)], LIMIT_MS)
    assert not verdict.held
    assert verdict.sentence.startswith("Did not hold: in storm ")
    assert fault in verdict.sentence
    assert len(verdict.faults) == 1


def test_a_scenario_that_could_not_run_comes_first_among_the_faults() -> None:
    slow = findings(door(Door.JSON, p99_ms=300.0))
    verdict = judge([Run("steady", OUTCOME, slow)], LIMIT_MS, "storm could not run: no answer")
    assert verdict.sentence.startswith("Did not hold: storm could not run: no answer; in steady p99 was 300 ms")


async def test_a_cluster_that_breaks_between_two_scenarios_did_not_hold_and_what_came_before_is_reported(
    served: Served, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run_and_break(*_: object, **__: object) -> Outcome:
        feed.silent.update(STREAMS)
        monkeypatch.setattr("loadtest.probe.probe.START_LIMIT_S", 0.1)
        return OUTCOME

    report = tmp_path / "report.html"
    report.write_text("an older one")
    monkeypatch.setattr(artillery, "run", run_and_break)
    monkeypatch.setattr(kit, "ROOT", tmp_path)
    monkeypatch.setattr(kit, "DIRECTORY", tmp_path)
    verdict = await LoadTest(LoadTestSettings(url=served.url, quick=True, p99_ms=60_000)).run()
    assert verdict.sentence.startswith("Did not hold: steady could not run: Socket.IO 1 hears nothing of http://")
    assert verdict.sentence in unescape(report.read_text())
    assert "Report: report.html" in capsys.readouterr().out


async def test_a_test_that_cannot_begin_leaves_no_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.html"
    report.write_text("an older one")
    monkeypatch.setattr(kit, "DIRECTORY", tmp_path)
    with pytest.raises(httpx.HTTPError):
        await LoadTest(LoadTestSettings(url=f"http://127.0.0.1:{free_port()}")).run()
    assert not report.exists()


def test_of_many_faults_the_sentence_names_some_and_counts_the_others() -> None:
    failures = tuple(f"JSON {number}: 1 doubled" for number in range(5))
    sentence = judge([Run("storm", OUTCOME, findings(failures=failures))], LIMIT_MS).sentence
    assert sentence.endswith("JSON 2: 1 doubled, and 2 more.")


def page(found: Findings, outcome: Outcome = OUTCOME) -> str:
    runs = [Run("steady", outcome, found)]
    return render(runs, judge(runs, LIMIT_MS), {"on": "a <machine>"})


def test_the_page_has_the_verdict_every_door_and_charts_and_loads_nothing() -> None:
    text = page(findings())
    assert '<p class="held">Held: 232 clients, p99 14 ms, nothing missed.</p>' in text
    assert all(f"<td>{which}</td>" in text for which in Door)
    assert "a &lt;machine&gt;" in text
    assert "± 0.9 ms" in text
    assert not re.search("<script|src=|href=", text)
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        assert ET.fromstring(chart).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text


def test_the_page_of_a_cluster_that_did_not_hold_says_why() -> None:
    outcome = read_outcome(1, SAID, json.dumps(REPORT).encode())
    text = page(findings(failures=("JSON 1: 1 doubled",)), outcome)
    assert '<p class="missed">Did not hold: ' in text
    assert "<td>in steady the probe found: JSON 1: 1 doubled</td>" in text
    assert "<td>clients.missed == 0</td><td>did not hold</td>" in text
    assert "<td>no pong</td><td>2</td>" in text


def test_what_a_door_does_not_tell_is_left_open() -> None:
    silent = door(Door.BINANCE)._replace(ingest=Quantiles(0, 0.0, 0.0, 0.0))
    row = re.search("<tr><td>Binance</td>.*?</tr>", page(findings(silent)))
    assert row is not None
    assert row[0].count("<td>-</td>") == 2


def test_doubled_messages_are_shown() -> None:
    twice = door(Door.JSON)
    twice = twice._replace(tally=replace(twice.tally, doubled=77))
    assert "<td>77</td>" in page(findings(twice))
