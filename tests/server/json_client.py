"""A stock WebSocket client that keeps every text the JSON door sends it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.server.conftest import until


class JsonClient:
    """A connected client; `texts` are what came, byte for byte, `messages` what they say."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.texts: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # the test's end, or what it waits for
            while True:
                text = await self.socket.recv(decode=False)
                self.texts.append(text)
                self.messages.append(json.loads(text))

    async def send(self, **message: Any) -> None:
        """Send one message."""
        await self.socket.send(json.dumps(message))

    def of_type(self, *types: str) -> list[dict[str, Any]]:
        """The messages of these types so far."""
        return [message for message in self.messages if message.get("type") in types]

    def of_stream(self, name: str) -> list[dict[str, Any]]:
        """The raw messages of one stream so far."""
        return [message for message in self.messages if message.get("stream") == name and "type" not in message]

    async def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The messages of a type, once there are `count`."""
        await until(lambda: len(self.of_type(kind)) >= count, lambda: f"{count} x {kind}, not only {self.messages[:9]}")
        return self.of_type(kind)

    async def ask(self, answer: str, **message: Any) -> dict[str, Any]:
        """Send one message and return the next answer of that type."""
        before = len(self.of_type(answer))
        await self.send(**message)
        return (await self.wait_for(answer, before + 1))[before]

    async def settle(self) -> None:
        """Return once everything that was sent before now has arrived."""
        await self.ask("pong", type="ping")

    async def wait_closed(self) -> tuple[int | None, str | None]:
        """The close code and reason, once the server has closed."""
        await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def close(self) -> None:
        """Leave."""
        await self.socket.close()
        await self._reader


@contextlib.asynccontextmanager
async def json_client(url: str, **options: Any) -> AsyncIterator[JsonClient]:
    """A client of the JSON door at `http://...`, greeted."""
    client = JsonClient(await connect(url.replace("http", "ws", 1), **options))
    try:
        await client.wait_for("connection")
        yield client
    finally:
        await client.close()
