"""`python -m deploy.release`: what one version consists of, in `dist/`: the source, its parts lists and checksums.

The version is pyproject.toml's. A release is made of a commit that says the same version everywhere: the
changelog has its section, and npm, Kubernetes and the API documents name it. The parts lists (SBOM) are
CycloneDX: of Python's packages from requirements.txt with its hashes, of npm's from package-lock.json.
"""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import typer
import yaml

from deploy.plan import ROOT
from version import VERSION

_TOOLS: Final = Path(sys.executable).parent
_CHANGELOG: Final = re.compile(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", re.MULTILINE)
KUSTOMIZATIONS: Final = ("deploy/k8s/base/kustomization.yaml", "deploy/k8s/simulated/kustomization.yaml")
DOCUMENTS: Final = ("docs/openapi.yaml", "docs/asyncapi.yaml")


class ReleaseError(Exception):
    """Why nothing is released, as a sentence."""


def main() -> None:
    """Make the release of the checkout; exit status 1 and one sentence if it cannot be."""
    try:
        for path in release(ROOT, ROOT / "dist", VERSION):
            typer.echo(path.relative_to(ROOT))
    except ReleaseError as why:
        typer.echo(f"No release: {why}", err=True)
        sys.exit(1)


def release(root: Path, directory: Path, version: str) -> list[Path]:
    """Write the release of the checkout `root` into `directory`; its files, the checksums last.

    Raises:
        ReleaseError: the tree is not as it was committed, or something names another version.
    """
    if _git(root, "status", "--porcelain"):
        raise ReleaseError("the tree has changes that are not committed")
    named = named_versions(root)
    wrong = [f"{where} says {said}" for where, said in named.items() if said != version]
    if wrong:
        raise ReleaseError(f"pyproject.toml says {version}, but {', '.join(wrong)}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    name = f"tickcast-{version}"
    files = [
        _source(root, directory / f"{name}.tar.gz", name),
        _parts_list(directory / f"{name}-python.cdx.json", lambda path: _python_parts(root, path)),
        _parts_list(directory / f"{name}-npm.cdx.json", lambda path: _npm_parts(root, path)),
    ]
    return [*files, _checksums(directory / "SHA256SUMS", files)]


def named_versions(root: Path) -> Mapping[str, str]:
    """Which version each file names that names one; the changelog's is that of its latest section."""
    sections = _CHANGELOG.findall((root / "CHANGELOG.md").read_text())
    named = {"CHANGELOG.md": sections[0] if sections else "nothing but what is unreleased"}
    named["package.json"] = json.loads((root / "package.json").read_text())["version"]
    for path in KUSTOMIZATIONS:
        named[path] = yaml.safe_load((root / path).read_text())["images"][0]["newTag"]
    for path in DOCUMENTS:
        named[path] = yaml.safe_load((root / path).read_text())["info"]["version"]
    return named


def _source(root: Path, path: Path, name: str) -> Path:
    """The committed files, so packed that the same commit gives the same bytes."""
    command = ["git", "-C", str(root), "archive", f"--prefix={name}/", "HEAD"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    path.write_bytes(gzip.compress(archive, mtime=0))
    return path


def _parts_list(path: Path, make: Callable[[Path], None]) -> Path:
    make(path)
    if not json.loads(path.read_text()).get("components"):
        raise ReleaseError(f"{path.name} lists no parts")
    return path


def _python_parts(root: Path, path: Path) -> None:
    tool = str(_TOOLS / "cyclonedx-py")
    options = ["--output-reproducible", "--of", "JSON", "-o", str(path)]
    _run([tool, "requirements", *options, "--pyproject", str(root / "pyproject.toml"), str(root / "requirements.txt")])


def _npm_parts(root: Path, path: Path) -> None:
    """All of package-lock.json: what the page ships is vendored from there, the rest builds and tests."""
    command = ["npm", "--prefix", str(root), "sbom", "--package-lock-only", "--sbom-format", "cyclonedx"]
    path.write_text(_run(command))


def _checksums(path: Path, files: list[Path]) -> Path:
    """A file that `sha256sum --check` reads."""
    path.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return path


def _git(root: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(root), *arguments])


def _run(command: list[str]) -> str:
    """What a program prints. Raises ReleaseError with its complaint where it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{Path(command[0]).name}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
