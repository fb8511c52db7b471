"""A small server that speaks Binance's WebSocket wire, in which tests say what goes wrong."""

import asyncio
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from tests.support.processes import free_port

MAX_CLIENT_FRAME = 4_096


@dataclass
class Client:
    """What the server saw of one connection."""

    socket: ServerConnection
    path: str
    names: set[str] = field(default_factory=set)
    requests: list[dict[str, object]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    longest: int = 0


class WireServer:
    """One address of the exchange; serves every path. `clients` are all there ever were, `live` those now."""

    def __init__(self) -> None:
        self.port = free_port()
        self.clients: list[Client] = []
        self.live: list[Client] = []
        self.refuses: Collection[str] = ()
        self.answers = True
        self.admits = True
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            compression=None,
            process_request=self._admit,
            max_size=MAX_CLIENT_FRAME,
        )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def send(self, name: str, payload: bytes) -> int:
        """Send one combined frame to every client subscribed to `name`; how many there are."""
        # Nothing may be written behind a closing frame.
        live = (client for client in self.live if client.socket.state is State.OPEN)
        receivers = [client for client in live if name in client.names]
        for client in receivers:
            self.send_raw(client, b'{"stream":"%b","data":%b}' % (name.encode(), payload))
        return len(receivers)

    def send_raw(self, client: Client, *texts: bytes) -> None:
        """Send text frames in one write, so that they arrive together."""
        client.socket.transport.write(b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts))

    def drop(self) -> None:
        """Cut every connection without a closing handshake."""
        for client in self.live:
            client.socket.transport.abort()

    @property
    def names(self) -> set[str]:
        """All names that some live client is subscribed to."""
        return {name for client in self.live for name in client.names}

    def _admit(self, socket: ServerConnection, _request: Request) -> Response | None:
        return None if self.admits else socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "away\n")

    async def _serve(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        client = Client(socket, request.path)
        self.clients.append(client)
        self.live.append(client)
        try:
            async for text in socket:
                assert isinstance(text, str)
                client.times.append(time.monotonic())
                client.longest = max(client.longest, len(text.encode()) + 8)
                client.requests.append(json.loads(text))
                if self.answers:
                    await socket.send(self._answer(client, client.requests[-1]))
        except ConnectionClosed:
            pass
        finally:
            self.live.remove(client)

    def _answer(self, client: Client, request: dict[str, object]) -> str:
        params = request["params"]
        assert isinstance(params, list)
        if any(name in self.refuses for name in params):
            error = {"code": 2, "msg": "Invalid request: invalid stream"}
            return json.dumps({"error": error, "id": request["id"]}, separators=(",", ":"))
        if request["method"] == "SUBSCRIBE":
            client.names.update(params)
        else:
            client.names.difference_update(params)
        return json.dumps({"result": None, "id": request["id"]}, separators=(",", ":"))


async def until(condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> None:
    """Return as soon as `condition` holds; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


def most_within(times: list[float], period_s: float) -> int:
    """The most events that any window of `period_s` holds."""
    return max((sum(start <= other < start + period_s for other in times) for start in times), default=0)
