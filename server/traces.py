"""Traces of sampled messages, made of the times that they carry, and of clients' commands."""

import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from market.errors import MarketError
from market.venue import RestError
from server.journeys import Journey
from telemetry.tracing import Attributes, Part, Tracing

_OTHERS: Final = ("/socket.io/", "/health", "/metrics")
"""Paths that are no command: the Socket.IO door traces its events itself."""

T = TypeVar("T")


class MessageTraces:
    """One trace a message: from the exchange's event, or from the ingestor where there is none, to the clients."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def observe(self, journey: Journey) -> str | None:
        """Trace one message, if it is sampled; the trace's id.

        The spans are as long as the clocks of exchange, ingestor and replica say, and none shorter than nothing.
        """
        if not self._tracing.is_sampled():
            return None
        message = journey.message
        parts = []
        at_us = message.received_us
        if journey.event_us is not None:
            at_us = journey.event_us
            parts.append(_part("exchange", at_us, message.received_us))
        parts += [
            _part("bus", message.received_us, journey.replica_us),
            _part("socket", journey.replica_us, journey.written_us),
        ]
        attributes: Attributes = {"tickcast.stream": str(message.stream), "tickcast.cursor": message.cursor}
        return self._tracing.send(_part("message", at_us, journey.written_us), parts, attributes)


class CommandTraces:
    """One span a command, from its arrival to its answer; without `tracing` commands are just done."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing

    @property
    def is_on(self) -> bool:
        """Whether anything is traced."""
        return self._tracing is not None

    async def follow(self, name: str, door: str, client: str, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, and trace it if it is sampled; whatever it raises is raised."""
        tracing = self._tracing
        if tracing is None or not tracing.is_sampled():
            return await work
        began_ns = time.time_ns()
        outcome = "failed"
        try:
            result = await work
            outcome = "answered"
        except (MarketError, RestError, web.HTTPException):
            outcome = "refused"
            raise
        finally:
            tracing.send(Part(name, began_ns, time.time_ns()), [], _command(door, client, outcome))
        return result

    def note(self, name: object, door: str, client: str, began_ns: int) -> None:
        """Trace a command that was answered at once, if it is sampled."""
        if self._tracing is not None and self._tracing.is_sampled():
            self._tracing.send(Part(str(name), began_ns, time.time_ns()), [], _command(door, client, "answered"))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Trace a REST request, by the path's template."""
        if request.path.startswith(_OTHERS) or "Upgrade" in request.headers:
            return await handler(request)
        resource = request.match_info.route.resource
        name = f"{request.method} {resource.canonical if resource is not None else 'nowhere'}"

        async def answer() -> web.StreamResponse:
            return await handler(request)

        return await self.follow(name, "rest", "", answer())


def _command(door: str, client: str, outcome: str) -> Attributes:
    return {"tickcast.door": door, "tickcast.client": client, "tickcast.outcome": outcome}


def _part(name: str, begin_us: int, end_us: int) -> Part:
    return Part(name, begin_us * 1_000, max(begin_us, end_us) * 1_000)
