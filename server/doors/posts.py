"""The body of a long-polling client's request, read within bounds.

Source: Engine.IO protocol 4, "HTTP long-polling".
"""

import asyncio
from typing import Final

from aiohttp import web

from server.doors.polling import SEPARATOR

HARD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""A message longer than this is not even read: it ends the connection (close 1009)."""
MAX_PACKETS: Final = 4096
"""Packets in one request."""


async def read_packets(request: web.Request, timeout_s: float) -> list[bytes]:
    """The packets of a request. Raises ValueError for a body too long, cut short, or not whole within `timeout_s`."""
    if request.content.is_eof():  # it came with the head, as nearly all do
        body = await _read(request)
    else:
        try:
            async with asyncio.timeout(timeout_s):
                body = await _read(request)
        except TimeoutError:
            raise ValueError("body too slow") from None
    packets = body.split(SEPARATOR, MAX_PACKETS)
    if len(packets) > MAX_PACKETS:
        raise ValueError("too many packets")
    return packets


async def _read(request: web.Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while not request.content.at_eof():
            parts.append(await request.content.readany())
            size += len(parts[-1])
            if size > HARD_LIMIT_BYTES:
                raise ValueError("body too long")
    except (ConnectionError, web.RequestPayloadError) as error:
        raise ValueError(f"body cut short: {error}") from None
    return b"".join(parts)
