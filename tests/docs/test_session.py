"""A reader notices when a page is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block
from tests.docs.session import Addresses, Session
from tests.support.processes import wait_until


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(tmp_path, Addresses({8080: 12345}, {"wss://elsewhere": "ws://here"}), {}) as reader:
        yield reader


def block(language: str, code: str, directive: str = "", argument: str = "") -> Block:
    return Block("page.md", 1, language, code, directive, argument)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (block("bash", "false\n"), "ended with 1"),
        (block("python", "raise SystemExit(3)\n"), "failed"),
        (block("python", "import sys; print('x', file=sys.stderr)\n"), "complained"),
        (block("js", "const x = ;\n"), "failed"),
        (block("bash", "ls\n", "parsed only", "takes long"), "only make"),
        (block("html", "<p>\n", "file", "nowhere/index.html"), "no folder"),
    ],
)
def test_what_does_not_work_is_found(session: Session, wrong: Block, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        session.run(wrong)


def test_what_is_printed_is_compared_with_the_page(session: Session) -> None:
    session.run(block("bash", 'echo \'{"price":7.5,"more":1}\'\n'))
    session.run(block("text", '{"price":650.12,...\n', "prints"))
    with pytest.raises(AssertionError, match="it printed"):
        session.run(block("text", '{"cost":650.12,...\n', "prints"))


def test_a_reader_stays_where_he_went_and_reads_addresses_as_they_are_here(session: Session, tmp_path: Path) -> None:
    session.run(block("bash", "mkdir there\ncd there\n"))
    session.run(block("bash", "echo localhost:8080 wss://elsewhere > address\n"))
    assert (tmp_path / "there" / "address").read_text() == "localhost:12345 ws://here\n"


def test_what_is_started_in_a_terminal_again_ends_what_ran_there(session: Session) -> None:
    for number in (1, 2):
        session.run(block("bash", f"echo {number}; sleep 100\n", "terminal", "one"))
        wait_until(lambda: bool(session.shown("one")), "it runs")
        assert session.is_running("one")
    assert session.shown("one") == "2\n"
    session.interrupt("one")


def test_a_terminal_that_is_used_again_stands_where_it_was_left(session: Session, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for code in ("cd there; pwd; sleep 100\n", "pwd; sleep 100\n"):
        session.run(block("bash", code, "terminal", "one"))
        wait_until(lambda: bool(session.shown("one")), "it runs")
        assert session.shown("one") == f"{tmp_path / 'there'}\n"
