"""One connection to one replica: a thin shell around packets.py."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI

from . import packets
from .errors import RefusedError, UnreachableError

OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 15.0
MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
"""Well above 10,000 candles, the largest answer."""
MAX_CALLS: Final = 64
"""Calls under way at once; further ones wait for their turn."""

OnEvent = Callable[[str, msgspec.Raw], None]
OnReply = Callable[[dict[str, Any]], None]


class Link:
    """An open Socket.IO session over WebSocket.

    Events and answers are handled one by one in the order in which they came, each before the next is read: what
    follows an acknowledgement meets a client that has digested it. A program that is slow to handle them makes the
    server's own rules for slow clients apply; nothing piles up here.
    """

    def __init__(self, socket: ClientConnection, on_event: OnEvent) -> None:
        self._socket = socket
        self._on_event = on_event
        self._numbers = itertools.count()
        self._calls: dict[int, tuple[asyncio.Future[dict[str, Any]], OnReply]] = {}
        self._turns = asyncio.Semaphore(MAX_CALLS)
        self._lost: UnreachableError | None = None

    @classmethod
    async def open(cls, url: str, token: str | None, on_event: OnEvent) -> "Link":
        """Connect and open the main namespace. Raises UnreachableError, RefusedError."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                # Its own pings find a connection that is dead within 40 s.
                socket = await connect(socket_url(url), max_size=MAX_FRAME_BYTES, close_timeout=CLOSE_TIMEOUT_S)
                try:
                    await _open_namespace(socket, token)
                except BaseException:
                    await socket.close()
                    raise
        except InvalidStatus as error:
            _refuse(error)
        except (OSError, InvalidHandshake, InvalidMessage, InvalidURI, ConnectionClosed, ValueError) as error:
            # TimeoutError is an OSError.
            raise UnreachableError(f"No connection to {url}: {error or type(error).__name__}") from error
        return cls(socket, on_event)

    async def run(self) -> str:
        """Handle what comes until the connection is lost, and say why it was.

        Raises RefusedError (`disconnected`) where the server ends the session for good, and what handlers raise.
        """
        reason = "the client closed it"
        try:
            async for frame in self._socket:
                await self._take(packets.decode(frame))
            reason = self._socket.close_reason or f"closed with {self._socket.close_code}"
        except ConnectionClosed as error:
            reason = str(error)
        except ValueError as error:  # JSON of another shape, too
            reason = f"not understood: {error}"
        finally:
            self._lose(reason)
            await self._socket.close()
        return reason

    async def call(self, name: str, body: object, on_reply: OnReply) -> dict[str, Any]:
        """Send an event and return its acknowledgement, which `on_reply` sees before anything that came behind it.

        Raises RefusedError for `ok: false` with a code, UnreachableError where the connection is lost meanwhile.
        """
        async with self._turns:
            if self._lost is not None:
                raise self._lost
            number = next(self._numbers)
            answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._calls[number] = answered, on_reply
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._socket.send(packets.encode_call(number, name, body))
                    return await answered
            except (ConnectionClosed, TimeoutError) as error:
                # What the server has made of it is unknown: the next connection begins anew.
                await self._socket.close()
                raise UnreachableError(f"No answer to {name}: {error or 'timed out'}") from error
            finally:
                self._calls.pop(number, None)

    async def close(self) -> None:
        """Leave."""
        with contextlib.suppress(ConnectionClosed):  # the server was first
            await self._socket.send(packets.DISCONNECT)
        await self._socket.close()

    async def _take(self, packet: packets.Packet | None) -> None:
        match packet:
            case packets.ServerEvent(name, body):
                self._on_event(name, body)
            case packets.Ack(number, body):
                self._answer(number, body)
            case packets.Ping():
                await self._socket.send(packets.PONG)
            case packets.Ended():
                raise RefusedError("disconnected", "The server has disconnected this client")

    def _answer(self, number: int, body: Any) -> None:  # noqa: ANN401 # decoded JSON
        answered, on_reply = self._calls.pop(number, (None, None))
        if answered is None or on_reply is None or answered.done():
            return
        if not isinstance(body, dict):
            raise ValueError(f"An acknowledgement that is no object: {body}")  # noqa: TRY004 # the server's mistake
        if body.get("ok") is False and "code" in body:
            answered.set_exception(RefusedError.from_body(body))
            return
        on_reply(body)
        answered.set_result(body)

    def _lose(self, reason: str) -> None:
        self._lost = UnreachableError(f"Connection lost: {reason}")
        for answered, _ in self._calls.values():
            if not answered.done():
                answered.set_exception(UnreachableError(f"Connection lost: {reason}"))
        self._calls.clear()


def socket_url(url: str) -> str:
    """Where the Socket.IO door of the server at `url` (http, https, ws, wss) is. Raises ValueError for another URL."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError("expected http://host[:port] or https://host[:port]")
    path = f"{parts.path.rstrip('/')}/socket.io/"
    return urlunsplit((scheme, parts.netloc, path, "EIO=4&transport=websocket", ""))


async def _open_namespace(socket: ClientConnection, token: str | None) -> None:
    await socket.send(packets.encode_connect(token))
    async for frame in socket:
        match packets.decode(frame):
            case packets.Accepted():
                return
            case packets.Denied(body):
                raise RefusedError.from_body({**body, **(body.get("data") or {})})
    raise UnreachableError(f"Closed at the door: {socket.close_reason or socket.close_code}")


def _refuse(error: InvalidStatus) -> NoReturn:
    """Raise what a handshake that was answered by plain HTTP means."""
    answer = error.response
    try:
        body = msgspec.json.decode(answer.body or b"", type=dict[str, Any])
    except msgspec.MsgspecError:
        body = {}
    wait = answer.headers.get("Retry-After", "")
    retry_after_s = float(wait) if wait.isdigit() else None
    if isinstance(body.get("code"), str) and answer.status_code < 500:  # noqa: PLR2004 # the server's own faults pass
        raise RefusedError.from_body({"retryAfter": retry_after_s, **body}) from error
    raise UnreachableError(f"Refused with HTTP {answer.status_code}", retry_after_s=retry_after_s) from error
