"""The bus on Redis: Pub/Sub with a channel per stream, values under keys that expire.

On one server, on the master that Sentinels name, or on a Redis Cluster, with sharded channels.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import hiredis
import structlog
from redis.asyncio import Connection

from bus.base import VALUE_TTL_S, BusEnd, check_sizes
from bus.loglimit import LogLimit
from bus.redis_cluster import RedisCluster
from bus.redis_link import Command, Reply
from bus.redis_node import RedisNode
from bus.redis_sentinel import SentinelNode
from bus.redis_url import RedisUrl
from bus.tls import SYSTEM_TRUST, BusTls
from market.messages import Message
from market.streams import StreamName

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


class RedisBus(BusEnd):
    """One process's end of the bus on Redis; `url` as in `bus.redis_url`.

    Raises ValueError for a URL or a name (CLIENT SETNAME: no spaces) that the server would not take.
    """

    def __init__(self, url: str, name: str = "", tls: BusTls = SYSTEM_TRUST) -> None:
        super().__init__()
        if any(not "!" <= character <= "~" for character in name):
            raise ValueError(f"a bus name has no spaces and is ASCII: {name!r}")
        self._streams: dict[bytes, StreamName] = {}
        self._topic_of: dict[bytes, str] = {}
        place = RedisUrl(url, name, tls)
        self._log = _log.bind(server=str(place), bus=name)
        self._publish_verb = "SPUBLISH" if place.kind == "cluster" else "PUBLISH"
        self._servers = self._open(place)
        self._malformed = LogLimit()
        self._refused = LogLimit()

    @property
    def connected(self) -> bool:
        """Whether the server is reachable and all subscriptions stand; of a cluster, all nodes that own slots."""
        return self._servers.connected

    @property
    def trouble(self) -> str:
        """Why the latest attempt to connect was in vain; empty while there is no trouble."""
        return self._servers.trouble

    @property
    def connects_total(self) -> int:
        """How often the bus was connected; more than once means that it lost its server."""
        return self._servers.connects_total

    async def start(self) -> None:
        """Begin to connect; returns at once, also when the server is away."""
        if self._started:
            raise RuntimeError("a bus starts once")
        self._started = True
        self._topic_of = {_topic_channel(topic): topic for topic in self._topics}
        self._servers.start()

    async def close(self) -> None:
        """End all connections. Nothing is delivered afterwards."""
        if self._started:
            await self._servers.close()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send a batch in one write; what Redis does not acknowledge counts as dropped."""
        await self._publish([(self._publish_verb, _channel(message.stream), message.encode()) for message in messages])

    async def announce(self, topic: str, body: bytes) -> None:
        """Send `body` to all listeners of `topic`, this process's own included."""
        await self._publish([(self._publish_verb, _topic_channel(topic), body)])

    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on. Returns once the server knows, or at once while it is away."""
        added = {_channel(stream): stream for stream in streams}
        self._streams.update(added)
        await self._servers.subscribe(list(added))

    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""
        removed = [_channel(stream) for stream in streams]
        for channel in removed:
            self._streams.pop(channel, None)
        await self._servers.unsubscribe(removed)

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""
        check_sizes(values)
        commands = [("SET", key, value, "EX", ttl_s) for key, value in values.items()]
        self._note_refusals(await self._servers.request(commands))

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        replies = await self._servers.request([("GET", key) for key in keys])
        self._note_refusals(replies)
        return [reply if isinstance(reply, bytes) else None for reply in replies]

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        replies = await self._servers.request([("EVAL", _SPEND, 1, key, amount, limit, ttl_s)])
        if self._note_refusals(replies):
            return self._spend_alone(key, amount, limit, ttl_s)
        total = replies[0]
        return total if isinstance(total, int) else None

    async def _publish(self, commands: Sequence[Command]) -> None:
        replies = await self._servers.request(commands)
        self.dropped_total += self._note_refusals(replies)

    def _open(self, place: RedisUrl) -> RedisNode | RedisCluster:
        if place.kind == "cluster":
            return RedisCluster(place, self._channels, self._on_pushes)
        if place.kind == "sentinel":
            return SentinelNode(place, self._channels, self._on_pushes)

        async def dial() -> Connection:
            return place.connection(place.addresses[0])

        return RedisNode(str(place), dial, self._channels, self._on_pushes)

    def _channels(self) -> Sequence[bytes]:
        """Everything that this end is subscribed to."""
        return [*self._topic_of, *self._streams]

    def _note_refusals(self, replies: Sequence[Reply]) -> int:
        """How many commands came to nothing; what was lost with a connection is logged there."""
        errors = [reply for reply in replies if isinstance(reply, hiredis.HiredisError)]
        if errors and (held_back := self._refused.admit()) is not None:
            self._log.error("redis refused a command", error=str(errors[0]), commands=len(errors), held_back=held_back)
        return len(errors) + sum(isinstance(reply, OSError) for reply in replies)

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
