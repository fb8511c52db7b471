"""A server to point the libraries at, and the environment that they are installed in."""

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from tests.support.processes import ROOT, free_port, tickcast, wait_until

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
SCRIPTS = Path(__file__).parent / "scripts"
DOCUMENT = ROOT / "docs" / "binance-clients.md"
TIME_LIMIT_S = 60

Shown: TypeAlias = dict[str, list[Any]]
Run: TypeAlias = Callable[[str, str, str], Shown]


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a Tickcast of one process, with a simulated exchange behind it."""
    port = free_port()
    with tickcast("run", port, tmp_path_factory.mktemp("run"), {"SIM_SYMBOLS": "8"}):
        here = f"127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"http://{here}/health").json()["status"] == "healthy", "Tickcast has its feed")
        yield here


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script with its library's snippet pointed at an address; what it showed, by name, in order."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON.parent.parent.name}: `make setup` installs the client libraries there")

    def run_script(script: str, library: str, address: str) -> Shown:
        (tmp_path / "snippet.py").write_text(snippet(library).replace("localhost:8080", address))
        # Not from our checkout, whose package `binance` would hide the library's.
        ended = subprocess.run(
            [PYTHON, SCRIPTS / script],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        assert ended.stderr == ""
        shown: Shown = defaultdict(list)
        for line in ended.stdout.splitlines():
            entry = json.loads(line)
            shown[entry["what"]].append(entry["data"])
        return shown

    return run_script


def snippet(library: str) -> str:
    """The lines of Python under the heading `library` of the document."""
    fenced = rf"^## {re.escape(library)}\n+<!-- [^>]+ -->\n```python\n(.*?)^```"
    block = re.search(fenced, DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None, f"{DOCUMENT} has no snippet for {library}"
    return block[1]
