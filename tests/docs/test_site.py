"""The site: every page is found from its index, links hold, and nothing is fetched from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from docs.conf import navigation
from tests.docs.blocks import pages
from tests.support.processes import ROOT

LINK: Final = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
FOREIGN: Final = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//")
SITE: Final = str(Path(sys.executable).parent / "sphinx-build")
INDEX: Final = "# Here\n\n## How-to\n\n- [There](there.md)\n"
THERE: Final = "# There\n\n## A part\n\n[Here](README.md#how-to)\n"


def build(source: Path) -> subprocess.CompletedProcess[str]:
    """Build the two pages in `source`/docs with the site's own settings."""
    (source / "docs" / "site").mkdir()
    (source / "docs" / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text())
    (source / "docs" / "site" / "index.html").write_text((ROOT / "docs" / "site" / "index.html").read_text())
    command = [SITE, "-q", "-W", "--keep-going", "-c", "docs", ".", "built"]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60, check=False)


def test_a_site_searches_and_looks_up_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text(INDEX)
    (tmp_path / "docs" / "there.md").write_text(THERE)
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    pages = {path.name: path.read_text() for path in (tmp_path / "built").rglob("*.html")}
    assert {"index.html", "README.html", "there.html", "search.html"} <= pages.keys()
    assert {name for name, text in pages.items() if FOREIGN.search(text)} == set()
    assert "There" in pages["README.html"]
    assert (tmp_path / "built" / "searchindex.js").is_file()


def test_what_a_page_refers_to_must_be_there(tmp_path: Path) -> None:
    wrong = ["[x](nowhere.md)", "[x](there.md#no-part)", "[x](no.yaml)"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text(INDEX)
    (tmp_path / "docs" / "there.md").write_text("\n\n".join([THERE, *wrong]))
    built = build(tmp_path)
    assert built.returncode == 1
    assert [part for part in ("nowhere.md", "no-part", "no.yaml") if part not in built.stderr] == []


def test_the_index_leads_to_every_page() -> None:
    listed = set(re.findall(r"<(\S+\.md)>$", navigation((ROOT / "docs" / "README.md").read_text()), re.MULTILINE))
    found = {str((ROOT / "docs" / page).resolve().relative_to(ROOT)) for page in listed}
    assert found == {page for page in pages() if page not in {"README.md", "docs/README.md"}} | {"CHANGELOG.md"}


@pytest.mark.parametrize("kind", ["Tutorial", "How-to", "Reference", "Explanation", "Migrating", "Decisions"])
def test_the_navigation_has_each_kind_of_page(kind: str) -> None:
    assert f":caption: {kind}\n" in navigation((ROOT / "docs" / "README.md").read_text())


def test_the_readme_leads_to_what_is_there() -> None:
    links = [link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
