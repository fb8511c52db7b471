"""The Engine.IO server: HTTP requests to `/socket.io/` become sessions, polls and posts.

It is python-engineio's server for those who use it (python-socketio and its managers), and answers
requests itself, as the reference server does: python-engineio's way costs several times as much, and
deviates from the protocol. aiohttp routes a WebSocket's request; then its transport is taken over
(server/transport/handshake.py) and driven by callbacks. One timer sends all pings (server/doors/heartbeat.py).

tests/server/test_engine.py fails loudly when a release changes what this relies on.
Source: Engine.IO protocol 4; the refusals are those of the reference server.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable, Coroutine
from enum import Enum
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import engineio
import msgspec
import structlog
from aiohttp import web

from server.access.credentials import without_credentials
from server.access.gate import Gate
from server.access.over_quota import OverQuotaError
from server.access.quotas import Quotas
from server.bounded_log import BoundedLog
from server.deadlines import Deadlines
from server.delivery import Delivery
from server.doors.heartbeat import Heartbeat
from server.doors.rest_guard import refused
from server.doors.session import EngineSocket, Work
from server.drain import turn_away
from server.refusals import refusal_of
from server.transport.answers import ok

CONNECT_TIMEOUT_S: Final = 45.0
"""How long a client may take to connect to a namespace, in s; the reference server's `connectTimeout`."""
UPGRADE_TIMEOUT_S: Final = 10.0
"""How long an upgrade may take from its WebSocket's handshake on, in s; the reference server's `upgradeTimeout`."""
CLOSE_S: Final = 1.0
"""How long what runs for a session may go on once all are closed, in s."""
ELSEWHERE: Final = "X-Session-Elsewhere"
"""A proxy that sends this header asks the next replica where one answers 503: an unknown session may be there. Sessions
begin elsewhere while their client's own replica drains or is away, and live on when it is back."""
_SID_BYTES: Final = 15
_PACKETS: Final = "text/plain; charset=UTF-8"
_KEPT: Final = {"Origin": "HTTP_ORIGIN", "X-Real-IP": "HTTP_X_REAL_IP"}
"""The headers that are kept of a request for as long as its client is connected; no credentials."""

log = structlog.get_logger(__name__)


