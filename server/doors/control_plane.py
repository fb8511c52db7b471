"""The Socket.IO control plane: one manager that all replicas share, so that any process can emit.

Any process with a stock write-only manager on the same Redis emits to a room, a client or everybody
on any replica. Market data does not travel over it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import redis.exceptions
import socketio
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from bus.base import retry_delay_s

PING_AFTER_S: Final = 2.0
"""How long the channel may be silent before it is asked whether it still lives."""

TIMEOUT_S: Final = 2.0
"""How long Redis may take to accept a connection or answer a publish."""

log = structlog.get_logger(__name__)


class RedisControlPlane(socketio.AsyncRedisManager):  # type: ignore[misc] # socketio ships no types
    """The stock Redis manager, which hears Redis again within RETRY_MAX_S of its return.

    The stock one waits up to 60 s between attempts, and for ever on a connection that went silent.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, redis_options={"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S})

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
