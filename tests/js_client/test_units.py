"""The library's pure parts by Node's own test runner, its types by the compiler, and what is packed."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.support.processes import ROOT
from version import VERSION

HERE: Final = Path(__file__).parent
PACKAGE: Final = ROOT / "clients" / "js"
TSC: Final = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
SHIPPED: Final = {"LICENSE", "README.md", "package.json", "react.js"}
FOLDERS: Final = {"src": {".js"}, "types": {".ts"}, "examples": {".mjs", ".ts"}}


def test_the_pure_parts_keep_their_word() -> None:
    run = subprocess.run(["node", "--test", HERE / "units.test.mjs"], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_types_accept_the_examples_and_the_readme_and_refuse_what_is_wrong(tmp_path: Path) -> None:
    snippets = re.findall(r"^```js\n(.*?)^```$", (PACKAGE / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(snippets) >= 5
    for number, snippet in enumerate(snippets):
        heads = [
            "" if "import {" in snippet else 'import { connect } from "tickcast-client";\n',
            "" if "const client" in snippet else "const client = connect();\n",
        ]
        (tmp_path / f"snippet{number}.mts").write_text("".join(heads) + snippet)
    included = ["*.mts", str(HERE / "*.test.mts"), str(PACKAGE / "examples")]
    configuration: dict[str, Any] = {"extends": str(HERE / "tsconfig.json"), "include": included}
    # Types of Node are looked for beside the configuration.
    configuration["compilerOptions"] = {"typeRoots": [str(ROOT / "node_modules" / "@types")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(configuration))

    run = subprocess.run(["node", TSC, "-p", tmp_path], capture_output=True, text=True, check=False)

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
