"""When a WebSocket is read: not while its client lags, nor while its door holds it."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from bus.memory import MemoryBroker, MemoryBus
from server.access.quota_settings import QuotaSettings
from server.access.quotas import Quotas
from server.access.visitors import Visitor
from server.delivery import HIGH_WATER_BYTES, Delivery
from server.transport.websocket import WebSocket
from tests.server.conftest import until

MUCH = bytes(16 * HIGH_WATER_BYTES)


class Line(NamedTuple):
    """A WebSocket on a real connection, and the client's end of it."""

    ws: WebSocket
    transport: asyncio.Transport
    reader: asyncio.StreamReader
    messages: list[str | bytes]

    async def lag(self) -> None:
        """Write until the client lags."""
        while not self.ws.outbox.lags:
            self.ws.outbox.write(MUCH)
            await asyncio.sleep(0)

    async def catch_up(self) -> None:
        """Have the client read until it does not lag."""
        while self.ws.outbox.lags:
            await self.reader.read(HIGH_WATER_BYTES)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    opened: asyncio.Future[tuple[WebSocket, asyncio.Transport]] = asyncio.get_running_loop().create_future()
    messages: list[str | bytes] = []
    lost = asyncio.Event()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            ws = WebSocket(
                transport,
                Delivery(),
                Quotas(QuotaSettings(), MemoryBus(MemoryBroker()), "r1").enter(Visitor("127.0.0.1")),
                on_message=messages.append,
                on_lost=lost.set,
                on_slow=transport.abort,
                max_bytes=1000,
                deflate=False,
            )
            transport.set_protocol(ws)
            opened.set_result((ws, transport))

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    ws, transport = await opened
    writer.write(b"\x81\x82\0\0\0\0hi")
    await until(lambda: messages, "the first message")
    yield Line(ws, transport, reader, messages)
    writer.transport.abort()
    await lost.wait()
    server.close()
    await server.wait_closed()


async def test_a_door_that_lets_go_of_a_client_that_lags_does_not_read_it(line: Line) -> None:
    line.ws.pause_reading()
    await line.lag()
    line.ws.resume_reading()
    assert not line.transport.is_reading()
    await line.catch_up()
    assert line.transport.is_reading()


async def test_a_client_that_caught_up_is_not_read_while_its_door_holds_it(line: Line) -> None:
    await line.lag()
    line.ws.pause_reading()
    await line.catch_up()
    assert not line.transport.is_reading()
    line.ws.resume_reading()
    assert line.transport.is_reading()
