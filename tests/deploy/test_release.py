"""A release of a checkout of the test's own, with the tools that make the real ones."""

import gzip
import hashlib
import json
import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.plan import ROOT
from deploy.release import DOCUMENTS, KUSTOMIZATIONS, ReleaseError, named_versions, release
from version import VERSION

FILES = ("pyproject.toml", "package.json", "package-lock.json", "requirements.txt", *KUSTOMIZATIONS, *DOCUMENTS)


def git(checkout: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", str(checkout), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a release looks at, committed, with a section of the changelog for this version."""
    root = tmp_path / "checkout"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    (root / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n## {VERSION} - 2026-01-31\n\n## 0.0.1 - 2026-01-01\n"
    )
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "All")
    return root


def test_everything_here_but_the_changelog_names_the_version_of_pyproject() -> None:
    named = dict(named_versions(ROOT))
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert set(named.values()) - {named.pop("CHANGELOG.md")} <= {VERSION}
    assert set(named.values()) == {VERSION}


def test_a_release_has_the_source_its_parts_and_their_checksums(checkout: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    files = release(checkout, dist, VERSION)

    assert [path.name for path in files] == [
        f"tickcast-{VERSION}.tar.gz",
        f"tickcast-{VERSION}-python.cdx.json",
        f"tickcast-{VERSION}-npm.cdx.json",
        "SHA256SUMS",
    ]
    with tarfile.open(fileobj=BytesIO(gzip.decompress(files[0].read_bytes()))) as source:
        assert f"tickcast-{VERSION}/package.json" in source.getnames()
    parts = {part["name"]: part for part in json.loads(files[1].read_text())["components"]}
    assert {"aiohttp", "python-socketio", "redis"} <= parts.keys()
    assert f"aiohttp=={parts['aiohttp']['version']}" in (ROOT / "requirements.txt").read_text()
    npm = {part["name"] for part in json.loads(files[2].read_text())["components"]}
    assert {"lightweight-charts", "socket.io-client"} <= npm
    for line in files[3].read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest


def test_what_is_not_committed_is_not_released(checkout: Path, tmp_path: Path) -> None:
    (checkout / "package.json").write_text("{}")
    with pytest.raises(ReleaseError, match="changes that are not committed"):
        release(checkout, tmp_path / "dist", VERSION)
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    ("file", "said", "complaint"),
    [
        ("CHANGELOG.md", "## Unreleased\n", "CHANGELOG.md says nothing but what is unreleased"),
        ("CHANGELOG.md", "## 9.9.9 - 2026-01-31\n", "CHANGELOG.md says 9.9.9"),
        ("package.json", '{"version": "9.9.9"}', "package.json says 9.9.9"),
        (KUSTOMIZATIONS[0], 'images: [{newTag: "9.9.9"}]', f"{KUSTOMIZATIONS[0]} says 9.9.9"),
        (DOCUMENTS[0], 'info: {version: "9.9.9"}', f"{DOCUMENTS[0]} says 9.9.9"),
    ],
)
def test_a_file_that_names_another_version_stops_the_release(
    checkout: Path, tmp_path: Path, file: str, said: str, complaint: str
) -> None:
    (checkout / file).write_text(said)
    git(checkout, "commit", "-q", "-a", "-m", "Another version")
    with pytest.raises(ReleaseError, match=re.escape(complaint)):
        release(checkout, tmp_path / "dist", VERSION)


def test_the_image_is_labelled_with_the_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={VERSION}\n" in dockerfile
    assert 'org.opencontainers.image.version="$VERSION"' in dockerfile
