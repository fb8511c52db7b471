"""Socket.IO packets that clients began and whose attachments are still to come, within bounds of size and time."""

from typing import Final

from server.connections import CloseReason
from server.deadlines import Deadlines
from server.delivery import Delivery
from server.doors.packets import Packet, Partial
from server.doors.session import EngineSocket

_LATE: Final = CloseReason.SLOW_SENDER


class Incomplete:
    """One packet a session at most. The attachments of one have `most_bytes` together, and come within `after_s`.

    Otherwise whoever never finished them would keep so much of our memory for as long as it liked.
    """

    def __init__(self, delivery: Delivery, *, after_s: float, most_bytes: int) -> None:
        self._delivery = delivery
        self._most_bytes = most_bytes
        self._partials: dict[EngineSocket, Partial] = {}
        self._due = Deadlines[EngineSocket](after_s, self._end)

    def __len__(self) -> int:
        return len(self._partials)

    def __contains__(self, session: EngineSocket) -> bool:
        return session in self._partials

    def begin(self, session: EngineSocket, packet: Packet) -> None:
        """Wait for the attachments of `packet`."""
        self._partials[session] = Partial(packet)
        self._due.start(session)

    def add(self, session: EngineSocket, data: str | bytes) -> Packet | None:
        """Take what came next; with the last attachment the whole packet.

        Raises ValueError for what is no attachment, too much, or not what the packet speaks of.
        """
        if isinstance(data, str):
            raise ValueError("attachment missing")  # noqa: TRY004 # a packet that is none, like all others
        partial = self._partials[session]
        packet = partial.add(data)
        if partial.size > self._most_bytes:
            raise ValueError("attachments too long")
        if packet is not None:
            self.forget(session)
        return packet

    def forget(self, session: EngineSocket) -> None:
        """Wait for nothing more of a session."""
        self._partials.pop(session, None)
        self._due.stop(session)

    def close(self) -> None:
        """Wait for nothing more."""
        self._due.close()

    def _end(self, session: EngineSocket) -> None:
        self._delivery.slow_senders_total += 1
        session.end(_LATE.text, told=_LATE)
