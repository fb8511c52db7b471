"""A link really does what it is told, and counts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.server.conftest import until
from tests.support.processes import free_port
from tests.system.chaos.links import DELAY_S, Link, Trouble

NOTHING_S = 0.15
"""Long enough for something to arrive over the loopback if it does."""


class Caller:
    """A client of an echo server behind a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hear(self, count: int, timeout_s: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self.reader.readexactly(count)


@pytest.fixture
async def heard() -> list[bytes]:
    """What has arrived at the echo server."""
    return []


@pytest.fixture
async def link(heard: list[bytes]) -> AsyncIterator[Link]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1_000):
            heard.append(piece)
            writer.write(piece)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with server, Link(free_port(), port) as made:
        yield made


@asynccontextmanager
async def called(link: Link) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", link.port))
    try:
        yield caller
    finally:
        caller.writer.close()


async def test_everything_passes_where_nothing_is_wrong(link: Link) -> None:
    async with called(link) as caller:
        await caller.say(b"hello")
        assert await caller.hear(5) == b"hello"
    assert link.figures.effects == 0


@pytest.mark.parametrize("trouble", [Trouble.DROP, Trouble.RESET])
async def test_a_cut_link_ends_connections_and_takes_no_new_ones_until_it_heals(link: Link, trouble: Trouble) -> None:
    async with called(link) as caller:
        await caller.say(b"hello")
        await caller.hear(5)
        link.impose(trouble)
        if trouble is Trouble.RESET:
            with pytest.raises(ConnectionResetError):
                await caller.hear(1)
        else:
            assert await caller.reader.read() == b""
    async with called(link) as refused:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await refused.hear(1)
    assert (link.figures.cut, link.figures.refused) == (2, 1)
    link.heal()
    async with called(link) as again:
        await again.say(b"again")
        assert await again.hear(5) == b"again"


async def test_a_black_hole_keeps_connections_and_passes_nothing_until_it_heals(link: Link, heard: list[bytes]) -> None:
    async with called(link) as caller:
        link.impose(Trouble.BLACKHOLE)
        await caller.say(b"lost?")
        with pytest.raises(TimeoutError):
            await caller.hear(1, NOTHING_S)
        await until(lambda: link.figures.withheld_bytes == 5, "it is withheld")
        assert heard == []
        link.heal()
        assert await caller.hear(5) == b"lost?"


async def test_a_half_open_link_lets_the_server_hear_but_not_speak(link: Link, heard: list[bytes]) -> None:
    async with called(link) as caller:
        link.impose(Trouble.HALF_OPEN)
        await caller.say(b"hello")
        with pytest.raises(TimeoutError):
            await caller.hear(1, NOTHING_S)
        await until(lambda: heard == [b"hello"], "the server hears")
        link.heal()
        assert await caller.hear(5) == b"hello"


async def test_a_slow_link_delays_each_way(link: Link) -> None:
    loop = asyncio.get_running_loop()
    async with called(link) as caller:
        link.impose(Trouble.DELAY)
        began = loop.time()
        await caller.say(b"hello")
        assert await caller.hear(5) == b"hello"
    assert loop.time() - began >= 2 * DELAY_S
    assert link.figures.delayed_bytes == 10
