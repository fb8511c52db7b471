"""No command and no snippet escapes: each is run, or says why not."""

import re
import tomllib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
import yaml

from tests.docs.blocks import LANGUAGES, Block, blocks_of, exists, expected, pages, parsed
from tests.support.processes import ROOT

PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "json": msgspec.json.decode,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
}
EVERY: Final = [block for page in pages() for block in blocks_of(page)]
MAKE: Final = re.compile(r"\bmake ([a-z][a-z-]*[a-z])\b")


def ids(block: Block) -> str:
    return block.where


@pytest.mark.parametrize("block", EVERY, ids=ids)
def test_every_block_names_a_language_that_is_checked_and_its_reason_if_it_is_not(block: Block) -> None:
    if block.directive == "step":
        return
    assert block.language in LANGUAGES
    if block.language in {"html", "text"}:
        assert block.directive in {"file", "prints", "not run"}, "nobody runs this: it needs a directive"
    if block.directive in {"not run", "parsed only"}:
        assert len(block.argument.split()) >= 3, "a reason is a few words"
    if block.directive == "run by":
        assert exists(block.argument)
        named = (ROOT / block.argument).read_text()
        assert block.page.rpartition("/")[2] in named, f"{block.argument} does not read {block.page}"


@pytest.mark.parametrize("block", [each for each in EVERY if each.language in PARSERS], ids=ids)
def test_data_that_is_printed_can_be_read(block: Block) -> None:
    assert PARSERS[block.language](block.code)


def test_every_test_that_a_reason_names_is_there() -> None:
    named = {
        (block.where, path) for block in EVERY for path in re.findall(r"\b(?:tests|docs)/[-\w/.]+\w", block.argument)
    }
    assert named
    assert {each for each in named if not (ROOT / each[1]).exists()} == set()


def test_every_make_command_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = {page: re.findall(r"`([^`\n]+)`", (ROOT / page).read_text()) for page in pages()}
    named = {(page, target) for page, spans in code.items() for span in spans for target in MAKE.findall(span)}
    named |= {
        (block.page, target) for block in EVERY if block.language == "bash" for target in MAKE.findall(block.code)
    }
    assert {target for _, target in named} >= {"run", "cluster", "roll", "docs"}
    assert {each for each in named if each[1] not in targets} == set()


def test_a_block_is_read_with_what_stands_above_it() -> None:
    lines = ["<!-- not run: needs a moon -->", "```bash", "ls", "```", "", "```js", "1;", "```", "<!-- step: look -->"]
    assert list(parsed("p.md", lines)) == [
        Block("p.md", 2, "bash", "ls\n", "not run", "needs a moon"),
        Block("p.md", 6, "js", "1;\n", "", ""),
        Block("p.md", 9, "", "", "step", "look"),
    ]


@pytest.mark.parametrize("lines", [["```js", "1;"], ["Type:", "", "    ls"]], ids=["unended", "indented"])
def test_code_that_no_test_would_see_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"p\.md:[13]"):
        list(parsed("p.md", lines))


def test_a_sample_stands_for_any_digits_and_dots_for_anything() -> None:
    (pattern,) = expected('{"price":650.1,"a...\n')
    assert pattern.fullmatch('{"price":7.22,"as":1}')
    assert not pattern.fullmatch('{"cost":7.22,"as":1}')
