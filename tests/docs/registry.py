"""A registry for npm on the loopback that has what node_modules has: what a newcomer installs, without a network."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.processes import ROOT


@cache
def _installed() -> dict[str, dict[str, Path]]:
    """Where each version of each package is installed, the outermost first."""
    found: dict[str, dict[str, Path]] = {}
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for place in sorted(filter(None, locked), key=len):
        if (ROOT / place / "package.json").is_file():
            versions = found.setdefault(place.rpartition("node_modules/")[2], {})
            versions.setdefault(locked[place]["version"], (ROOT / place).resolve())
    return found


@cache
def _archive(place: Path) -> bytes:
    """The installed package as npm's archives are: everything below `package/`; the same bytes each time it is made."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(place, "package", filter=lambda entry: None if "/node_modules" in entry.name else entry)
    return gzip.compress(packed.getvalue(), 1, mtime=0)


def _document(name: str, url: str) -> dict[str, Any]:
    """The versions of a package that are installed, as the registry's API describes them."""
    versions = {}
    for version, place in _installed()[name].items():
        digest = b64encode(hashlib.sha512(_archive(place)).digest()).decode()
        # What a package runs when it is installed is done already, where it was installed from.
        versions[version] = json.loads((place / "package.json").read_text()) | {
            "scripts": {},
            "dist": {"tarball": f"{url}/{name}/-/{version}", "integrity": f"sha512-{digest}"},
        }
    return {"name": name, "dist-tags": {"latest": next(iter(versions))}, "versions": versions}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name, _, version = unquote(self.path).lstrip("/").partition("/-/")
        places = _installed().get(name)
        if places is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        url = f"http://{self.headers['Host']}"
        body = _archive(places[version]) if version else json.dumps(_document(name, url)).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class calls it so
        """Say nothing: npm tells what it could not get."""


@contextmanager
def npm_registry() -> Iterator[str]:
    """The registry's URL while it runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def link_modules(checkout: Path) -> None:
    """Give a checkout the packages that are installed here, and our own as if it had been installed, too."""
    modules = checkout / "node_modules"
    modules.mkdir()
    for package in (ROOT / "node_modules").iterdir():
        (modules / package.name).symlink_to(package.resolve())
    (modules / "tickcast-client").symlink_to(checkout / "clients" / "js")
