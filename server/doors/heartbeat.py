"""The pings of all Engine.IO sessions, from one timer (Engine.IO protocol 4, "Heartbeat"), and other deadlines."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

SLOTS: Final = 25
"""Parts of the ping interval; the sessions of one part are pinged together."""

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


class Pinged(Protocol):
    """A session, as far as the heartbeat goes."""

    slot: int
    """The heartbeat's own note; -1 while the session is not pinged."""

    def ping(self) -> None:
        """Send a ping."""

    def timed_out(self) -> None:
        """No answer came in time."""


class Heartbeat:
    """Pings every session once per `interval_s`, and ends those that do not answer within `timeout_s`.

    A session costs one entry in a dictionary, and a second one while its answer is awaited.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._step_s = interval_s / SLOTS
        self._slots: list[dict[Pinged, None]] = [{} for _ in range(SLOTS)]
        self._awaited = Deadlines[Pinged](timeout_s, lambda session: session.timed_out())
        self._now = 0
        self._next_beat = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, session: Pinged) -> None:
        """Ping `session` within one interval, and then once in each."""
        session.slot = (self._now - 2) % SLOTS  # the farthest away whose turn comes before the interval is over
        self._slots[session.slot][session] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._next_beat = loop.time() + self._step_s
            self._timer = loop.call_at(self._next_beat, self._beat)

    def remove(self, session: Pinged) -> None:
        """Ping `session` no more."""
        if session.slot >= 0:
            del self._slots[session.slot][session]
            session.slot = -1
            self._awaited.stop(session)

    def answered(self, session: Pinged) -> None:
        """`session` has answered."""
        self._awaited.stop(session)

    def close(self) -> None:
        """Stop the timers."""
        self._awaited.close()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        # By the clock, so that late beats do not add up; one that is very late starts a new count.
        self._next_beat = max(self._next_beat + self._step_s, loop.time())
        self._timer = loop.call_at(self._next_beat, self._beat)
        slot, self._now = self._slots[self._now], (self._now + 1) % SLOTS
        for session in slot:
            if session not in self._awaited:
                self._awaited.start(session)
                session.ping()
