"""A registry for npm on the loopback that has what node_modules has: what a newcomer installs, without a network."""

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
def _archive(name: str) -> bytes:
    """The installed package as npm's archives are: everything below `package/`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add((ROOT / "node_modules" / name).resolve(), "package")
    return packed.getvalue()


def _document(name: str, url: str) -> dict[str, Any]:
    """The one version that is installed, as the registry's API describes it."""
    manifest = json.loads((ROOT / "node_modules" / name / "package.json").read_text())
    version, packed = manifest["version"], _archive(name)
    integrity = f"sha512-{b64encode(hashlib.sha512(packed).digest()).decode()}"
    # What a package runs when it is installed is done already, where it was installed from.
    manifest |= {"scripts": {}, "dist": {"tarball": f"{url}/-/{name}", "integrity": integrity}}
    return {"name": name, "dist-tags": {"latest": version}, "versions": {version: manifest}}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        name = path.removeprefix("-/")
        if not (ROOT / "node_modules" / name / "package.json").is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        url = f"http://{self.headers['Host']}"
        body = _archive(name) if name != path else json.dumps(_document(name, url)).encode()
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
