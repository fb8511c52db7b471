"""The pings of all Engine.IO sessions, from one timer (Engine.IO protocol 4, "Heartbeat")."""

import asyncio
from typing import Final, Protocol

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
        self._timeout_s = timeout_s
        self._slots: list[dict[Pinged, None]] = [{} for _ in range(SLOTS)]
        self._awaited: dict[Pinged, float] = {}
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
            self._awaited.pop(session, None)

    def answered(self, session: Pinged) -> None:
        """`session` has answered."""
        self._awaited.pop(session, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._step_s, self._beat)
        now = loop.time()
        slot, self._now = self._slots[self._now], (self._now + 1) % SLOTS
        for session in slot:
            if session not in self._awaited:
                self._awaited[session] = now + self._timeout_s
                session.ping()
        while self._awaited:
            session, deadline = next(iter(self._awaited.items()))
            if deadline > now:
                return
            del self._awaited[session]
            session.timed_out()
