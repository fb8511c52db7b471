"""One Redis server, kept connected: a connection for commands and one for everything subscribed, lost together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from redis.asyncio import Connection
from redis.exceptions import AuthenticationError, NoPermissionError

from bus.loglimit import LogLimit
from bus.redis_link import CHANNELS, Command, CommandLink, Link, PushHandler, PushLink, Reply, Verbs, ignore_moved
from bus.redis_url import CONNECT_TIMEOUT_S
from bus.supervision import stay_connected
from bus.trouble import shown, trouble_of

REFUSALS: Final = (AuthenticationError, NoPermissionError)
"""What redis-py raises where a server refuses a user, or what it asks for."""

_log = structlog.get_logger(__name__)


class RedisNode:
    """Connects again for ever, and subscribes again to what `channels` says.

    `dial` makes a connection that is not opened yet, and is asked anew at every attempt.
    """

    def __init__(
        self,
        name: str,
        dial: Callable[[], Awaitable[Connection]],
        channels: Callable[[], Sequence[bytes]],
        on_pushes: PushHandler,
        *,
        verbs: Verbs = CHANNELS,
        on_moved: Callable[[int], None] = ignore_moved,
    ) -> None:
        self._dial = dial
        self._channels = channels
        self._on_pushes = on_pushes
        self._verbs = verbs
        self._on_moved = on_moved
        self._log = _log.bind(server=name)
        self._open_connections: list[tuple[Connection, Link]] = []
        self._pushes: PushLink | None = None
        # Set last and reset first: the node is connected exactly while it has this link.
        self._commands: CommandLink | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._connect_errors = LogLimit()
        self._refused = LogLimit()
        self.trouble = ""
        """Why the latest attempt to connect was in vain; empty while there is no trouble."""
        self.connects_total = 0
        """How often the node was connected; more than once means that it was lost."""

    @property
    def connected(self) -> bool:
        """Whether the server is reachable and all subscriptions stand."""
        return self._commands is not None

    def start(self) -> None:
        """Begin to connect."""
        self._supervisor = asyncio.create_task(stay_connected(self._connect_and_stay), name="bus")

    async def close(self) -> None:
        """End both connections. Nothing is delivered afterwards."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        # The supervisor may have been cancelled in the middle of its own tidying up.
        await self._disconnect()

    def drop(self) -> None:
        """Leave the server and connect again, to wherever `dial` leads now."""
        for _, link in self._open_connections:
            link.abort()

    async def request(self, commands: Sequence[Command]) -> Sequence[Reply]:
        """The reply to each command; one that did not come is a ConnectionError, as a value."""
        error: OSError = ConnectionResetError("not connected")
        if self._commands is not None:
            try:
                return await self._commands.request(commands)
            except OSError as lost:
                error = lost
                if (held_back := self._refused.admit()) is not None:
                    self._log.warning("the bus dropped a request", error=str(error), held_back=held_back)
        return [error] * len(commands)

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Receive these channels, too. Returns once the server knows, or at once while it is away."""
        if self._pushes is None:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._pushes.subscribe(channels)
        except (OSError, TimeoutError) as error:
            self._log.warning("subscribing waits for the next connection", streams=len(channels), error=str(error))

    async def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Receive these channels no longer."""
        if self._pushes is None:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._pushes.unsubscribe(channels)
        except (OSError, TimeoutError) as error:
            self._log.warning("unsubscribing ended with the connection", streams=len(channels), error=str(error))

    async def _connect_and_stay(self) -> float:
        """Connect and return when the connection is over: how long it stood, in s; 0.0 for a vain attempt."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                links = await self._connect()
            stands_since = loop.time()
            await asyncio.wait([link.lost for link in links], return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:  # noqa: BLE001 # whatever one attempt met, the next may do better
            self.trouble = trouble_of(error, REFUSALS)
            if (held_back := self._connect_errors.admit()) is not None:
                self._log.warning(
                    "the bus cannot connect", trouble=self.trouble, error=shown(error), held_back=held_back
                )
            return 0.0
        finally:
            await self._disconnect()
        self._log.warning("the bus lost its server")
        return loop.time() - stands_since

    async def _connect(self) -> tuple[Link, Link]:
        commands = CommandLink("commands")
        await self._open(commands)
        pushes = PushLink("pushes", self._on_pushes, self._verbs, self._on_moved)
        await self._open(pushes)
        # From here on `subscribe` speaks to the server itself; what came before is restored below.
        self._pushes = pushes
        channels = self._channels()
        await pushes.subscribe(channels)
        self._commands = commands
        self.trouble = ""
        self.connects_total += 1
        self._log.info("the bus is connected", channels=len(channels))
        return commands, pushes

    async def _open(self, link: Link) -> None:
        connection = await self._dial()
        self._open_connections.append((connection, link))
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py
        writer = connection._writer  # noqa: SLF001 # redis-py hands out its transport nowhere else; pinned by a test
        if writer is None:
            raise ConnectionResetError("the connection was lost while it was opened")
        link.attach(writer.transport)

    async def _disconnect(self) -> None:
        self._commands = self._pushes = None
        for _, link in self._open_connections:
            link.abort()
        # Emptied at the end only: `close` does this once more when it interrupts the supervisor here.
        for connection, link in self._open_connections:
            if link.attached:
                # Not awaited as such: a cancelled supervisor would cancel what others wait for.
                await asyncio.wait([link.lost])
            await connection.disconnect(nowait=True)
        self._open_connections = []
