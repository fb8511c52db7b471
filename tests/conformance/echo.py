"""A WebSocket that sends back what it gets, on the doors' own handshake and WebSocket; exists only in tests.

Every answer is compressed where permessage-deflate was negotiated, short ones too: kosoku 0.1.0 cannot
compare an uncompressed text in the cases 12 and 13.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from server.access.stays import Stay
from server.access.visitors import Visitor
from server.delivery import Delivery
from server.frames import binary_frame, deflated_frame, text_frame
from server.transport.handshake import take_over
from server.transport.websocket import WebSocket
from tests.support.quotas import wide_quotas

MAX_BYTES = 16 * 1024 * 1024
"""The largest message of the published cases."""


def _echo(request: web.Request, delivery: Delivery, stay: Stay) -> web.StreamResponse:
    def open_on(transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
        def on_message(message: str | bytes) -> None:
            is_binary = isinstance(message, bytes)
            body = message if isinstance(message, bytes) else message.encode()
            if deflate:
                ws.outbox.write(deflated_frame(body, binary=is_binary))
            else:
                ws.outbox.write(binary_frame(body) if is_binary else text_frame(body))

        ws = WebSocket(
            transport,
            delivery,
            stay,
            on_message=on_message,
            on_lost=stay.leave,
            on_slow=transport.abort,
            max_bytes=MAX_BYTES,
            deflate=deflate,
        )
        return ws

    return take_over(request, open_on)


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """An echo server on a free loopback port; its address."""
    delivery, quotas = Delivery(), wide_quotas()

    async def echo(request: web.Request) -> web.StreamResponse:
        return _echo(request, delivery, quotas.enter(Visitor("127.0.0.1")))

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
