"""Deadlines of many things, watched by one timer."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls `late` for everything that was started and not stopped within `after_s`.

    One entry each in a dictionary, which is in the order of the deadlines, and one timer for all.
    """

    def __init__(self, after_s: float, late: Callable[[T], None]) -> None:
        self._after_s = after_s
        self._late = late
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, thing: T) -> bool:
        return thing in self._due

    def start(self, thing: T) -> None:
        """Expect `stop` within `after_s`."""
        loop = asyncio.get_running_loop()
        due = self._due[thing] = loop.time() + self._after_s
        if self._timer is None:
            self._timer = loop.call_at(due, self._check)

    def stop(self, thing: T) -> None:
        """`thing` was in time, or does not matter any more."""
        self._due.pop(thing, None)

    def close(self) -> None:
        """Expect nothing more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._due:
            thing, due = next(iter(self._due.items()))
            if due > loop.time():
                self._timer = loop.call_at(due, self._check)
                return
            del self._due[thing]
            self._late(thing)
