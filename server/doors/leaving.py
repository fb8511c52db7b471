"""How Socket.IO clients leave a replica that drains: told once they can hear it, closed when they can be reached."""

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from server.doors.session import EngineSocket
from server.drain import Leaver, Notice

if TYPE_CHECKING:
    from server.doors.socketio_connection import SocketIOConnection

LOOK_AGAIN_S: Final = 0.05
LOOKS: Final = 40
"""How often a session that is between two polls, or is just upgrading, is looked at again before it is closed."""


class Farewells:
    """Which sessions were told to leave, and when they will be closed. Empty unless the replica drains."""

    def __init__(self, connection_of: Callable[[EngineSocket], "SocketIOConnection | None"]) -> None:
        """Ask `connection_of` for the client of a session; None before it has connected to the namespace."""
        self._connection_of = connection_of
        self._closing_at: dict[str, tuple[float, str]] = {}

    def leavers(self, sessions: list[EngineSocket]) -> list[Leaver]:
        """Each session as a client that has to leave."""
        return [SessionLeaver(session, self) for session in sessions]

    def tell(self, session: EngineSocket, notice: Notice) -> None:
        """Send `draining`, or keep it for a client that has not connected yet."""
        loop = asyncio.get_running_loop()
        self._closing_at[session.sid] = loop.time() + notice.delay_ms / 1000, notice.replica
        connection = self._connection_of(session)
        if connection is not None:
            connection.emit("draining", notice.body)

    def greet(self, connection: "SocketIOConnection") -> None:
        """Tell a client that connected to its namespace while the replica drains."""
        told = self._closing_at.get(connection.session.sid)
        if told is not None:
            at, replica = told
            delay_s = max(0.0, at - asyncio.get_running_loop().time())
            connection.emit("draining", Notice(round(delay_s * 1000), replica).body)


class SessionLeaver:
    """One Engine.IO session that has to leave, whether or not it has connected to a namespace."""

    notice_s: Final = math.inf

    def __init__(self, session: EngineSocket, farewells: Farewells) -> None:
        self._session = session
        self._farewells = farewells
        self._looks = 0

    def warn(self, notice: Notice) -> None:
        """Send `draining {delayMs, replica}`."""
        if not self._session.closing:
            self._farewells.tell(self._session, notice)

    def dismiss(self) -> None:
        """Close the session, if possible at a moment when what it is still owed reaches it."""
        session = self._session
        if session.closing:
            return
        if session.is_reachable or self._looks == LOOKS:
            session.server.spawn(session.shut_down())
        else:
            self._looks += 1
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self.dismiss)
