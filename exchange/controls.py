"""The control surface for tests: `/control/*`, JSON in and out. Not part of Binance's surface."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from binance.budget import Budget
from exchange.bybit_sockets import BybitSockets
from exchange.connections import Connection, Sockets
from exchange.faults import Door, Faults, Refusal
from exchange.garbage import Garbage, garbage_frame
from exchange.venue import Venue
from market.streams import Market

_encode: Final = msgspec.json.Encoder().encode
_GOING_AWAY: Final = 1001
_MAX_TIMERS: Final = 100
# RFC 6455, 5.5: a control frame holds 125 bytes, of which the code takes two.
_MAX_REASON_BYTES: Final = 123
_REST_REFUSALS: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)
_Command = TypeVar("_Command")


class Drop(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/drop`: cut connections without a word."""

    market: Market | None = None


class Close(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/close`: close connections with a code and a reason."""

    code: int
    reason: str = ""
    market: Market | None = None


class Mute(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/mute`: say nothing more on streams that match a shell pattern, on connections open now."""

    streams: str
    market: Market | None = None


class Stall(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/stall`: connections open now play dead for `seconds`: half open, nothing in or out."""

    seconds: float
    market: Market | None = None


class Say(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/say`: send one frame of garbage on all connections."""

    garbage: Garbage
    market: Market | None = None


class Silence(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/silence`: say nothing on streams that match a shell pattern, for `seconds` or until reset.

    On Bybit's market the pattern is one of topics, as is the `stream` of `Skip`.
    """

    streams: str = "*"
    market: Market | None = None
    seconds: float | None = None


class Skip(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/skip`: swallow the next `count` messages of a stream."""

    market: Market
    stream: str
    count: int


class Refuse(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/refuse`: refuse at a door, for so many requests or seconds or until reset.

    REST is refused with 429 or 418, handshakes also with 403 and 503; `retry_after` 0 = no such header there.
    """

    status: Literal[429, 418, 403, 503] = 429
    door: Door = Door.REST
    retry_after: int = 1
    requests: int | None = None
    seconds: float | None = None


class Shutdown(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/shutdown`: announce `serverShutdown`, close the connections told `delay_s` later."""

    market: Market | None = None
    delay_s: float = 1.0


class ReplayAction(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /control/replay`: play the recording from its beginning."""

    action: Literal["restart"]


class Controls:
    """Carries out what tests ask for. `restart` begins the replay anew, None in simulation."""

    def __init__(
        self,
        *,
        sockets: Sockets,
        bybit: BybitSockets | None,
        faults: Faults,
        budget: Budget,
        venue: Venue,
        status: Callable[[], dict[str, Any]],
        restart: Callable[[], None] | None,
    ) -> None:
        self._sockets = sockets
        self._bybit = bybit
        self._faults = faults
        self._budget = budget
        self._venue = venue
        self._status = status
        self._restart = restart
        self._timers: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The paths of the control surface."""
        return [
            web.get("/control/status", self._on_status),
            web.post("/control/drop", self._post(Drop, self._drop)),
            web.post("/control/close", self._post(Close, self._close)),
            web.post("/control/mute", self._post(Mute, self._mute)),
            web.post("/control/stall", self._post(Stall, self._stall)),
            web.post("/control/say", self._post(Say, self._say)),
            web.post("/control/silence", self._post(Silence, self._silence)),
            web.post("/control/skip", self._post(Skip, self._skip)),
            web.post("/control/refuse", self._post(Refuse, self._refuse)),
            web.post("/control/shutdown", self._post(Shutdown, self._shutdown)),
            web.post("/control/replay", self._post(ReplayAction, self._replay)),
            web.post("/control/reset", self._on_reset),
        ]

    async def close(self) -> None:
        """End what is pending."""
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)

    async def _on_status(self, _request: web.Request) -> web.Response:
        return _json(self._status())

    async def _on_reset(self, _request: web.Request) -> web.Response:
        self._faults.lift()
        self._sockets.stall(None, until=0.0)
        self._budget.forget()
        return _json({"ok": True})

    def _post(
        self, command: type[_Command], act: Callable[[_Command], dict[str, Any]]
    ) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            try:
                return _json(act(msgspec.json.decode(body or b"{}", type=command)))
            except (msgspec.DecodeError, ValueError) as error:
                return _json({"ok": False, "error": str(error)}, HTTPStatus.BAD_REQUEST)

        return handle

    def _drop(self, command: Drop) -> dict[str, Any]:
        dropped = self._sockets.drop(command.market)
        if self._bybit is not None and command.market in (None, Market.BYBIT):
            dropped += self._bybit.drop()
        return {"ok": True, "dropped": dropped}

    def _close(self, command: Close) -> dict[str, Any]:
        reason = command.reason.encode()[:_MAX_REASON_BYTES]
        return {"ok": True, "closed": self._sockets.close_open(command.market, command.code, reason)}

    def _mute(self, command: Mute) -> dict[str, Any]:
        return {"ok": True, "muted": self._sockets.mute(command.market, command.streams)}

    def _stall(self, command: Stall) -> dict[str, Any]:
        return {"ok": True, "stalled": self._sockets.stall(command.market, time.monotonic() + command.seconds)}

    def _say(self, command: Say) -> dict[str, Any]:
        return {"ok": True, "told": self._sockets.say(command.market, garbage_frame(command.garbage))}

    def _silence(self, command: Silence) -> dict[str, Any]:
        self._faults.silence(command.market, command.streams, _until(command.seconds))
        return {"ok": True}

    def _skip(self, command: Skip) -> dict[str, Any]:
        self._faults.skip(command.market, command.stream, command.count)
        return {"ok": True}

    def _refuse(self, command: Refuse) -> dict[str, Any]:
        status = HTTPStatus(command.status)
        if command.door is Door.REST and status not in _REST_REFUSALS:
            raise ValueError("REST is refused with 429 or 418")
        until = _until(command.seconds)
        self._faults.refuse(command.door, Refusal(status, command.retry_after, command.requests, until))
        return {"ok": True}

    def _shutdown(self, command: Shutdown) -> dict[str, Any]:
        if len(self._timers) >= _MAX_TIMERS:
            raise ValueError("too many shutdowns are pending")
        told = self._sockets.announce_shutdown(command.market, self._venue.now_ms)
        timer = asyncio.create_task(self._close_after(command.delay_s, told))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
        return {"ok": True, "told": len(told)}

    def _replay(self, _command: ReplayAction) -> dict[str, Any]:
        if self._restart is None:
            raise ValueError("nothing is replayed here")
        self._restart()
        return {"ok": True}

    async def _close_after(self, delay_s: float, told: list[Connection]) -> None:
        await asyncio.sleep(delay_s)
        for connection in told:
            self._sockets.close_later(connection, _GOING_AWAY, b"Server shutting down")


def _until(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _json(body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=_encode(body), status=status, content_type="application/json")
