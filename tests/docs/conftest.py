"""A copy of the source as a newcomer has it, and where npm finds what that installs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.registry import link_modules, npm_registry
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source in `tickcast`, whose dependencies are installed already."""
    folder = tmp_path_factory.mktemp("reader")
    checkout = folder / "tickcast"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in files.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    (checkout / ".venv").symlink_to((ROOT / ".venv").resolve())
    link_modules(checkout)
    # make installs what is newer than its stamps.
    for name in ("requirements.txt", "requirements-dev.txt", "package-lock.json", ".npmrc"):
        os.utime(checkout / name, (0, 0))
    return folder


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """The URL of a registry for npm that has what is installed here."""
    with npm_registry() as url:
        yield url
