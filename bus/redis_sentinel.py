"""A master that Sentinels name, followed when they name another (Redis documentation, "Sentinel client spec")."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from redis.asyncio import Connection
from redis.exceptions import RedisError

from bus.loglimit import LogLimit
from bus.redis_link import PushHandler
from bus.redis_node import RedisNode
from bus.redis_url import Address, RedisUrl, find_master
from bus.trouble import shown

CHECK_S: Final = 2.0
"""How often the Sentinels are asked whether the master is still the one, in s."""

_log = structlog.get_logger(__name__)


class SentinelNode(RedisNode):
    """One server: whichever is the master. A demoted one is left even if it keeps the connection."""

    def __init__(self, url: RedisUrl, channels: Callable[[], Sequence[bytes]], on_pushes: PushHandler) -> None:
        super().__init__(str(url), self._dial_master, channels, on_pushes)
        self._url = url
        self._master: Address | None = None
        self._checker: asyncio.Task[None] | None = None
        self._errors = LogLimit()

    def start(self) -> None:
        """Begin to ask the Sentinels, and to connect."""
        super().start()
        self._checker = asyncio.create_task(self._check(), name="redis sentinel")

    async def close(self) -> None:
        """End all connections."""
        if self._checker is not None:
            self._checker.cancel()
            await asyncio.wait([self._checker])
        await super().close()

    async def _dial_master(self) -> Connection:
        self._master = await find_master(self._url)
        return self._url.connection(self._master)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                master = await find_master(self._url)
            except (OSError, RedisError) as error:
                if (held_back := self._errors.admit()) is not None:
                    _log.warning("no Sentinel answers", error=shown(error), held_back=held_back)
                continue
            if self.connected and master != self._master:
                _log.warning("the Sentinels name another master", master=str(master), before=str(self._master))
                self.drop()
