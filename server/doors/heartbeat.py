"""The pings of all Engine.IO sessions, from one timer (Engine.IO protocol 4, "Heartbeat")."""

import asyncio
from typing import Final, Protocol

from server.deadlines import Deadlines

SLOTS: Final = 25
"""Parts of the ping interval; the sessions of one part are pinged together."""


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
