"""The library's pure parts by Node's own test runner, its types by the compiler, and what is packed."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import ROOT
from version import VERSION

HERE: Final = Path(__file__).parent
PACKAGE: Final = ROOT / "clients" / "js"
SHIPPED: Final = {"LICENSE", "README.md", "package.json", "react.js"}
FOLDERS: Final = {"src": {".js"}, "types": {".ts"}, "examples": {".mjs", ".ts"}}


@pytest.mark.parametrize(
    "command",
    [["node", "--test", "units.test.mjs"], ["node", str(ROOT / "node_modules/typescript/bin/tsc"), "-p", "."]],
    ids=["pure parts", "types"],
)
def test_the_library_keeps_its_word(command: list[str]) -> None:
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_package_holds_what_an_application_needs_and_nothing_else() -> None:
    run = subprocess.run(["npm", "pack", "--dry-run", "--json"], cwd=PACKAGE, capture_output=True, check=True)

    (packed,) = json.loads(run.stdout)
    files = {entry["path"] for entry in packed["files"]}
    inside = {path for path in files if "/" in path}
    assert files - inside == SHIPPED
    for path in inside:
        folder, name = path.split("/")
        assert Path(name).suffix in FOLDERS[folder], path
    assert {path.split("/")[0] for path in inside} == set(FOLDERS)
    assert packed["version"] == VERSION
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_package_asks_for_the_socketio_client_that_is_tested() -> None:
    package, tools = (json.loads((folder / "package.json").read_text()) for folder in (PACKAGE, ROOT))

    wanted = package["dependencies"]["socket.io-client"].removeprefix("^").split(".")
    tested = tools["devDependencies"]["socket.io-client"].split(".")
    assert (wanted[0], int(wanted[1])) <= (tested[0], int(tested[1]))
    assert wanted[0] == tested[0]
