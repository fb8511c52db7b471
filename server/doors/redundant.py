"""A WebSocket that nobody needs: accepted and closed, as by the reference server (Engine.IO protocol 4, "Upgrade")."""

import asyncio
from typing import Final

from server.access.stays import Stay
from server.delivery import Delivery
from server.transport.websocket import WebSocket

_MAX_BYTES: Final = 1024
"""What the client says is not heard."""


def open_redundant(delivery: Delivery, stay: Stay, transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
    """The WebSocket on `transport`, which closes at once."""
    ws = WebSocket(
        transport,
        delivery,
        stay,
        on_message=lambda _message: None,
        on_lost=lambda: None,
        on_slow=transport.abort,
        max_bytes=_MAX_BYTES,
        deflate=deflate,
    )
    ws.close()
    return ws
