"""`GET /cluster`: the whole cluster as this replica sees it, for operators. Shape: docs/protocol.md."""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from server.cluster.figures import FiguresExchange
from server.cluster.view import ingestor_view, replica_view, totals
from server.doors.rest_guard import as_json

PATH: Final = "/cluster"


class ClusterDoor:
    """Answers from what was announced; asks nobody. `check` raises MarketError (forbidden) for who is no operator."""

    def __init__(self, replica: str, figures: FiguresExchange, check: Callable[[web.Request], None]) -> None:
        self._replica = replica
        self._figures = figures
        self._check = check

    def attach(self, app: web.Application) -> None:
        """Serve the route in `app`."""
        app.router.add_get(PATH, self._show)

    async def _show(self, request: web.Request) -> web.Response:
        self._check(request)
        replicas = [replica_view(seen) for seen in self._figures.replicas()]
        ingestors = [ingestor_view(seen) for seen in self._figures.ingestors()]
        data = {
            "replica": self._replica,
            "timestamp": time.time_ns() // 1_000_000,
            "replicas": replicas,
            "ingestors": ingestors,
            "totals": totals(replicas, ingestors),
        }
        return as_json({"success": True, "data": data})
