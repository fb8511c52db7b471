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

from bus.base import RETRY_FIRST_S, RETRY_MAX_S

PING_AFTER_S: Final = 2.0
"""How long the channel may be silent before it is asked whether it still lives."""

log = structlog.get_logger(__name__)


def open_control_plane(bus_url: str) -> socketio.AsyncManager:
    """The manager that goes with a bus: Redis for a Redis bus, else this process alone."""
    if bus_url.startswith(("redis://", "rediss://")):
        return RedisControlPlane(bus_url)
    return socketio.AsyncManager()


class RedisControlPlane(socketio.AsyncRedisManager):  # type: ignore[misc] # socketio ships no types
    """The stock Redis manager, which hears Redis again within RETRY_MAX_S of its return.

    The stock one waits up to 60 s between attempts, and for ever on a connection that went silent.
    """

    async def _redis_listen_with_retries(self) -> AsyncIterator[dict[str, Any]]:
        delay = RETRY_FIRST_S
        while True:
            try:
                self._redis_connect()
                await self.pubsub.subscribe(self.channel)
                delay = RETRY_FIRST_S
                async for message in self._messages():
                    yield message
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("control plane lost", error=str(error), retry_s=delay)
            finally:
                await self._disconnect()
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        """Published messages, with a ping whenever nothing comes. Raises ConnectionError without an answer."""
        awaits_pong = False
        while True:
            message = await self.pubsub.get_message(timeout=PING_AFTER_S)
            if message is not None:
                awaits_pong = False
                if message["type"] == "message":
                    yield message
            elif awaits_pong:
                raise redis.exceptions.ConnectionError("no answer to a ping")
            else:
                await self.pubsub.ping()
                awaits_pong = True

    async def _disconnect(self) -> None:
        with contextlib.suppress(redis.exceptions.RedisError, OSError):  # it is gone either way
            await self.pubsub.aclose()
            await self.redis.aclose()
