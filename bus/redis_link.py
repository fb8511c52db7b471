"""One connection to Redis as callbacks: replies to whoever waits for them, pushes a read at a time.

redis-py opens, encrypts and authenticates the connection and then hands over its transport: its
own readers cost a coroutine per message (docs/decisions/0002-bus.md has the figures). Bytes are
packed and parsed by hiredis. Wire format: Redis documentation, "Redis serialization protocol
specification" and "Redis Pub/Sub".
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import hiredis
import structlog
from redis.crc import key_slot

from bus.loglimit import LogLimit

PING_INTERVAL_S: Final = 1.0
"""How often the server is asked for a sign of life, in s."""
SILENT_PINGS_MAX: Final = 3
"""After how many unanswered pings a connection counts as lost."""
IN_FLIGHT_MAX: Final = 16_384
"""How many requests may wait for their replies on one connection."""

Command: TypeAlias = tuple[str | bytes | int, ...]
Reply: TypeAlias = object
"""What hiredis makes of a reply: bytes, int, None, a list of them, or a HiredisError as a value."""
PushHandler: TypeAlias = Callable[[list[list[bytes]]], None]
"""Takes the pushes of one read, each `[b"message", channel, data]`."""


class Verbs(NamedTuple):
    """What Redis calls subscribing in one of its two kinds of Pub/Sub."""

    subscribe: str
    unsubscribe: str
    message: bytes
    unsubscribed: bytes
    per_command: int
    """How many channels one command names: the server works off a command in one go."""


CHANNELS: Final = Verbs("SUBSCRIBE", "UNSUBSCRIBE", b"message", b"unsubscribe", 500)
SHARDED: Final = Verbs("SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", b"sunsubscribe", 1)
"""Of a cluster: the channels of one command would have to be in one slot."""

_log = structlog.get_logger(__name__)
# hiredis answers None and False for replies of these values, so "nothing yet" needs its own.
_NOT_YET: Final = object()


def ignore_moved(_slot: int) -> None:
    """Stand in where there is one server: it owns every slot."""


_pack: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment] # its stub allows one part


class _Waiter:
    """Somebody who waits for the next `wanted` replies; a heartbeat waits for them without a future."""

    __slots__ = ("future", "replies", "wanted")

    def __init__(self, wanted: int, future: asyncio.Future[list[Reply]] | None) -> None:
        self.wanted = wanted
        self.replies: list[Reply] = []
        self.future = future


class Link(asyncio.Protocol):
    """One connection that notices by itself when its server has gone silent."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._waiters: deque[_Waiter] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heard = False
        self._silent_pings = 0
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done as soon as the connection is over, for whatever reason."""

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Take over a connection on which nothing is under way. Raises ConnectionError if it is over already."""
        if transport.is_closing():
            raise ConnectionResetError("the connection was lost while it was opened")
        self._transport = transport
        transport.set_protocol(self)
        self._heartbeat = self._loop.call_later(PING_INTERVAL_S, self._beat)

    @property
    def attached(self) -> bool:
        """Whether there was ever a connection to lose."""
        return self._transport is not None

    def abort(self) -> None:
        """End the connection now; `lost` follows in the next turns of the loop."""
        if self._transport is not None:
            self._transport.abort()

    async def request(self, commands: Sequence[Command]) -> list[Reply]:
        """Send `commands` in one write and return their replies, in order.

        Errors that the server answers are values in the list. Raises ConnectionError when the
        connection is over before the last reply, or when IN_FLIGHT_MAX requests wait already.
        """
        if not commands:
            return []
        return await self._ask(commands, len(commands))

    async def _ask(self, commands: Iterable[Command], wanted: int) -> list[Reply]:
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        self._send(commands, _Waiter(wanted, future))
        return await future

    def _send(self, commands: Iterable[Command], waiter: _Waiter) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is over")
        if len(self._waiters) >= IN_FLIGHT_MAX:
            raise ConnectionRefusedError(f"{IN_FLIGHT_MAX} requests wait for their replies already")
        self._transport.write(b"".join(map(_pack, commands)))
        self._waiters.append(waiter)

    @abstractmethod
    def _take(self, reply: Reply) -> None:
        """Handle one reply."""

    def data_received(self, data: bytes) -> None:
        """Parse everything this read brought (asyncio.Protocol)."""
        self._heard = True
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOT_YET:
                self._take(reply)
        except hiredis.ProtocolError as error:
            _log.error("redis sent what is no RESP", connection=self._name, error=str(error))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits (asyncio.Protocol)."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for waiter in self._waiters:
            if waiter.future is not None and not waiter.future.done():
                waiter.future.set_exception(ConnectionResetError(f"the connection was lost: {exc or 'closed'}"))
        self._waiters.clear()
        if not self.lost.done():
            self.lost.set_result(None)

    def _answer(self, reply: Reply) -> None:
        waiter = self._waiters[0]
        waiter.replies.append(reply)
        if len(waiter.replies) < waiter.wanted:
            return
        self._waiters.popleft()
        # A waiter that was cancelled left its future done; its replies came all the same.
        if waiter.future is not None and not waiter.future.done():
            waiter.future.set_result(waiter.replies)

    def _beat(self) -> None:
        # Beats are counted, not seconds: when this process itself stood still, the server's bytes
        # wait in the socket, and its silence must not be held against it.
        self._silent_pings = 0 if self._heard else self._silent_pings + 1
        self._heard = False
        if self._silent_pings >= SILENT_PINGS_MAX:
            _log.warning("redis went silent", connection=self._name, unanswered_pings=self._silent_pings)
            self.abort()
            return
        if self._transport is not None and not self._transport.is_closing() and len(self._waiters) < IN_FLIGHT_MAX:
            self._send([("PING",)], _Waiter(1, None))
        self._heartbeat = self._loop.call_later(PING_INTERVAL_S, self._beat)


