"""The reference pages say what the code does: every setting with its default, every code, every reason."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from market.errors import Code
from market.streams import StreamName
from server.access.unauthorized import Reason
from server.connections import CloseReason
from server.encodings import gap_reason
from server.refusals import Refusal
from tests.support.processes import ROOT
from tests.test_every_setting import PROCESSES

ROW: Final = re.compile(r"^\| (.+?) \|$", re.MULTILINE)
LIBRARIES: Final = {"unread", "unrecovered", "away"}


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of all tables of a page that have so many columns, heads left out."""
    table = (ROOT / "docs" / page).read_text().replace("\\|", "/")
    cells = [[cell.strip() for cell in row.split("|")] for row in ROW.findall(table)]
    return [each for each in cells if len(each) == columns and not set(each[0]) <= {"-"}]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented_settings() -> dict[str, str]:
    """The cell with the default, by variable; a row of several variables gives each its own part."""
    found = {}
    for names, default, *_ in rows("settings.md", 4):
        variables, parts = quoted(names), default.split(", ")
        for place, variable in enumerate(variables):
            found[variable] = parts[place] if len(parts) == len(variables) else default
    return found


def variable_of(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name.upper()


def as_typed(default: Any) -> str:
    """A default as somebody would type it; empty where there is none."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:.10g}"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "" if default is None or not str(default).strip("*") else str(default)


def defaults() -> Iterator[tuple[str, str]]:
    for process in PROCESSES:
        for name, field in process.model_fields.items():
            yield variable_of(name, field), "" if field.default_factory else as_typed(field.default)


@pytest.mark.parametrize(("variable", "default"), sorted(set(defaults())))
def test_every_setting_is_documented_with_its_default(variable: str, default: str) -> None:
    cell = documented_settings()[variable]
    assert not default or default in quoted(cell)


def test_nothing_is_documented_as_a_setting_that_is_none() -> None:
    known = {variable for variable, _ in defaults()}
    template = (ROOT / "docker-compose.yml").read_text()
    assert {each for each in documented_settings().keys() - known if f"${{{each}" not in template} == set()


def test_the_example_of_an_environment_has_the_documented_defaults() -> None:
    example = re.findall(r"^(\w+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(example) > 30
    documented = documented_settings()
    assert {name: value for name, value in example if value not in quoted(documented[name])} == {}


def test_every_code_of_a_refusal_is_documented_with_its_status() -> None:
    documented = {
        quoted(code)[0]: status for code, status, *_ in rows("reasons.md", 4) if re.match(r"`[a-z_]+`$", code)
    }
    assert documented == {code.value: str(Refusal(code, "").status) for code in Code}


def test_every_way_in_which_a_connection_is_closed_is_documented() -> None:
    documented = {(int(code), "".join(quoted(text))) for code, text, *_ in rows("reasons.md", 4) if code.isdecimal()}
    assert documented == {reason.value for reason in CloseReason}


def test_every_reason_for_a_gap_is_documented() -> None:
    documented = {quoted(reason)[0] for reason, *_ in rows("reasons.md", 3) if reason.startswith("`")}
    streams = [StreamName.parse("btcusdt@ticker"), StreamName.parse("btcusdt@trade")]
    server = {gap_reason(stream, upstream=upstream) for stream in streams for upstream in (True, False)}
    assert documented == server | LIBRARIES


def test_every_reason_for_refusing_credentials_is_documented() -> None:
    (cell,) = [cell for metric, cell in rows("reasons.md", 2) if "refused_credentials" in metric]
    assert quoted(cell) == [reason.value for reason in Reason]
