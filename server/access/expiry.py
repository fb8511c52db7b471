"""Ends what is granted for a time: one timer for all connections, in steps of a second."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

STEP_S: Final = 1.0
HORIZON_S: Final = 3600
"""What ends later is looked at again after so long, in s: there are no more slots than that."""

T = TypeVar("T")


class Expiries(Generic[T]):
    """Calls `expired` for everything whose time has come, at most a second late.

    One entry each in the slot of its second. It goes by the wall clock, as tokens do.
    """

    def __init__(self, expired: Callable[[T], None]) -> None:
        self._expired = expired
        self._slots: dict[int, dict[T, float]] = {}
        self._slot_of: dict[T, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, thing: T, at: float) -> None:
        """End `thing` at `at` (Unix time in s); an earlier wish for it is forgotten."""
        self.remove(thing)
        slot = math.ceil(min(at, time.time() + HORIZON_S))
        self._slots.setdefault(slot, {})[thing] = at
        self._slot_of[thing] = slot
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STEP_S, self._step)

    def remove(self, thing: T) -> None:
        """Do not end `thing`; nothing happens where nobody wanted to."""
        slot = self._slot_of.pop(thing, None)
        if slot is not None:
            things = self._slots[slot]
            del things[thing]
            if not things:
                del self._slots[slot]

    def close(self) -> None:
        """End nothing more."""
        self._slots.clear()
        self._slot_of.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _step(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STEP_S, self._step)
        now = time.time()
        due = {thing: at for slot, things in self._slots.items() if slot <= now for thing, at in things.items()}
        for thing, at in due.items():
            self.remove(thing)
            if at > now:
                self.add(thing, at)
            else:
                self._expired(thing)
        if not self._slots:
            self._timer.cancel()
            self._timer = None
