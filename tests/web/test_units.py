"""The page's pure functions, tested where they run: in JavaScript, by Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed: the page's modules cannot be run here")
    return found


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_the_pure_functions_keep_their_word(node: str, file: Path) -> None:
    run = subprocess.run([node, "--test", str(file)], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
