"""The servers that the conformance cases run against: ours and Node's, with long and with short pings.

Each is an Engine.IO echo and the application that the published Socket.IO suite asks for: `/` and
`/custom` answer a CONNECT with `auth`, `message` with `message-back`, `message-with-ack` with its arguments.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from server.access.gate import Gate
from server.addresses import ProxyPolicy
from server.delivery import Delivery
from server.doors.client_events import Reply
from server.doors.engine import UPGRADE_TIMEOUT_S, EngineServer
from server.doors.rooms import Rooms
from server.doors.session import EngineSocket
from server.doors.socket_server import SocketServer
from tests.support.quotas import wide_quotas

LONG: Final = "long"
SHORT: Final = "short"
PINGS_MS: Final = {LONG: (25_000, 60_000), SHORT: (500, 1_000)}
"""Ping interval and timeout: no case may pass merely because a ping timeout closed its socket."""
CONNECT_TIMEOUT_MS: Final = 3_000
MAX_PAYLOAD: Final = 1_000_000
NAMESPACES: Final = ("/", "/custom")
_REFERENCE: Final = Path(__file__).with_name("reference.cjs")


@dataclass(frozen=True)
class Target:
    """One server under test."""

    engine: str
    """The address of the Engine.IO echo."""
    socket: str
    """The address of the Socket.IO application."""
    pings: str
    is_ours: bool
    app: SocketServer | None = None
    """Our application itself; None for Node's."""


@contextmanager
def reference_servers() -> Iterator[dict[str, Target]]:
    """Node's servers, by their pings."""
    timings = {
        name: {"pingInterval": interval, "pingTimeout": timeout, "connectTimeout": CONNECT_TIMEOUT_MS}
        for name, (interval, timeout) in PINGS_MS.items()
    }
    command = ["node", str(_REFERENCE), json.dumps(timings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield {
            name: Target(_address(of["engine"], "engine.io"), _address(of["socket"], "socket.io"), name, is_ours=False)
            for name, of in ports.items()
        }
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@asynccontextmanager
async def our_servers(pings: str, upgrade_timeout_s: float = UPGRADE_TIMEOUT_S) -> AsyncIterator[Target]:
    """Ours, in this process."""
    interval, timeout = PINGS_MS[pings]
    options = {
        "ping_interval": interval / 1000,
        "ping_timeout": timeout / 1000,
        "connect_timeout_s": CONNECT_TIMEOUT_MS / 1000,
        "max_http_buffer_size": MAX_PAYLOAD,
        "cors_allowed_origins": "*",
    }
    echo, application = _echo({**options, "upgrade_timeout_s": upgrade_timeout_s}), _application(options)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(_serving(echo, "engine.io"))
        stack.push_async_callback(echo.close_all)
        socket = await stack.enter_async_context(_serving(application, "socket.io"))
        stack.push_async_callback(application.close)
        yield Target(engine, socket, pings, is_ours=True, app=application)


def _echo(options: dict[str, Any]) -> EngineServer:
    engine = EngineServer(async_mode="aiohttp", **options)

    def receive(session: EngineSocket, data: str | bytes) -> None:
        engine.strangers.stop(session)
        if isinstance(data, str):
            session.write(b"4" + data.encode())
        else:
            session.write(data, binary=True)

    engine.delivery = Delivery()
    engine.gate = Gate(ProxyPolicy(()))
    engine.quotas = wide_quotas()
    engine.receive = receive
    return engine


def _application(options: dict[str, Any]) -> SocketServer:
    server = SocketServer(
        Delivery(),
        gate=Gate(ProxyPolicy(())),
        quotas=wide_quotas(),
        on_connected=lambda _session, _sid: None,
        on_event=lambda _event: Reply(),
        client_manager=Rooms(),
        **options,
    )
    for namespace in NAMESPACES:
        _add_handlers(server, namespace)
    return server


def _add_handlers(server: SocketServer, namespace: str) -> None:
    async def connect(sid: str, _environ: object, auth: dict[str, object] | None) -> None:
        await server.emit("auth", auth or {}, to=sid, namespace=namespace)

    async def message(sid: str, *body: object) -> None:
        await server.emit("message-back", body, to=sid, namespace=namespace)

    server.on("connect", connect, namespace=namespace)
    server.on("message", message, namespace=namespace)
    server.on("message-with-ack", lambda _sid, *body: body, namespace=namespace)
    server.on("silence", lambda _sid, *_body: None, namespace=namespace)


@asynccontextmanager
async def _serving(server: EngineServer | SocketServer, path: str) -> AsyncIterator[str]:
    app = web.Application()
    server.attach(app, path)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield _address(runner.addresses[0][1], path)
    finally:
        await runner.cleanup()


def _address(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}/{path}/"
