"""What `/metrics` says, and what docs/metrics.md says of it."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import ROOT

_ROW: Final = re.compile(r"\| `(tickcast_\w+)` \| (\w+) \|([^|]*)\| (.+) \|")


class Documented(NamedTuple):
    """One row of docs/metrics.md."""

    name: str
    type: str
    labels: frozenset[str]
    meaning: str


def documented(*sections: str) -> dict[str, Documented]:
    """The rows of these sections of docs/metrics.md, by name."""
    rows: dict[str, Documented] = {}
    section = ""
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif (match := _ROW.fullmatch(line)) and section in sections:
            name, kind, labels, meaning = match.groups()
            rows[name] = Documented(name, kind, frozenset(re.findall(r"`(\w+)`", labels)), meaning)
    return rows


def families(text: str) -> dict[str, Metric]:
    """The families of an exposition under our prefix, by the name that a query has."""
    found = (family for family in text_string_to_metric_families(text) if family.name.startswith("tickcast_"))
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in found}


def differences(text: str, rows: dict[str, Documented]) -> Iterator[str]:
    """What an exposition and the documentation say differently, one sentence each."""
    shown = families(text)
    yield from (f"{name} is not documented" for name in shown.keys() - rows.keys())
    yield from (f"{name} is not shown" for name in rows.keys() - shown.keys())
    for name in shown.keys() & rows.keys():
        family, row = shown[name], rows[name]
        if family.type != row.type:
            yield f"{name} is a {family.type}"
        if family.documentation != row.meaning:
            yield f"{name} says: {family.documentation}"
        labels = {frozenset(sample.labels.keys() - {"le"}) for sample in family.samples}
        if not labels <= {row.labels}:
            yield f"{name} has labels {labels}"


def value(text: str, name: str, **labels: str) -> float | None:
    """The value of the sample `tickcast_<name>` with exactly these labels; None where there is none."""
    for family in families(text).values():
        for sample in family.samples:
            if sample.name == f"tickcast_{name}" and sample.labels == labels:
                return sample.value
    return None
