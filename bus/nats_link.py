"""One connection to a NATS server as callbacks: messages a read at a time, and proof of what the server has.

The stock client costs 5.0 to 6.3 us a message (docs/decisions/0005-nats.md has the figures): a queue, a
task and an object for each. Here `data_received` parses all that one read brought and hands it on in one
call. The server works commands off in order: the PONG for the PING behind them says that it has them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, cast

import msgspec
import structlog

from bus import nats_wire
from bus.loglimit import LogLimit
from bus.nats_servers import Server, Servers
from bus.nats_wire import Control, Info, Parser, ProtocolError, Received

PING_INTERVAL_S: Final = 1.0
"""How often the server is asked for a sign of life, in s."""
SILENT_PINGS_MAX: Final = 3
"""After how many unanswered pings a connection counts as lost."""
IN_FLIGHT_MAX: Final = 16_384
"""How many callers may wait on one connection."""
WRITE_BUFFER_MAX: Final = 32 * 1024 * 1024
"""How many bytes may wait for a server that does not read them."""

_UNAUTHORIZED: Final = "Authorization Violation"
"""What a server says to wrong credentials (NATS documentation, "Client Protocol", -ERR)."""

ReadHandler = Callable[[list[Received]], None]
RefusalHandler = Callable[[str], None]
"""Takes what the server said when it refused one command and kept the connection."""

_log = structlog.get_logger(__name__)
_decode_info: Final = msgspec.json.Decoder(Info).decode


class NotAuthorizedError(ConnectionResetError):
    """The server ended the connection because of who we are."""


class Link(asyncio.Protocol):
    """One connection that notices by itself when its server has gone silent; made by `open_link`."""

    def __init__(self, server: Server, on_read: ReadHandler, on_refusal: RefusalHandler, *, has_others: bool) -> None:
        self.server = server
        self.info = Info()
        """What the server said of itself last."""
        self._on_read = on_read
        self._on_refusal = on_refusal
        self._has_others = has_others
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._transport: asyncio.WriteTransport | None = None
        # A heartbeat waits without a future.
        self._pongs: deque[asyncio.Future[None] | None] = deque()
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heard = False
        self._silent_pings = 0
        self._said_last = ""
        self._errors = LogLimit()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done as soon as the connection is over, for whatever reason."""

    async def greet(self, servers: Servers, name: str) -> None:
        """Introduce ourselves, encrypted where either side wants it. Raises OSError where the server refuses."""
        await asyncio.wait([self._greeted, self.lost], return_when=asyncio.FIRST_COMPLETED)
        encrypt = servers.must_encrypt or self.info.tls_required
        if encrypt and self._transport is not None and self._greeted.done():
            if not (self.info.tls_required or self.info.tls_available):
                raise ConnectionRefusedError("the server does not encrypt")
            self._transport = await self._loop.start_tls(
                self._transport, self, servers.tls.context(), server_hostname=self.server.host
            )
        await self.settle([nats_wire.connect(name, self.server.credentials, tls=encrypt)])
        self._heartbeat = self._loop.call_later(PING_INTERVAL_S, self._beat)

    def abort(self) -> None:
        """End the connection now; `lost` follows in the next turns of the loop."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, commands: Iterable[bytes]) -> None:
        """Send commands in one write. Raises ConnectionError when the connection is over, or full."""
        if self._transport is None or self._transport.is_closing():
            raise self._loss(None)
        if self._transport.get_write_buffer_size() > WRITE_BUFFER_MAX:
            raise ConnectionRefusedError(f"{WRITE_BUFFER_MAX} bytes wait for the server already")
        self._transport.write(b"".join(commands))

    async def settle(self, commands: Iterable[bytes]) -> None:
        """Send commands, and return once the server has worked them off.

        Everything that it sent us before has been handed on by then. Raises ConnectionError when the
        connection is over before, or when IN_FLIGHT_MAX callers wait already.
        """
        if len(self._pongs) >= IN_FLIGHT_MAX:
            raise ConnectionRefusedError(f"{IN_FLIGHT_MAX} requests wait for the server already")
        self.send([*commands, nats_wire.PING])
        future: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(future)
        await future

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio.Protocol)."""
        # Not asked by isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse everything this read brought and hand on its messages (asyncio.Protocol)."""
        self._heard = True
        try:
            received, controls = self._parser.feed(data)
            for control in controls:
                self._take(control)
        except (ProtocolError, msgspec.MsgspecError) as error:
            _log.error("nats sent what is no NATS", server=str(self.server), error=str(error))
            self.abort()
            return
        if received:
            self._on_read(received)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits (asyncio.Protocol)."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for future in self._pongs:
            if future is not None and not future.done():
                future.set_exception(self._loss(exc))
        self._pongs.clear()
        if not self.lost.done():
            self.lost.set_result(None)

    def _loss(self, exc: Exception | None) -> ConnectionResetError:
        kind = NotAuthorizedError if self._said_last == _UNAUTHORIZED else ConnectionResetError
        return kind(f"the connection was lost: {self._said_last or exc or 'closed'}")

    def _take(self, control: Control) -> None:
        match control.verb:
            case b"PONG":
                self._take_pong()
            case b"PING":
                self._write(nats_wire.PONG)
            case b"INFO":
                self._take_info(control.rest)
            case b"-ERR":
                self._take_error(control.rest.decode(errors="replace").strip(" '"))

    def _take_pong(self) -> None:
        if not self._pongs:
            raise ProtocolError("a PONG that nobody asked for")
        future = self._pongs.popleft()
        # Whoever was cancelled left the future done; the PONG came all the same.
        if future is not None and not future.done():
            future.set_result(None)

    def _take_info(self, text: bytes) -> None:
        self.info = _decode_info(text)
        if not self._greeted.done():
            self._greeted.set_result(None)
        elif self.info.ldm and self._has_others:
            _log.info("a nats server is about to leave", server=str(self.server))
            self.abort()

    def _take_error(self, text: str) -> None:
        self._said_last = text
        if (held_back := self._errors.admit()) is not None:
            _log.error("nats refused", server=str(self.server), error=text, held_back=held_back)
        self._on_refusal(text)

    def _write(self, command: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(command)

    def _beat(self) -> None:
        # Beats are counted, not seconds: when this process itself stood still, the server's bytes
        # wait in the socket, and its silence must not be held against it.
        self._silent_pings = 0 if self._heard else self._silent_pings + 1
        self._heard = False
        if self._silent_pings >= SILENT_PINGS_MAX:
            _log.warning("nats went silent", server=str(self.server), unanswered_pings=self._silent_pings)
            self.abort()
            return
        if len(self._pongs) < IN_FLIGHT_MAX:
            self._write(nats_wire.PING)
            self._pongs.append(None)
        self._heartbeat = self._loop.call_later(PING_INTERVAL_S, self._beat)


async def open_link(
    server: Server, servers: Servers, name: str, on_read: ReadHandler, on_refusal: RefusalHandler
) -> Link:
    """A connection on which the server takes commands. Raises OSError; bounds no time by itself."""
    loop = asyncio.get_running_loop()
    link = Link(server, on_read, on_refusal, has_others=len(servers.all) > 1)
    await loop.create_connection(lambda: link, server.host, server.port)
    try:
        await link.greet(servers, name)
    except BaseException:
        link.abort()
        raise
    return link
