"""What tests do to a running exchange: plain websockets and httpx."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect

from exchange.server import Exchange

PATIENCE_S = 15.0


class Client:
    """HTTP and WebSocket access to one exchange."""

    def __init__(self, exchange: Exchange, port: int) -> None:
        self.exchange = exchange
        self.port = port
        self.ws_base = f"ws://127.0.0.1:{port}"
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            verify=False,  # noqa: S501 # plain HTTP: loading certificates would only take time
        )
        self._sockets: list[ClientConnection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._sockets:
            # No handshake: a client whose queue is full of unread messages would not see its end.
            socket.transport.abort()
            await socket.wait_closed()
        await self.http.aclose()

    async def socket(self, path: str, **options: Any) -> ClientConnection:
        """An open WebSocket that is closed with the client."""
        socket = await connect(f"{self.ws_base}{path}", compression=None, **options)
        self._sockets.append(socket)
        return socket

    async def get(self, path: str, **params: Any) -> Any:
        """JSON of a REST answer that must succeed."""
        response = await self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def error(self, path: str, **params: Any) -> tuple[int, int, str]:
        """Status, code and text of a REST answer that must fail."""
        response = await self.http.get(path, params=params)
        body = response.json()
        return response.status_code, body["code"], body["msg"]

    async def control(self, command: str, **body: Any) -> Any:
        """Ask the control surface for something."""
        response = await self.http.post(f"/control/{command}", json=body)
        assert response.status_code == 200, response.text
        return response.json()


async def receive(socket: ClientConnection) -> Any:
    """The next message, decoded."""
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await socket.recv())


async def receive_until(socket: ClientConnection, done: Callable[[Any], bool]) -> list[Any]:
    """All messages up to the first for which `done` holds, that one included."""
    found = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found.append(json.loads(await socket.recv()))
            if done(found[-1]):
                return found


async def ask(socket: ClientConnection, method: str, params: list[Any] | None = None, request_id: Any = 1) -> Any:
    """Send a control request; returns its answer, passing over data."""
    request: dict[str, Any] = {"method": method, "id": request_id}
    if params is not None:
        request["params"] = params
    await socket.send(json.dumps(request))
    answers = await receive_until(socket, lambda message: isinstance(message, dict) and "id" in message)
    return answers[-1]


async def closing_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Close code and reason, once the connection has ended."""
    async with asyncio.timeout(PATIENCE_S):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as `condition` holds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 # conditions of foreign objects come without an event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"timed out: {what}") from None


async def early_in_the_minute() -> None:
    """Return while ten seconds of this minute are left: budgets and candles begin anew with the next."""
    into_it = time.time() % 60
    if into_it > 50:
        await asyncio.sleep(60 - into_it)
