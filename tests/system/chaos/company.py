"""Who else is there while faults happen: a crowd of plain clients, and hostile ones, each in a process of its own."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Final, Self

from tests.support.processes import ROOT

CROWD: Final = 100
_END_S: Final = 10.0


class Companion:
    """A module that runs until SIGTERM and then tells one JSON object. A context manager."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = (sys.executable, "-m", f"tests.system.chaos.{module}", *arguments)
        self._child: asyncio.subprocess.Process | None = None
        self.told: dict[str, int] = {}
        """What it told at its end."""

    async def __aenter__(self) -> Self:
        self._child = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, start_new_session=True
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is None:
            return
        if self._child.returncode is None:
            self._child.terminate()
        async with asyncio.timeout(_END_S):
            told = (await self._child.communicate())[0]
        self.told = json.loads(told or b"{}")


class Company:
    """The crowd and the hostile ones together. A context manager."""

    def __init__(self, url: str, seed: int) -> None:
        self.crowd = Companion("crowd", url, str(CROWD))
        self.hostile = Companion("hostile", url, str(seed))
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            await starting.enter_async_context(self.crowd)
            await starting.enter_async_context(self.hostile)
            self._running = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def failures(self) -> list[str]:
        """What was not as it should have been, once they have ended."""
        crowd, hostile = self.crowd.told, self.hostile.told
        found = [f"nobody among the hostile did: {kind}" for kind in DEEDS if not hostile.get(kind)]
        if crowd.get("clients") != CROWD:
            found.append(f"only {crowd.get('clients', 0)} of {CROWD} in the crowd ever connected")
        if crowd.get("failed_subscribes"):
            found.append(f"{crowd['failed_subscribes']} subscriptions of the crowd failed")
        return found


DEEDS: Final = ("non-readers", "garbage frames", "flood messages", "slow requests")
"""What the hostile ones tell of, each at least once."""
