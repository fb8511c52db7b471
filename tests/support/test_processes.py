"""A command that takes too long ends what it has started before it is given up."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import run_to_end

ENDLESS = """
import pathlib, signal, sys, time

def end(*_):
    pathlib.Path(sys.argv[1]).touch()
    sys.exit()

signal.signal(signal.SIGTERM, end)
time.sleep(600)
"""


def test_a_command_that_takes_too_long_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with pytest.raises(subprocess.TimeoutExpired):
        run_to_end([sys.executable, "-c", ENDLESS, str(asked)], {}, limit_s=3)
    assert asked.exists()


def test_what_a_command_says_and_how_it_ends_is_returned() -> None:
    code = "import os, sys; print(os.environ['WORD']); sys.exit('no')"
    ended = run_to_end([sys.executable, "-c", code], {"WORD": "yes"}, limit_s=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "yes\n", "no\n")
