"""What pages print between fences, and what stands above it to say how it is checked.

A block runs unless the HTML comment directly above it says otherwise:

- `not run: WHY` and `parsed only: WHY`
- `run by: FILE`: another test runs it
- `terminal: NAME`: it goes on in a terminal of its own, where Ctrl-C ends what ran there before
- `file: PATH`: it is a file to be saved
- `prints`: it is what the block before prints; digits are any digits, `...` is anything

`step: WHAT` stands alone: here a reader sees what the test of the page checks by that name.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.processes import ROOT

KINDS: Final = ("not run", "parsed only", "run by", "terminal", "file", "prints", "step")
LANGUAGES: Final = ("bash", "js", "jsx", "python", "html", "json", "yaml", "toml", "text")

_DIRECTIVE: Final = re.compile(rf"^<!-- ({'|'.join(KINDS)})(?:: (.+))? -->$")
_FENCE: Final = re.compile(r"^```(\w*)$")
_INDENTED: Final = re.compile(r"^ {4,}\S")
_LIST_ITEM: Final = re.compile(r"^\s*(?:[-*]|\d+\.) ")


class Block(NamedTuple):
    """One fenced block, or a step, which has no code."""

    page: str
    line: int
    language: str
    code: str
    directive: str
    """One of KINDS, or nothing where the block simply runs."""
    argument: str

    @property
    def where(self) -> str:
        """`page:line`."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """The paths of all pages that readers find: the documentation, and the README of everything that has one."""
    found = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md"), ROOT / "README.md"]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks_of(page: str) -> list[Block]:
    """The blocks and steps of a page, in order."""
    return list(parsed(page, (ROOT / page).read_text().splitlines()))


def parsed(page: str, lines: Sequence[str]) -> Iterator[Block]:
    """The blocks and steps in `lines`.

    Raises:
        ValueError: a fence that does not end, or code that is indented instead of fenced, which no test would see.
    """
    above = ("", "")
    rest = iter(enumerate(lines, 1))
    is_list = False
    previous = ""
    for number, line in rest:
        if fence := _FENCE.match(line):
            yield Block(page, number, fence[1], _code(page, number, rest), *above)
            above = ("", "")
        elif directive := _DIRECTIVE.match(line):
            above = (directive[1], directive[2] or "")
            if directive[1] == "step":
                yield Block(page, number, "", "", *above)
        else:
            above = ("", "")
            is_list = bool(_LIST_ITEM.match(line)) or (is_list and (not line or line.startswith(" ")))
            if _INDENTED.match(line) and not previous and not is_list:
                raise ValueError(f"{page}:{number}: code is indented; fence it")
        previous = line


def _code(page: str, start: int, rest: Iterator[tuple[int, str]]) -> str:
    code: list[str] = []
    for _, line in rest:
        if line == "```":
            return "".join(f"{each}\n" for each in code)
        code.append(line)
    raise ValueError(f"{page}:{start}: the block does not end")


def expected(sample: str) -> list[re.Pattern[str]]:
    """What each line that is printed must match, for it to look like `sample`."""
    return [
        re.compile(re.sub(r"\d+", r"\\d+", re.escape(line)).replace(r"\.\.\.", ".*")) for line in sample.splitlines()
    ]


def exists(path: str) -> bool:
    """Whether the repository has a file of that path."""
    return Path(ROOT / path).is_file()
