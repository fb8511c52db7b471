"""The bus on a Redis server: Pub/Sub with a channel per stream, values under keys that expire.

Two connections, opened and lost together: one for commands, one for everything subscribed.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import hiredis
import structlog
from redis.asyncio import Connection, ConnectionPool

from bus.base import RETRY_MAX_S, VALUE_TTL_S, Bus, check_sizes, retry_delay_s
from bus.loglimit import LogLimit
from bus.redis_link import Command, CommandLink, Link, PushLink, Reply
from market.messages import Message
from market.streams import StreamName

CONNECT_TIMEOUT_S: Final = 2.0
"""How long an attempt to connect, or to learn that a subscription stands, may take, in s."""

# A total that grows at once or not at all; its time begins with its first amount.
_SPEND: Final = """
local total = tonumber(redis.call('GET', KEYS[1]) or '0') + tonumber(ARGV[1])
if total > tonumber(ARGV[2]) then return nil end
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return total
"""

_log = structlog.get_logger(__name__)


@lru_cache(maxsize=65_536)
def _channel(stream: StreamName) -> bytes:
    return stream.channel.encode()


def _topic_channel(topic: str) -> bytes:
    return f"ctl:{topic}".encode()


class RedisBus(Bus):
    """One process's end of the bus on one Redis server.

    `url` is redis-py's: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS. Raises
    ValueError for a URL or a name (CLIENT SETNAME: no spaces) that the server would not take.
    """

    def __init__(self, url: str, name: str = "") -> None:
        super().__init__()
        if any(not "!" <= character <= "~" for character in name):
            raise ValueError(f"a bus name has no spaces and is ASCII: {name!r}")
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            client_name=name or None,
            socket_timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
        )
        parts = urlsplit(url)
        self._log = _log.bind(server=f"{parts.hostname}:{parts.port or 6379}", bus=name)
        self._streams: dict[bytes, StreamName] = {}
        self._topic_of: dict[bytes, str] = {}
        self._open_connections: list[tuple[Connection, Link]] = []
        self._pushes: PushLink | None = None
        # Set last and reset first: the bus is connected exactly while it has this link.
        self._commands: CommandLink | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._connect_errors = LogLimit()
        self._malformed = LogLimit()
        self._refused = LogLimit()
        self.connects_total = 0
        """How often the bus was connected; more than once means that it lost its server."""

    @property
    def connected(self) -> bool:
        """Whether the server is reachable and all subscriptions stand."""
        return self._commands is not None

    async def start(self) -> None:
        """Begin to connect; returns at once, also when the server is away."""
        if self._started:
            raise RuntimeError("a bus starts once")
        self._started = True
        self._topic_of = {_topic_channel(topic): topic for topic in self._topics}
        self._supervisor = asyncio.create_task(self._stay_connected(), name="bus")

    async def close(self) -> None:
        """End both connections. Nothing is delivered afterwards."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        # The supervisor may have been cancelled in the middle of its own tidying up.
        await self._disconnect()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send a batch in one write; what Redis does not acknowledge counts as dropped."""
        await self._publish([("PUBLISH", _channel(message.stream), message.encode()) for message in messages])

    async def announce(self, topic: str, body: bytes) -> None:
        """Send `body` to all listeners of `topic`, this process's own included."""
        await self._publish([("PUBLISH", _topic_channel(topic), body)])

    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on. Returns once the server knows, or at once while it is away."""
        added = {_channel(stream): stream for stream in streams}
        self._streams.update(added)
        if self._pushes is None or not added:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._pushes.subscribe(list(added))
        except (OSError, TimeoutError) as error:
            self._log.warning("subscribing waits for the next connection", streams=len(added), error=str(error))

    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""
        removed = [_channel(stream) for stream in streams]
        for channel in removed:
            self._streams.pop(channel, None)
        if self._pushes is None or not removed:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._pushes.unsubscribe(removed)
        except (OSError, TimeoutError) as error:
            self._log.warning("unsubscribing ended with the connection", streams=len(removed), error=str(error))

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""
        check_sizes(values)
        commands = [("SET", key, value, "EX", ttl_s) for key, value in values.items()]
        self._note_refusals(await self._request(commands))

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        replies = await self._request([("MGET", *keys)]) if keys else []
        self._note_refusals(replies)
        if replies and isinstance(replies[0], list):
            return replies[0]
        return [None] * len(keys)

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        replies = await self._request([("EVAL", _SPEND, 1, key, amount, limit, ttl_s)])
        if not replies or self._note_refusals(replies):
            return self._spend_alone(key, amount, limit, ttl_s)
        total = replies[0]
        return total if isinstance(total, int) else None

    async def _publish(self, commands: Sequence[Command]) -> None:
        replies = await self._request(commands)
        self.dropped_total += len(commands) - len(replies) + self._note_refusals(replies)

    async def _request(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to `commands`; none at all when the server is away or went away."""
        if self._commands is None:
            return []
        try:
            return await self._commands.request(commands)
        except OSError as error:
            if (held_back := self._refused.admit()) is not None:
                self._log.warning("the bus dropped a request", error=str(error), held_back=held_back)
            return []

    def _note_refusals(self, replies: Sequence[Reply]) -> int:
        errors = [reply for reply in replies if isinstance(reply, hiredis.HiredisError)]
        if errors and (held_back := self._refused.admit()) is not None:
            self._log.error("redis refused a command", error=str(errors[0]), commands=len(errors), held_back=held_back)
        return len(errors)

    def _on_pushes(self, pushes: list[list[bytes]]) -> None:
        messages: list[Message] = []
        streams, decode = self._streams, Message.decode
        for _, channel, data in pushes:
            # Neither stream nor topic: unsubscribed while the message was on its way.
            if (stream := streams.get(channel)) is not None:
                try:
                    messages.append(decode(stream, data))
                except ValueError as error:
                    self._note_malformed(channel, data, error)
            elif (topic := self._topic_of.get(channel)) is not None:
                self._deliver_announcement(topic, data)
        if messages:
            self._deliver(messages)

    def _note_malformed(self, channel: bytes, data: bytes, error: ValueError) -> None:
        self.malformed_total += 1
        if (held_back := self._malformed.admit()) is not None:
            self._log.error(
                "no message in what the bus brought",
                channel=channel,
                data=data[:80],
                error=str(error),
                held_back=held_back,
            )

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            stood_s = await self._connect_and_stay()
            # A server that takes connections and soon drops them is no better than none.
            failures = 0 if stood_s > RETRY_MAX_S else failures + 1
            # What a vain attempt took counts as waiting: attempts are RETRY_MAX_S apart at most.
            spent_s = 0.0 if stood_s else loop.time() - began
            await asyncio.sleep(max(0.0, retry_delay_s(failures) - spent_s))

    async def _connect_and_stay(self) -> float:
        """Connect and return when the connection is over: how long it stood, in s; 0.0 for a vain attempt."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                links = await self._connect()
            stands_since = loop.time()
            await asyncio.wait([link.lost for link in links], return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:  # noqa: BLE001 # whatever one attempt met, the next may do better
            if (held_back := self._connect_errors.admit()) is not None:
                self._log.warning("the bus cannot connect", error=repr(error), held_back=held_back)
            return 0.0
        finally:
            await self._disconnect()
        self._log.warning("the bus lost its server", streams=len(self._streams))
        return loop.time() - stands_since

    async def _connect(self) -> tuple[Link, Link]:
        commands = CommandLink("commands")
        await self._open(commands)
        pushes = PushLink("pushes", self._on_pushes)
        await self._open(pushes)
        # From here on `subscribe` speaks to the server itself; what came before is restored below.
        self._pushes = pushes
        await pushes.subscribe([*self._topic_of, *self._streams])
        self._commands = commands
        self.connects_total += 1
        self._log.info("the bus is connected", streams=len(self._streams), topics=len(self._topic_of))
        return commands, pushes

    async def _open(self, link: Link) -> None:
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py
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
