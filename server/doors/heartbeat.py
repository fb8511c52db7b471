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
        self._timer: asyncio.TimerHandle | None = None

    def add(self, session: Pinged) -> None:
        """Ping `session` from one interval on."""
        session.slot = (self._now - 1) % SLOTS  # the one whose turn is the farthest away
        self._slots[session.slot][session] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._step_s, self._beat)

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
        self._timer = asyncio.get_running_loop().call_later(self._step_s, self._beat)
        slot, self._now = self._slots[self._now], (self._now + 1) % SLOTS
        for session in slot:
            if session not in self._awaited:
                self._awaited.start(session)
                session.ping()
