"""The API documents, as the files that people and tools read: OpenAPI of what is HTTP, AsyncAPI of what is WebSocket.

Sources: OpenAPI 3.1; AsyncAPI 3.0; RFC 9512 (the media type).
"""

from pathlib import Path
from typing import Final

from aiohttp import web

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
NAMES: Final = ("openapi.yaml", "asyncapi.yaml")
MEDIA_TYPE: Final = "application/yaml"


def attach(app: web.Application) -> None:
    """Serve `/openapi.yaml` and `/asyncapi.yaml` in `app`. Raises FileNotFoundError where the files are missing."""
    for name in NAMES:
        app.router.add_get(f"/{name}", _Document((DOCS / name).read_bytes()).show)


class _Document:
    """One file, read once."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def show(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type=MEDIA_TYPE)
