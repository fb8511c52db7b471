"""aiohttp's HTTP server with patience and measure: what aiohttp itself waits for without end is bounded here.

A request's head must be whole within a time and of a size, an address may hold only so many
connections, one that idles is closed, bodies are never inflated, and what is no HTTP is refused in JSON.
With server/transport/handshake.py and server/transport/answers.py the places that touch the insides of aiohttp;
tests/server/access/test_quota_http.py fails loudly when a release changes what this relies on.
"""

import asyncio
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from market.errors import Code
from server.access.addresses import AddressUse
from server.access.over_quota import Reason
from server.access.quotas import Quotas
from server.addresses import ProxyPolicy
from server.deadlines import Deadlines
from server.transport.log import http_log

KEEP_ALIVE_S: Final = 75.0
"""How long a connection may idle between two requests, in s; longer than Nginx keeps its own (60 s)."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request line and its headers together; aiohttp allows 8,190 a line and 128 headers."""


class Patience:
    """What all HTTP connections of one replica share: their deadlines and quotas."""

    def __init__(self, quotas: Quotas, proxies: ProxyPolicy) -> None:
        self.heads: Deadlines[PatientHandler] = Deadlines(quotas.limits.request_timeout_s, self._too_slow)
        self._quotas = quotas
        self._proxies = proxies

    def admit(self, transport: asyncio.Transport) -> tuple[bool, AddressUse | None]:
        """Whether a connection may stay, and where it is counted; those of our proxies are not."""
        peer = transport.get_extra_info("peername")
        if not peer or self._proxies.trusts(peer[0]):
            return True, None
        use = self._quotas.open_socket(peer[0])
        return use is not None, use

    def leave(self, use: AddressUse) -> None:
        """A connection that was counted is over."""
        self._quotas.close_socket(use)

    def refuse(self, reason: Reason, handler: "PatientHandler") -> None:
        """Count and log what a connection did wrong."""
        peer = handler.peername
        self._quotas.note(reason, peer[0] if peer else "")

    def _too_slow(self, handler: "PatientHandler") -> None:
        self.refuse(Reason.SLOW_REQUEST, handler)
        handler.give_up(HTTPStatus.REQUEST_TIMEOUT, "The request was not finished in time")


class PatientHandler(web.RequestHandler):
    """One HTTP connection. It costs an entry in a dictionary while a request's head is awaited that has begun."""

    __slots__ = ("_head_bytes", "_patience", "_use")

    def __init__(self, patience: Patience, manager: web.Server, **options: object) -> None:
        super().__init__(manager, **options)  # type: ignore[arg-type] # as aiohttp's own server hands them on
        self._patience = patience
        self._use: AddressUse | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request (asyncio.Protocol)."""
        super().connection_made(transport)
        is_admitted, self._use = self._patience.admit(transport)  # type: ignore[arg-type] # a TCP server's always is
        if is_admitted:
            self._patience.heads.start(self)
        else:
            text = "Too many connections of this address"
            self._end(HTTPStatus.TOO_MANY_REQUESTS, Code.TOO_MANY_CONNECTIONS, text)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is over, or a WebSocket's from now on (asyncio.Protocol)."""
        self._patience.heads.stop(self)
        use, self._use = self._use, None
        if use is not None:
            self._patience.leave(use)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent (asyncio.Protocol)."""
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._patience.heads.stop(self)
            self._head_bytes = 0
        elif not requests or (self._waiter is not None and not self._waiter.done()):
            self._take_part_of_a_head(len(data))

    def give_up(self, status: HTTPStatus, text: str) -> None:
        """End the connection in the middle of a request; one that never began any needs no answer."""
        if self._head_bytes:
            self._end(status, Code.BAD_REQUEST, text)
        else:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what is no HTTP, or what we failed at, in JSON."""
        super().handle_error(request, status, exc, message)  # logs, and raises where an answer has begun
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            code, text = Code.INTERNAL, "Something went wrong here; it was logged"
        else:
            self._patience.refuse(Reason.MALFORMED, self)
            is_long = isinstance(exc, LineTooLong)
            code, text = Code.BAD_REQUEST, "A line of the request is too long" if is_long else "Not an HTTP request"
        response = web.Response(status=status, body=_refusal(code, text), content_type="application/json")
        response.force_close()
        return response

    def _take_part_of_a_head(self, size: int) -> None:
        if not self._head_bytes and self not in self._patience.heads:
            self._patience.heads.start(self)
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._patience.refuse(Reason.MALFORMED, self)
            self.give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too long")

    def _end(self, status: HTTPStatus, code: Code, text: str) -> None:
        body = _refusal(code, text)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        if self.transport is not None:
            self.transport.write(head.encode() + body)
        self.force_close()


class PatientRunner(web.AppRunner):
    """Serves an application with `PatientHandler`s; otherwise aiohttp's own runner."""

    def __init__(self, app: web.Application, patience: Patience, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            logger=http_log,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=KEEP_ALIVE_S,
            auto_decompress=False,
        )
        self._patience = patience

    async def cleanup(self) -> None:
        """Stop serving."""
        await super().cleanup()
        self._patience.heads.close()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _PatientServer(self._patience, server)


class _PatientServer(web.Server):
    """aiohttp's server, but for the class of its connections."""

    def __init__(self, patience: Patience, plain: web.Server) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory, **plain._kwargs)  # noqa: SLF001 # how its own connections are made
        self._patience = patience

    def __call__(self) -> web.RequestHandler:
        return PatientHandler(self._patience, self, loop=self._loop, **self._kwargs)


def _refusal(code: Code, text: str) -> bytes:
    return msgspec.json.encode({"success": False, "error": text, "code": code.value})
