"""`/metrics`: what a process counts, in the format that the scraper prefers.

Source: Prometheus "Exposition formats"; OpenMetrics 1.0.
"""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from telemetry.families import labelled_gauges
from version import VERSION

_GZIP: Final = 31
"""zlib's number for a gzip stream."""


class Figures(Protocol):
    """A part of the process that counts something."""

    def collect(self) -> Iterator[Metric]:
        """The current figures."""


class Exposition:
    """All figures of one process; `role` says what it does: `replica` or `ingestor`."""

    def __init__(self, role: str) -> None:
        self._registry = CollectorRegistry()
        self._parts: list[Figures] = []
        self._registry.register(_Merged(self._parts))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.add(_BuildInfo(role))

    def add(self, figures: Figures) -> None:
        """Show these figures, too."""
        self._parts.append(figures)

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to `GET /metrics`: Prometheus's text or OpenMetrics, by `Accept`; gzip where that is read."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._registry)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            # Level 1: a tenth of the size already, and the loop is not held up for more.
            stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
            body = stream.compress(body) + stream.flush()
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)


class _Merged(Collector):
    """Parts that have families of one name in common show them as one: a name may stand in an answer only once."""

    def __init__(self, parts: list[Figures]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """The current figures of all parts."""
        families: dict[str, Metric] = {}
        for part in self._parts:
            for family in part.collect():
                known = families.setdefault(family.name, family)
                if known is not family:
                    known.samples.extend(family.samples)
        yield from families.values()


class _BuildInfo:
    def __init__(self, role: str) -> None:
        self._role = role

    def collect(self) -> Iterator[Metric]:
        """The release and the role, as labels."""
        text = "Always 1: which release this is, and what it does"
        yield labelled_gauges("build_info", text, ["version", "role"], [((VERSION, self._role), 1)])
