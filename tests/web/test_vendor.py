import base64
import filecmp
import hashlib
import json
import re
from pathlib import Path

import pytest

from deploy.vendor import LIBRARIES, MODULES, VENDOR, Library, vendor
from server.doors.page import HEADERS
from tests.support.processes import ROOT

VERSIONS = json.loads((VENDOR / "versions.json").read_text())
each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.file)


@each_library
def test_the_committed_copy_is_the_version_that_package_json_pins(library: Library) -> None:
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]

    assert VERSIONS[library.file]["version"] == pinned[library.package]


@each_library
def test_the_committed_copy_is_unchanged_and_has_its_licences_beside_it(library: Library) -> None:
    assert hashlib.sha256((VENDOR / library.file).read_bytes()).hexdigest() == VERSIONS[library.file]["sha256"]
    for package in (library.package, *library.contains):
        licence = VENDOR / "licences" / f"{package.replace('/', '-').lstrip('@')}.txt"
        assert package.rpartition("/")[2] in licence.read_text() or len(licence.read_text()) > 1000


@pytest.mark.skipif(not MODULES.is_dir(), reason="node_modules is absent: run `npm ci`")
def test_a_fresh_copy_equals_the_committed_one(tmp_path: Path) -> None:
    vendor(MODULES, tmp_path / "vendor")

    files = [str(file.relative_to(VENDOR)) for file in VENDOR.rglob("*") if file.is_file()]
    fresh = [str(file.relative_to(tmp_path / "vendor")) for file in (tmp_path / "vendor").rglob("*") if file.is_file()]
    assert sorted(fresh) == sorted(files)
    assert filecmp.cmpfiles(VENDOR, tmp_path / "vendor", files, shallow=False)[0] == files


def test_what_is_not_installed_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "kept").touch()

    with pytest.raises(FileNotFoundError, match=r"socket\.io-client, lightweight-charts.*npm ci"):
        vendor(tmp_path, tmp_path / "vendor")
    assert (tmp_path / "vendor" / "kept").exists()


def test_the_page_shows_the_attribution_that_the_chart_library_asks_for() -> None:
    banner = (VENDOR / "lightweight-charts.js").read_text()[:400]
    page = (ROOT / "clients" / "web" / "index.html").read_text()

    year = banner.partition("Copyright (c) ")[2][:4]
    assert f"TradingView Lightweight Charts™ Copyright © {year} TradingView, Inc." in page
    assert 'href="https://www.tradingview.com/"' in page


def test_the_content_security_policy_admits_the_one_style_that_the_chart_library_injects() -> None:
    (style,) = re.findall(r'innerText="(a#tv-attr-logo[^"]*)"', (VENDOR / "lightweight-charts.js").read_text())

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'self' 'sha256-{digest}';" in HEADERS["Content-Security-Policy"]