class CommandLink(Link):
    """A connection for commands: the n-th reply belongs to the n-th command."""

    def _take(self, reply: Reply) -> None:
        if self._waiters:
            self._answer(reply)
        else:
            _log.error("redis answered what nobody asked", connection=self._name, reply=repr(reply)[:200])
            self.abort()


class PushLink(Link):
    """A connection for subscriptions; the handler gets the pushes of one read in one call.

    `on_moved` is told the slots that are no longer the server's own: it ends their channels, or refuses them.
    """

    def __init__(
        self,
        name: str,
        on_pushes: PushHandler,
        verbs: Verbs = CHANNELS,
        on_moved: Callable[[int], None] = ignore_moved,
    ) -> None:
        super().__init__(name)
        self._on_pushes = on_pushes
        self._verbs = verbs
        self._on_moved = on_moved
        self._pushes: list[list[bytes]] = []
        self._refusals = LogLimit()
        self._leaving: set[bytes] = set()

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Subscribe, and return once the server has worked it off. Raises ConnectionError like `request`."""
        # The server answers in order: the answer to this ping is the proof of what stands before it.
        await self._ask([*self._commands(self._verbs.subscribe, channels), ("PING",)], 1)

    async def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Unsubscribe, and return once the server has worked it off. Raises ConnectionError like `request`."""
        self._leaving.update(channels)
        await self._ask([*self._commands(self._verbs.unsubscribe, channels), ("PING",)], 1)

    def data_received(self, data: bytes) -> None:
        """Parse everything this read brought and hand on its pushes (asyncio.Protocol)."""
        super().data_received(data)
        if self._pushes:
            pushes, self._pushes = self._pushes, []
            self._on_pushes(pushes)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, list):
            kind = reply[0]
            if kind == self._verbs.message:
                self._pushes.append(reply)
            elif kind == b"pong" and self._waiters:
                self._answer(reply)
            elif kind == self._verbs.unsubscribed:
                self._note_unsubscribed(reply[1])
        elif isinstance(reply, hiredis.HiredisError):
            if str(reply).startswith("MOVED "):
                self._on_moved(int(str(reply).split()[1]))
            elif (held_back := self._refusals.admit()) is not None:
                _log.error("redis refused a subscription", error=str(reply), held_back=held_back)
        elif self._waiters:
            # Without a subscription the answer to a ping is a plain string.
            self._answer(reply)

    def _note_unsubscribed(self, channel: bytes) -> None:
        if channel in self._leaving:
            self._leaving.discard(channel)
        else:
            self._on_moved(key_slot(channel))

    def _commands(self, verb: str, channels: Iterable[bytes]) -> Iterable[Command]:
        rest = iter(channels)
        while chunk := tuple(islice(rest, self._verbs.per_command)):
            yield (verb, *chunk)
