"""The ingestor's own port: whether it lives, whether it takes part, what it carries, and what it counts.

For probes and Prometheus alone: nothing here is for clients, and Nginx does not lead here.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client.core import Metric

from ingestor.metrics import IngestorMetrics
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from telemetry.exposition import Exposition
from telemetry.families import gauge
from telemetry.loop_lag import LoopLag
from telemetry.shared_parts import BusFigures, RestFigures

logger = structlog.get_logger(__name__)


class HealthDoor:
    """`/health/live` (the loop turns), `/health/ready` (it takes part), `/health` (what it carries), `/metrics`."""

    def __init__(self, settings: IngestorSettings, ingestor: Ingestor) -> None:
        self._settings = settings
        self._ingestor = ingestor
        self._loop_lag = LoopLag()
        self._exposition = Exposition("ingestor")
        shared = (BusFigures(ingestor.bus), RestFigures(ingestor.rest), self._loop_lag)
        for figures in (self, IngestorMetrics(ingestor), *shared):
            self._exposition.add(figures)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; the port. Raises OSError where it is taken."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._exposition.answer)
        self._loop_lag.start()
        runner = self._runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        port: int = runner.addresses[0][1]
        logger.info("ingestor tells its health", ingestor=self._settings.instance, port=port)
        return port

    async def close(self) -> None:
        """Stop listening."""
        self._loop_lag.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def collect(self) -> Iterator[Metric]:
        """Whether it takes part, as Prometheus is told."""
        yield gauge("ready", "1 while /health/ready answers 200", self._ingestor.is_ready)

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
