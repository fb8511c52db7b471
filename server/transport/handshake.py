"""The WebSocket handshake: aiohttp routes the request, then its transport is ours.

With server/transport/answers.py the place that touches the insides of aiohttp; tests/server/test_engine.py
fails loudly when a release changes what this relies on. Source: RFC 6455, 4.2; RFC 7692, 7.1.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_extension

from server.transport.answers import Taken
from server.transport.websocket import WebSocket

_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

OpenWebSocket = Callable[..., WebSocket]
"""Makes the WebSocket on a transport; takes the transport and `deflate=`."""

log = structlog.get_logger(__name__)


def take_over(request: web.Request, open_on: OpenWebSocket) -> web.StreamResponse:
    """Answer the handshake (RFC 6455, 4.2), and hand the connection to `open_on`'s WebSocket."""
    key = request.headers.get("Sec-WebSocket-Key", "")
    transport, handler = request.transport, request.protocol
    if request.headers.get("Sec-WebSocket-Version") != "13" or not _is_key(key):
        return web.Response(status=426, headers={"Sec-WebSocket-Version": "13"}, text="Not a WebSocket handshake")
    if transport is None:  # gone already
        return Taken()
    accept = base64.b64encode(hashlib.sha1(key.encode() + _WEBSOCKET_GUID, usedforsecurity=False).digest()).decode()
    offered = request.headers.getall("Sec-WebSocket-Extensions", None)
    extension = _agree_on_deflate(tuple(offered)) if offered else ""
    answer = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
        + (f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else "")
        + "\r\n"
    )
    tail, handler._message_tail = handler._message_tail, b""  # noqa: SLF001 # what came right behind the request
    transport.write(answer.encode())
    ws = open_on(transport, deflate=bool(extension))
    transport.set_protocol(ws)
    ws.outbox.flush()  # what it begins with leaves in the same write as the answer
    handler.transport = None  # or losing the connection, as aiohttp must believe it did, would close it
    handler.connection_lost(None)
    transport.resume_reading()  # aiohttp pauses it when much came behind the request
    if tail:
        asyncio.get_running_loop().call_soon(ws.data_received, bytes(tail))
    return Taken()


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16  # noqa: PLR2004 # RFC 6455, 4.1
    except ValueError:
        return False


@lru_cache(maxsize=64)
def _agree_on_deflate(headers: tuple[str, ...]) -> str:
    """The permessage-deflate extension that both sides can do, as a header's value; empty for none (RFC 7692, 7.1).

    The client must not use context takeover: then each of its messages can be read on its own. What
    we send refers to nothing before it, so that any context will do there.
    """
    factory = ServerPerMessageDeflateFactory(client_no_context_takeover=True)
    try:
        offers = [offer for header in headers for offer in parse_extension(header)]
        for name, parameters in offers:
            if name == factory.name:
                agreed, _ = factory.process_request_params(parameters, [])
                return "; ".join([name, *(key if value is None else f"{key}={value}" for key, value in agreed)])
    except InvalidHandshake as error:  # a client that offers nonsense gets no compression
        log.debug("websocket extension not understood", error=str(error))
    return ""
