"""A TCP link between two parts of the cluster that can be cut, held up and slowed down."""

import asyncio
import contextlib
import socket
import struct
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from deploy.plan import LOOPBACK

DELAY_S: Final = 0.2
"""How long each piece waits on a slow link, in s."""
_PIECE_BYTES: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 s. The end of such a socket is an RST."""


class Trouble(StrEnum):
    """What may be wrong with a link while it is."""

    DROP = "drop"
    """Connections are closed, new ones, too."""
    RESET = "reset"
    """Connections are reset (RST), new ones, too."""
    BLACKHOLE = "blackhole"
    """Connections stay, new ones are taken, and nothing arrives on either side until it heals."""
    HALF_OPEN = "half-open"
    """What the server says does not arrive until it heals; what it is told does."""
    DELAY = "delay"
    """Everything arrives DELAY_S late, piece by piece."""


@dataclass
class LinkFigures:
    """What was really done to traffic."""

    opened: int = 0
    cut: int = 0
    refused: int = 0
    withheld_bytes: int = 0
    delayed_bytes: int = 0

    @property
    def effects(self) -> int:
        """A number that grows whenever a trouble touches a connection or a byte."""
        return self.cut + self.refused + self.withheld_bytes + self.delayed_bytes


class Link:
    """Listens on `port` and passes everything on to `target`, a port of the loopback. A context manager."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.figures = LinkFigures()
        self._target = target
        self._trouble: Trouble | None = None
        self._healed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    def impose(self, trouble: Trouble) -> None:
        """Let it be wrong until `heal`."""
        self._trouble, self._healed = trouble, asyncio.Event()
        if trouble in {Trouble.DROP, Trouble.RESET}:
            for writer in self._writers:
                self._cut(writer)
                self.figures.cut += 1

    def heal(self) -> None:
        """Let everything pass again; what was held up arrives first."""
        self._trouble = None
        self._healed.set()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection (the server's callback), as a task that ends with the link."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._trouble in {Trouble.DROP, Trouble.RESET}:
            self.figures.refused += 1
            self._cut(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:  # the target is away, as whoever connects sees
            writer.close()
            return
        self.figures.opened += 1
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pass_on(reader, far_writer, from_server=False),
                self._pass_on(far_reader, writer, from_server=True),
            )
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter, *, from_server: bool) -> None:
        """Pass on what one side says until it ends; then the other side's connection ends, too."""
        with contextlib.suppress(ConnectionError):  # an end like any other
            while piece := await reader.read(_PIECE_BYTES):
                await self._hold_up(len(piece), from_server=from_server)
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def _hold_up(self, size: int, *, from_server: bool) -> None:
        while self._trouble is Trouble.BLACKHOLE or (self._trouble is Trouble.HALF_OPEN and from_server):
            self.figures.withheld_bytes += size
            await self._healed.wait()
        if self._trouble is Trouble.DELAY:
            self.figures.delayed_bytes += size
            await asyncio.sleep(DELAY_S)

    def _cut(self, writer: StreamWriter) -> None:
        if self._trouble is Trouble.RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        else:
            writer.close()
