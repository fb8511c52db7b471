"""The Socket.IO control plane: one manager that all replicas share, so that any process can emit.

On Redis any process with a stock write-only manager emits to a room, a client or everybody on any
replica; on another bus any process that publishes the same JSON does. Market data does not travel
over it. Source of the JSON: python-socketio's pub/sub managers (docs/protocol.md, "Rooms for other
processes").
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import redis.exceptions
import socketio
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from socketio.async_pubsub_manager import AsyncPubSubManager

from bus.base import Bus, retry_delay_s
from bus.loglimit import LogLimit
from bus.redis_url import RedisUrl

PING_AFTER_S: Final = 2.0
"""How long the channel may be silent before it is asked whether it still lives."""

TIMEOUT_S: Final = 2.0
"""How long Redis may take to accept a connection or answer a publish."""

CONTROL_TOPIC: Final = "socketio"
"""The bus's topic, named like the stock managers' channel."""

WAITING_MAX: Final = 1_000
"""How many requests of other processes may wait for this replica; more are dropped and counted."""

log = structlog.get_logger(__name__)


class BusControlPlane(AsyncPubSubManager):  # type: ignore[misc] # socketio ships no types
    """The stock manager with the bus as its backend; made before the bus is started.

    Like everything on the bus a request is delivered at most once: while the server is away, those of
    this replica reach its own clients only.
    """

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        self._faults = LogLimit()
        self.dropped_total = 0
        self.malformed_total = 0
        bus.listen(CONTROL_TOPIC, self._hear)

    async def _publish(self, data: dict[str, Any]) -> None:
        await self._bus.announce(CONTROL_TOPIC, msgspec.json.encode(data))

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            body = await self._waiting.get()
            try:
                request = msgspec.json.decode(body, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                self.malformed_total += 1
                if (held_back := self._faults.admit()) is not None:
                    log.warning("no control message", body=body[:80], error=str(error), held_back=held_back)
            else:
                yield request

    def _hear(self, body: bytes) -> None:
        try:
            self._waiting.put_nowait(body)
        except asyncio.QueueFull:
            self.dropped_total += 1
            if (held_back := self._faults.admit()) is not None:
                log.warning("control messages dropped", waiting=WAITING_MAX, held_back=held_back)


class RedisControlPlane(socketio.AsyncRedisManager):  # type: ignore[misc] # socketio ships no types
    """The stock Redis manager, which hears Redis again within RETRY_MAX_S of its return.

    The stock one waits up to 60 s between attempts, and for ever on a connection that went silent.
    Of a cluster it uses one node after the other: whichever it is, requests reach all.
    """

    def __init__(self, url: str) -> None:
        self._urls = itertools.cycle(RedisUrl(url).stock_urls())
        super().__init__(
            next(self._urls), redis_options={"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        )

    async def _redis_listen_with_retries(self) -> AsyncIterator[dict[str, Any]]:
        failures = 0
        while True:
            self._redis_connect()
            # A publish that fails replaces both attributes: hold on to what this round listens to.
            client, pubsub = self.redis, self.pubsub
            try:
                await pubsub.subscribe(self.channel)
                failures = 0
                async for message in _messages(pubsub):
                    yield message
            except Exception as error:  # noqa: BLE001 # whatever it was, staying deaf would be worse
                log.warning("control plane lost", error=repr(error))
            finally:
                await _disconnect(pubsub, client)
            failures += 1
            self.redis_url = next(self._urls)
            await asyncio.sleep(retry_delay_s(failures))


async def _messages(pubsub: PubSub) -> AsyncIterator[dict[str, Any]]:
    """Published messages, with a ping whenever nothing comes. Raises ConnectionError without an answer."""
    awaits_pong = False
    while True:
        message = await pubsub.get_message(timeout=PING_AFTER_S)
        if message is not None:
            awaits_pong = False
            if message["type"] == "message":
                yield message
        elif awaits_pong:
            raise redis.exceptions.ConnectionError("no answer to a ping")
        else:
            await pubsub.ping()
            awaits_pong = True


async def _disconnect(pubsub: PubSub, client: Redis) -> None:
    with contextlib.suppress(redis.exceptions.RedisError, OSError):  # it is gone either way
        await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py
        await client.aclose()
