"""The Socket.IO control plane: one manager that all replicas share, so that any process can emit.

On Redis any process with a stock write-only manager emits to a room, a client or everybody on any
replica; on another bus any process that publishes the same JSON does. With a key only signed requests
are obeyed (control_signing.py, docs/bus-security.md). Market data does not travel over it. Source of the
JSON: python-socketio's pub/sub managers (docs/protocol.md, "Rooms for other processes").
"""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, NamedTuple

import redis.exceptions
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from socketio.async_pubsub_manager import AsyncPubSubManager

from bus.base import Bus, retry_delay_s
from bus.loglimit import LogLimit
from bus.redis_url import RedisUrl
from bus.tls import BusTls
from bus.trouble import shown
from server.doors.control_signing import ControlSigning, Flaw, RefusedRequestError

PING_AFTER_S: Final = 2.0
"""How long the channel may be silent before it is asked whether it still lives."""

CONTROL_TOPIC: Final = "socketio"
"""The bus's topic, and on Redis the channel of the stock managers."""

WAITING_MAX: Final = 1_000
"""How many requests of other processes may wait for this replica; more are dropped and counted."""

log = structlog.get_logger(__name__)


class ControlSpec(NamedTuple):
    """Which control plane a replica joins: that of the bus at `bus_url`, with requests signed as `signing` says."""

    bus_url: str
    tls: BusTls
    signing: ControlSigning


class ControlPlane(AsyncPubSubManager):  # type: ignore[misc] # socketio ships no types
    """The stock manager between signed requests; what carries their bytes is a subclass's matter.

    Like everything on the bus a request is delivered at most once: while the server is away, those of
    this replica reach its own clients only, and are counted (`dropped_total`).
    """

    def __init__(self, signing: ControlSigning) -> None:
        super().__init__()
        self._signing = signing
        self._faults = LogLimit()
        self._refusals = {flaw: LogLimit() for flaw in Flaw}
        self.dropped_total = 0
        self.refused = signing.refused

    @abstractmethod
    async def _send(self, body: bytes) -> None:
        """Publish one body, or count it as dropped."""

    @abstractmethod
    def _bodies(self) -> AsyncGenerator[bytes, None]:
        """Every body that is published, for ever."""

    async def _publish(self, data: dict[str, Any]) -> None:
        try:
            body = self._signing.seal(data)
        except RefusedRequestError as error:
            self._note_refusal(error)
        else:
            await self._send(body)

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(self._bodies()) as bodies:
            async for body in bodies:
                try:
                    request = self._signing.unseal(body)
                except RefusedRequestError as error:
                    self._note_refusal(error)
                else:
                    yield request

    def _drop(self, why: str) -> None:
        self.dropped_total += 1
        if (held_back := self._faults.admit()) is not None:
            log.warning("control request dropped", why=why, held_back=held_back)

    def _note_refusal(self, error: RefusedRequestError) -> None:
        # Neither body nor signature: whoever reads the log need not be able to repeat the request.
        if (held_back := self._refusals[error.flaw].admit()) is not None:
            log.warning("control request refused", reason=error.flaw.value, why=str(error), held_back=held_back)


class BusControlPlane(ControlPlane):
    """The control plane with the bus as its backend; made before the bus is started."""

    def __init__(self, bus: Bus, signing: ControlSigning) -> None:
        super().__init__(signing)
        self._bus = bus
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        bus.listen(CONTROL_TOPIC, self._hear)

    async def _send(self, body: bytes) -> None:
        await self._bus.announce(CONTROL_TOPIC, body)

    async def _bodies(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield await self._waiting.get()

    def _hear(self, body: bytes) -> None:
        try:
            self._waiting.put_nowait(body)
        except asyncio.QueueFull:
            self._drop(f"{WAITING_MAX} wait already")


class RedisControlPlane(ControlPlane):
    """The control plane on classic Pub/Sub, which hears Redis again within RETRY_MAX_S of its return.

    The stock Redis manager waits up to 60 s between attempts, and for ever on a connection that went
    silent. Of a cluster this one uses one node after the other: whichever it is, requests reach all.
    """

    def __init__(self, url: str, tls: BusTls, signing: ControlSigning) -> None:
        super().__init__(signing)
        self._place = RedisUrl(url, tls=tls)
        self._redis: Redis | None = None
        self._losses = LogLimit()

    async def _send(self, body: bytes) -> None:
        if self._redis is None:
            self._drop("Redis is away")
            return
        try:
            await self._redis.publish(CONTROL_TOPIC, body)
        except (redis.exceptions.RedisError, OSError) as error:
            self._drop(shown(error))

    async def _bodies(self) -> AsyncGenerator[bytes, None]:
        failures = attempts = 0
        while True:
            pubsub: PubSub | None = None
            try:
                self._redis = await self._place.client(attempts)
                pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
                await pubsub.subscribe(CONTROL_TOPIC)
                failures = 0
                async for body in _bodies_of(pubsub):
                    yield body
            except Exception as error:  # noqa: BLE001 # whatever it was, staying deaf would be worse
                if (held_back := self._losses.admit()) is not None:
                    log.warning("control plane lost", error=shown(error), held_back=held_back)
            finally:
                client, self._redis = self._redis, None
                await _disconnect(pubsub, client)
            failures += 1
            attempts += 1
            await asyncio.sleep(retry_delay_s(failures))


async def _bodies_of(pubsub: PubSub) -> AsyncIterator[bytes]:
    """What is published, with a ping whenever nothing comes. Raises ConnectionError without an answer."""
    awaits_pong = False
    while True:
        message = await pubsub.get_message(timeout=PING_AFTER_S)
        if message is not None:
            awaits_pong = False
            if message["type"] == "message":
                yield message["data"]
        elif awaits_pong:
            raise redis.exceptions.ConnectionError("no answer to a ping")
        else:
            await pubsub.ping()
            awaits_pong = True


async def _disconnect(pubsub: PubSub | None, client: Redis | None) -> None:
    with contextlib.suppress(redis.exceptions.RedisError, OSError):  # it is gone either way
        if pubsub is not None:
            await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py
        if client is not None:
            await client.aclose()
