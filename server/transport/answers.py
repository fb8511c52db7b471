"""HTTP answers that aiohttp need not build: what was taken over, and ready bytes in one write.

With server/transport/handshake.py the place that touches the insides of aiohttp; tests/server/test_engine.py
fails loudly when a release changes what this relies on. Source: RFC 9110; RFC 9112.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time

COMPRESS_FROM_BYTES: Final = 1024
"""Shorter bodies go plain, as with the reference server."""
_SHARED_MAX: Final = 64 * 1024
"""Longer bodies are compressed for one client alone: what is kept to be shared stays small."""
_GZIP: Final = 31
"""zlib's number for a gzip stream."""


class Taken(web.Response):
    """What a handler answers whose transport was taken over: aiohttp has nothing left to send."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Ready(Taken):
    """A whole HTTP/1.1 answer in one write, on a connection that stays open."""

    keep_alive = True

    def __init__(self, request: web.Request, answer: bytes) -> None:
        super().__init__()
        self._request = request
        self._answer = answer

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 # aiohttp's signature
        """Send the answer and wait while the client does not read. Raises ConnectionResetError once it is gone."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self._answer)
        await self._request.writer.drain()


def ok(request: web.Request, body: bytes, content_type: str, headers: dict[str, str]) -> web.StreamResponse:
    """A 200 that no cache keeps, with `headers`; gzip where the client can read it and it is worth it."""
    if len(body) >= COMPRESS_FROM_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = _shared_gzip(body) if len(body) <= _SHARED_MAX else _gzip(body)
        headers = {**headers, "Content-Encoding": "gzip"}
    if request.version != HttpVersion11 or not request.keep_alive:
        plain = {**headers, "Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=body, headers=plain)
    extra = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n{extra}\r\n"
    )
    return _Ready(request, head.encode(errors="surrogateescape") + body)  # as aiohttp decoded the headers


def on_lost(request: web.Request, call: Callable[[], None]) -> None:
    """Call `call` if the client's connection is lost while `request` is handled."""
    request._cancel = lambda _error: call()  # type: ignore[assignment] # noqa: SLF001 # aiohttp calls it then


def _gzip(body: bytes) -> bytes:
    """`body` compressed at level 1: a third cheaper than zlib's default, and some 6 % longer."""
    stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return stream.compress(body) + stream.flush()


_shared_gzip = lru_cache(maxsize=16)(_gzip)
"""Clients with the same subscriptions poll the same bytes."""
