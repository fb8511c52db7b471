"""What the dashboards and alert rules ask of Prometheus, read from their files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.support.processes import ROOT

PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
_COMPARISON: Final = re.compile(r"\s(?:[<>]=?|[!=]=)\s*(?:bool\s+)?[0-9.e]+(?=\s|$)")


class Asked(NamedTuple):
    """One expression, and where it stands."""

    where: str
    expression: str


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    board: dict[str, Any] = json.loads(path.read_text())
    return board


def panel_expressions(rate_interval: str) -> Iterator[Asked]:
    """What the panels of all dashboards ask, with Grafana's variables filled in."""
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", rate_interval)
                yield Asked(f"{path.stem}: {panel['title']}", expression)


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_vectors() -> Iterator[Asked]:
    """What the alerts look at, without their limits: while all is well the whole expressions return nothing."""
    for rule in alerts():
        yield Asked(rule["alert"], _COMPARISON.sub("", rule["expr"]))
