"""Dashboards, alerts and their provisioning, as far as they can be checked without Grafana."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check_config import compose_services
from tests.support.boards import DASHBOARDS, PROMETHEUS, alerts, dashboard
from tests.support.processes import ROOT

RUNBOOK = ROOT / "docs" / "runbook.md"
UNITS = {"short", "s", "bytes", "Bps", "cps", "percentunit"}
"""Units by Grafana's names that the boards use."""
GRID_WIDTH = 24


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dashboard(request.param)


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The cells of the grid that a panel takes."""
    place = panel["gridPos"]
    columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return set(itertools.product(columns, rows))


def test_there_are_the_four_boards_each_under_its_own_stable_name() -> None:
    assert [path.stem for path in DASHBOARDS] == [
        "tickcast-clients",
        "tickcast-fan-out",
        "tickcast-feed",
        "tickcast-overview",
    ]
    assert [dashboard(path)["uid"] for path in DASHBOARDS] == [path.stem for path in DASHBOARDS]


def test_a_boards_panels_have_names_places_and_numbers_of_their_own(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel, other in itertools.combinations(panels, 2):
        assert not cells(panel) & cells(other), f"{panel['title']} lies over {other['title']}"
    assert all(column < GRID_WIDTH for panel in panels for column, _ in cells(panel))


def test_every_panel_says_what_it_answers_in_which_unit_and_asks_the_chosen_prometheus(board: dict[str, Any]) -> None:
    (variable,) = board["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in board["panels"]:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) > 0


def test_boards_ask_over_the_interval_that_grafana_works_out(board: dict[str, Any]) -> None:
    for panel in board["panels"]:
        for target in panel["targets"]:
            ranges = set(re.findall(r"\[([^]]+)]", target["expr"]))
            assert ranges <= {"$__rate_interval", "1h"}, panel["title"]


def test_every_alert_says_how_urgent_it_is_and_the_runbook_what_to_do() -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    for rule in alerts():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert sections == {rule["alert"] for rule in alerts()}


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    tested = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    seen: dict[str, set[bool]] = {}
    for check in (check for test in tested for check in test["promql_expr_test"]):
        for name in re.findall(r'alertname="(\w+)"', check["expr"]):
            seen.setdefault(name, set()).add(bool(check["exp_samples"]))
    assert seen == {rule["alert"]: {True, False} for rule in alerts()}


def test_what_silences_others_names_alerts_that_there_are() -> None:
    config = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    named = {
        name
        for rule in config["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        for name in re.findall(r"\w+", matcher.partition("=")[2])
    }
    assert named <= {rule["alert"] for rule in alerts()}
    assert {rule["labels"]["severity"] for rule in alerts()} == {one["name"] for one in config["receivers"]}


def test_the_profile_monitoring_mounts_what_is_here_and_scrapes_what_runs() -> None:
    services = compose_services()
    for name in ("prometheus", "alertmanager", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
        mounts = [volume for volume in services[name]["volumes"] if volume["type"] == "bind"]
        assert all(Path(mount["source"]).exists() and mount["read_only"] for mount in mounts)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    scraped = {
        (name, job["job_name"], str(source["port"]))
        for job in config["scrape_configs"]
        for source in job["dns_sd_configs"]
        for name in source["names"]
    }
    roles = {"app1": "replica", "app2": "replica", "ingestor": "ingestor"}
    assert scraped == {(name, role, services[name]["environment"]["PORT"]) for name, role in roles.items()}