class EngineError(Enum):
    """Why a request is refused: the code and message of the answer's JSON body, with status 400."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SID = (1, "Session ID unknown")
    BAD_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    BAD_ORIGIN = (4, "Origin not accepted")
    BAD_VERSION = (5, "Unsupported protocol version")


class EngineServer(engineio.AsyncServer):  # type: ignore[misc] # engineio ships no types
    """The Engine.IO server with sessions of ours. Its parts are set by `SocketServer`, which owns it.

    `receive` handles one message of a session, and returns what is left to await.
    """

    delivery: Delivery
    gate: Gate
    quotas: Quotas
    receive: Callable[[EngineSocket, str | bytes], Work | None]
    refuse_large_message: Callable[[EngineSocket, str | bytes], None]
    refuse_command: Callable[[EngineSocket, str | bytes], None]

    def __init__(
        self,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        upgrade_timeout_s: float = UPGRADE_TIMEOUT_S,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self.heartbeat = Heartbeat(self.ping_interval, self.ping_timeout)
        self.strangers = Deadlines[EngineSocket](connect_timeout_s, self._give_up)
        """Sessions without a namespace."""
        self.upgrading = Deadlines[EngineSocket](upgrade_timeout_s, EngineSocket.give_up_upgrade)
        """Sessions whose WebSocket has yet to take over."""
        self.clients_log = BoundedLog()
        self._background: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def attach(self, app: web.Application, engineio_path: str = "engine.io") -> None:
        """Serve every method at `engineio_path`: those that mean nothing get Engine.IO's refusal."""
        app.router.add_route("*", f"/{engineio_path.strip('/')}/", self.handle_request)

    def generate_id(self) -> str:
        """A new session id, which nobody can guess."""
        return base64.urlsafe_b64encode(secrets.token_bytes(_SID_BYTES)).decode()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def forget(self, session: EngineSocket) -> None:
        """Let go of a session that is over."""
        self.heartbeat.remove(session)
        self.strangers.stop(session)
        self.upgrading.stop(session)
        self.sockets.pop(session.sid, None)
        session.stay.leave()

    def refuse_new(self) -> None:
        """Open no more sessions; those that are open go on."""
        self._is_closing = True

    async def close_all(self) -> None:
        """Close every session, open no more, stop the timers and give up what is still to be answered."""
        self.refuse_new()
        for session in tuple(self.sockets.values()):
            await session.shut_down()
        self.heartbeat.close()
        self.strangers.close()
        self.upgrading.close()
        if self._background:
            _, unfinished = await asyncio.wait(self._background, timeout=CLOSE_S)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to `/socket.io/`."""
        headers: dict[str, str] = {}
        origin = request.headers.get("Origin")
        if origin is not None:
            if not self._is_allowed(origin, request):
                return _refused(EngineError.BAD_ORIGIN, {})
            headers = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        if request.method == "OPTIONS":
            return _preflight(request, headers)
        query = _parameters(request.raw_path.partition("?")[2])
        if query.get("transport") not in self.transports:
            return _refused(EngineError.UNKNOWN_TRANSPORT, headers)
        try:
            if query.get("sid"):
                return await self._serve(request, query, headers)
            return await self._open(request, query, headers)
        except OverQuotaError as error:
            return refused(refusal_of(error), headers=headers)

    async def _open(self, request: web.Request, query: dict[str, str], headers: dict[str, str]) -> web.StreamResponse:
        """Open a session (Engine.IO protocol 4, "Handshake")."""
        transport = query["transport"]
        if request.method != "GET":
            return _refused(EngineError.BAD_METHOD, headers)
        if query.get("EIO") != "4":
            return _refused(EngineError.BAD_VERSION, headers)
        if (transport == "websocket") is not _is_upgrade(request):
            return _refused(EngineError.BAD_REQUEST, headers)
        self.quotas.knock(self.gate.address_of(request))
        visitor = await self.gate.approach(request)
        if self._is_closing:
            return turn_away(headers)
        self.quotas.check(visitor)
        session = EngineSocket(self, self.generate_id(), self.quotas.enter(visitor))
        opening = self._opening(session.sid, [] if transport == "websocket" else ["websocket"])
        response: web.StreamResponse | None = None
        if transport == "websocket":
            response = session.open_websocket(request, opening)
            if not session.upgraded:
                session.stay.leave()
                return response
        self.sockets[session.sid] = session
        self.heartbeat.add(session)
        self.strangers.start(session)
        await self._trigger_event("connect", session.sid, _kept(request))
        return response or ok(request, opening, _PACKETS, headers)

    async def _serve(self, request: web.Request, query: dict[str, str], headers: dict[str, str]) -> web.StreamResponse:
        """Upgrade a session, or answer it over HTTP."""
        session: EngineSocket | None = self.sockets.get(query["sid"])
        if session is None:
            elsewhere = request.headers.get(ELSEWHERE)
            return _refused(EngineError.UNKNOWN_SID, headers, HTTPStatus.SERVICE_UNAVAILABLE if elsewhere else None)
        if session.closing:
            return _refused(EngineError.UNKNOWN_SID, headers)
        is_upgrade = _is_upgrade(request)
        if query.get("EIO") != "4" or (query["transport"] == "websocket") is not is_upgrade:
            return _refused(EngineError.BAD_REQUEST, headers)
        if is_upgrade:
            self.quotas.knock(session.visitor.address)
            return session.upgrade(request)
        if session.upgraded:
            return _refused(EngineError.BAD_REQUEST, headers)
        return await self._serve_polling(session, request, headers)

    async def _serve_polling(
        self, session: EngineSocket, request: web.Request, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer a poll or take a post (Engine.IO protocol 4, "HTTP long-polling")."""
        try:
            if request.method == "GET":
                return ok(request, await session.poll(request), _PACKETS, headers)
            if request.method == "POST":
                await session.post(request)
                return ok(request, b"ok", "text/html", headers)
        except OverQuotaError:
            raise
        except ValueError as error:
            self.clients_log.info("request refused", client=session.sid, error=str(error))
            await session.close(reason=self.reason.TRANSPORT_ERROR)
        return _refused(EngineError.BAD_REQUEST, headers)

    def _opening(self, sid: str, upgrades: list[str]) -> bytes:
        """The packet that opens a session."""
        body = {
            "sid": sid,
            "upgrades": upgrades,
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        return b"0" + msgspec.json.encode(body)

    def _is_allowed(self, origin: str, request: web.Request) -> bool:
        """Whether a page of `origin` may connect, as python-engineio's option `cors_allowed_origins` says."""
        environ = {
            "HTTP_ORIGIN": origin,
            "HTTP_HOST": request.headers.get("Host", ""),
            "wsgi.url_scheme": request.scheme,
        }
        allowed = self._cors_allowed_origins(environ)
        return allowed is None or origin in allowed

    def _give_up(self, session: EngineSocket) -> None:
        self.clients_log.info("client never connected", client=session.sid)
        session.end(self.reason.SERVER_DISCONNECT)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("session task failed", exc_info=error)


def _is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _parameters(query: str) -> dict[str, str]:
    """The parameters of a query string; most need no decoding."""
    if "%" in query or "+" in query:
        return dict(parse_qsl(query))
    return dict([part.partition("=")[::2] for part in query.split("&")])


def _kept(request: web.Request) -> dict[str, str]:
    """What is kept of a request, under the names of a WSGI environ."""
    kept = {"QUERY_STRING": without_credentials(request.query_string), "REMOTE_ADDR": request.remote or ""}
    return kept | {name: request.headers[header] for header, name in _KEPT.items() if header in request.headers}


def _refused(refusal: EngineError, headers: dict[str, str], status: HTTPStatus | None = None) -> web.Response:
    code, message = refusal.value
    body = msgspec.json.encode({"code": code, "message": message})
    return web.Response(
        status=status or HTTPStatus.BAD_REQUEST, body=body, content_type="application/json", headers=headers
    )


def _preflight(request: web.Request, headers: dict[str, str]) -> web.Response:
    """What a browser asks before a request to another origin (Fetch standard, "CORS-preflight request")."""
    asked = request.headers.get("Access-Control-Request-Headers")
    allowed = {"Access-Control-Allow-Methods": "OPTIONS, GET, POST"}
    if asked is not None:
        allowed["Access-Control-Allow-Headers"] = asked
    return web.Response(text="ok", headers=headers | allowed)
