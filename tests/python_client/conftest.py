"""A replica in the test's own process, and a line to it that can be cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.server.conftest import Served, serving
from tests.support.processes import Process, free_port, tickcast


@pytest.fixture(scope="package")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The exchange stand-in, for symbols."""
    directory = tmp_path_factory.mktemp("exchange")
    with tickcast("exchange", free_port(), directory, {"SIM_SYMBOLS": "8", "EXCHANGE": "simulate"}) as process:
        yield process


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A whole service with a simulated market; its URL."""
    with tickcast("run", port := free_port(), tmp_path_factory.mktemp("run"), {"SIM_SYMBOLS": "8"}):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def served(exchange: Process, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """A replica of the test's own; a test may change settings by indirect parameters."""
    async with serving(exchange, **getattr(request, "param", {})) as replica:
        yield replica


class Line:
    """A TCP relay in front of a service; while it is cut nobody gets through."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lead_to(self, target: str) -> None:
        """Lead new connections to another service."""
        self._target = target

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._ends.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.removeprefix("http://").split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._ends |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(_pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@pytest.fixture
async def line(served: Served) -> AsyncIterator[Line]:
    """A line to the replica."""
    line = Line(served.url)
    await line.mend()
    yield line
    await line.cut()
