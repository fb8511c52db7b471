"""A Socket.IO server of ours without a replica around it, for tests on the wire."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from server.access.gate import Gate
from server.addresses import ProxyPolicy
from server.delivery import Delivery
from server.doors.client_events import ClientEvent, Reply
from server.doors.rooms import Rooms
from server.doors.session import EngineSocket
from server.doors.socket_server import SocketServer
from tests.support.quotas import wide_quotas

FRIEND = "https://friend.example"
"""The one origin that may connect."""


class EngineService:
    """The server, its address, and what its clients did."""

    def __init__(self, **timing: float) -> None:
        self.url = ""
        self.left: list[str] = []
        """Why clients of the main namespace left, as the application is told."""
        self.events: list[ClientEvent] = []
        self.server = SocketServer(
            Delivery(),
            gate=Gate(ProxyPolicy(())),
            quotas=wide_quotas(),
            on_connected=self._on_connected,
            on_event=self._on_event,
            client_manager=Rooms(),
            cors_allowed_origins=lambda origin, _environ: origin == FRIEND,
            max_http_buffer_size=1_000_000,
            **{"ping_interval": 25.0, "ping_timeout": 60.0, **timing},
        )
        self.server.on("disconnect", lambda _sid, reason: self.left.append(reason))
        self.server.on("echo", lambda _sid, *arguments: arguments, namespace="/other")
        self.server.on("silence", lambda _sid, *_arguments: None, namespace="/other")

    def polling(self, sid: str = "") -> str:
        """The address of polls; of a session's, with its id."""
        return f"{self.url}?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")

    def websocket(self, sid: str = "") -> str:
        """The address of a WebSocket."""
        return self.polling(sid).replace("polling", "websocket")

    def _on_connected(self, session: EngineSocket, _sid: str) -> None:
        session.write(b'42["welcome"]')

    def _on_event(self, event: ClientEvent) -> Reply:
        self.events.append(event)
        return Reply(None if event.name == "silence" else event.arguments)


@asynccontextmanager
async def serving(**timing: float) -> AsyncIterator[EngineService]:
    """A server on a free loopback port; long pings, so that no case passes because a ping timed out."""
    service = EngineService(**timing)
    app = web.Application()
    service.server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/socket.io/"
    try:
        yield service
    finally:
        await service.server.close()
        await runner.cleanup()


async def open_polling(http: aiohttp.ClientSession, service: EngineService) -> str:
    """Open a polling session; its id."""
    async with http.get(service.polling()) as response:
        return str(json.loads((await response.text())[1:])["sid"])


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """Status and body of a poll."""
    async with http.get(url) as response:
        return response.status, await response.text()


async def post(http: aiohttp.ClientSession, url: str, body: str) -> tuple[int, str]:
    """Status and body of what a polling client sends."""
    async with http.post(url, data=body) as response:
        return response.status, await response.text()


async def texts_until_closed(ws: aiohttp.ClientWebSocketResponse, timeout_s: float = 5.0) -> list[str]:
    """Everything a WebSocket still says; fails if it stays open."""
    texts = []
    while not ws.closed:
        message = await ws.receive(timeout=timeout_s)
        if message.type is aiohttp.WSMsgType.TEXT:
            texts.append(message.data)
    return texts
