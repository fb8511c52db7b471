"""The page at `/`, the operator's at `/admin`, and their assets, under a strict Content-Security-Policy."""

from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

_CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"
ROOT: Final = _CLIENTS / "web"
_LIBRARY: Final = _CLIENTS / "js" / "src"

# Of the one <style> that Lightweight Charts adds, for its attribution logo; computed anew in tests/web/test_vendor.py.
_LOGO_STYLE: Final = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'self'; script-src 'self'; style-src 'self' {_LOGO_STYLE}; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def attach(app: web.Application, upgrade: Handler) -> None:
    """Serve the page in `app`; whoever asks for a WebSocket in its place gets `upgrade`'s answer."""

    async def index(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await upgrade(request)
        return web.FileResponse(ROOT / "index.html")

    async def admin(_request: web.Request) -> web.StreamResponse:
        # It holds nothing: what it shows it gets from /cluster, with the operator's own credentials.
        return web.FileResponse(ROOT / "admin" / "admin.html")

    # As they lie on disk, so that the page's modules find the client library's by the same relative names. Only what is
    # there is ever looked for: a name of a client's own making may be none for a file system.
    files = {
        str(file.relative_to(_CLIENTS)): file
        for folder in (ROOT, _LIBRARY)
        for file in folder.rglob("*")
        if file.is_file()
    }

    async def asset(request: web.Request) -> web.StreamResponse:
        file = files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return web.FileResponse(file)

    app.router.add_get("/", index)
    app.router.add_get("/admin", admin)
    app.router.add_get("/assets/{name:.+}", asset)
    app.on_response_prepare.append(_secure)


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    if request.path in ("/", "/admin") or request.path.startswith("/assets/"):
        response.headers.update(HEADERS)
        response.headers["Cache-Control"] = "no-cache"
