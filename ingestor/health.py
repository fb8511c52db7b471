"""The ingestor's own port: whether it lives, whether it takes part, and what it carries."""

from typing import Any

import msgspec
import structlog
from aiohttp import web

from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings

logger = structlog.get_logger(__name__)


class HealthDoor:
    """`/health/live` (the loop turns), `/health/ready` (it takes part in the roster), `/health` (what it carries)."""

    def __init__(self, settings: IngestorSettings, ingestor: Ingestor) -> None:
        self._settings = settings
        self._ingestor = ingestor
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; the port. Raises OSError where it is taken."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        runner = self._runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        port: int = runner.addresses[0][1]
        logger.info("ingestor tells its health", ingestor=self._settings.instance, port=port)
        return port

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"ok": True, "ingestor": self._settings.instance})

    async def _ready(self, _request: web.Request) -> web.Response:
        is_ready = self._ingestor.is_ready
        return _json({"ok": is_ready, "ingestor": self._settings.instance}, 200 if is_ready else 503)

    async def _health(self, _request: web.Request) -> web.Response:
        status = msgspec.to_builtins(self._ingestor.status)
        return _json({"ok": True, **status, **self._ingestor.part_in_roster()})


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
