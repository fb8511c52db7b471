"""The scenarios' files fit each other, the quotas of a cluster, and Artillery's peculiarities."""

import re
from itertools import permutations
from typing import Any

import pytest
import yaml

from loadtest.kit.__main__ import CLIENTS_A_DOOR, SCENARIOS, Scenario
from loadtest.probe.probe import Door
from server.access.quota_settings import QuotaSettings
from tests.support.processes import ROOT

FILES = {scenario: yaml.safe_load(scenario.path.read_text()) for scenario in Scenario}
NAME = re.compile(r'"(clients\.[a-z_]+)"')
EACH = pytest.mark.parametrize("scenario", Scenario)


def arrivals(phases: list[dict[str, Any]]) -> float:
    """How many clients come."""
    rates = [(phase["arrivalRate"], phase.get("rampTo", phase["arrivalRate"])) for phase in phases]
    return float(
        sum(phase["duration"] * (first + last) / 2 for phase, (first, last) in zip(phases, rates, strict=True))
    )


def test_there_is_a_scenario_for_each_file_and_the_other_way_round() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.yml")} == set(Scenario)


@EACH
def test_a_load_from_one_address_fits_the_quotas_of_a_cluster_that_sets_none(scenario: Scenario) -> None:
    quotas = QuotaSettings()
    phases = FILES[scenario]["config"]["phases"]
    clients = arrivals(phases) + CLIENTS_A_DOOR * len(Door)
    # Everybody may come at once, as in a storm; a client that upgrades counts twice.
    assert 2 * clients < quotas.handshakes_per_second * 10
    assert clients < quotas.connections_per_address


@EACH
def test_a_quick_run_is_smaller_and_has_the_same_parts(scenario: Scenario) -> None:
    config = FILES[scenario]["config"]
    quick = config["environments"]["quick"]
    assert arrivals(quick["phases"]) <= arrivals(config["phases"]) / 5
    # Artillery merges them item by item: what is left out would stay.
    assert len(quick["phases"]) == len(config["phases"])
    assert quick.get("variables", {}).keys() <= config["variables"].keys()


@EACH
def test_a_client_that_fails_fails_the_run(scenario: Scenario) -> None:
    config = FILES[scenario]["config"]
    assert config["ensure"]["maxErrorRate"] == 0
    assert "ensure" in config["plugins"]


@EACH
def test_socket_io_clients_of_one_file_have_the_same_options(scenario: Scenario) -> None:
    options = [each["socketio"] for each in FILES[scenario]["scenarios"] if each["engine"] == "socketio"]
    assert all(each == options[0] for each in options)
    assert all(each["query"] == {"balance": "{{ $uuid }}"} for each in options)


def test_what_comes_after_the_last_storm_is_heard_before_it_is_counted() -> None:
    (scenario,) = FILES[Scenario.STORM]["scenarios"]
    assert scenario["flow"][-3:] == [{"function": "storms"}, {"think": 2}, {"function": "finish"}]


def test_no_counter_s_name_begins_another_one() -> None:
    names = set(NAME.findall((SCENARIOS / "clients.js").read_text()))
    assert len(names) >= 7
    assert not [(one, other) for one, other in permutations(names, 2) if other.startswith(one)]


def test_conditions_name_what_clients_count() -> None:
    counted = set(NAME.findall((SCENARIOS / "clients.js").read_text()))
    for scenario, content in FILES.items():
        asked = set(re.findall(r"clients\.[a-z_]+", yaml.dump(content["config"]["ensure"])))
        assert asked <= counted, scenario


def test_document_003_s_file_is_where_it_says() -> None:
    assert (ROOT / "socketio-load-testing.yml").resolve() == Scenario.TICKS.path
    content = FILES[Scenario.TICKS]
    assert content["config"]["target"] == "http://localhost:8080"
    assert [each["name"] for each in content["scenarios"]] == ["Socket.IO subscribe and receive ticks"]
    assert content["scenarios"][0]["socketio"]["transports"] == ["websocket"]
