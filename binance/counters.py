"""What happens to the connections to Binance, counted under names that metrics can label."""

from collections import Counter
from enum import StrEnum

import msgspec


class Trouble(StrEnum):
    """What can go wrong between Binance and us."""

    DNS = "dns"
    """The host's name could not be resolved."""
    TLS = "tls"
    UNREACHABLE = "unreachable"
    """No TCP connection, or one that ended before the handshake did."""
    OPEN_TIMEOUT = "open_timeout"
    HTTP_403 = "http_403"
    """Refused at the handshake by the firewall."""
    HTTP_418 = "http_418"
    """Refused at the handshake: the address is banned."""
    HTTP_429 = "http_429"
    """Refused at the handshake: too many attempts or requests."""
    HTTP_OTHER = "http_other"
    ATTEMPTS_SPENT = "attempts_spent"
    """All processes of this address have made as many attempts as they may: one had to wait."""
    LOST = "lost"
    """The connection ended without a closing handshake."""
    CLOSED = "closed"
    """The server closed the connection, its own lifetime included."""
    RATE_LIMITED = "rate_limited"
    """The server closed with 1008: too many messages, or a ping unanswered."""
    HALF_OPEN = "half_open"
    """The server fell silent, pings included, and the connection did not end."""
    UNANSWERED = "unanswered"
    """Several requests in a row got no reply: the connection was given up."""
    REPLY_TIMEOUT = "reply_timeout"
    REFUSED_STREAM = "refused_stream"
    OVERSIZED = "oversized"
    """A frame past the limit, which ends the connection."""
    PROTOCOL = "protocol"
    """A frame that breaks RFC 6455, which ends the connection."""
    GARBAGE = "garbage"
    """A frame that is neither data nor a reply; passed over."""
    UNWANTED = "unwanted"
    """A frame of a stream that is not wanted, as the last ones of a stream just given up; passed over."""
    STRAY_REPLY = "stray_reply"
    """A reply to nothing that was asked, as one that came too late; passed over."""
    SILENT = "silent"
    """A stream fell silent for longer than its kind may: a new connection was opened for it."""
    STALLED = "stalled"
    """A stream stayed silent on the new connection too."""
    HELD_TOO_MANY = "held_too_many"
    """A message was let go because a handover held too many (binance/handover.py)."""
    FAULT = "fault"
    """An error of our own."""


class Leaving(StrEnum):
    """Why a connection is given up for a new one while it still lives."""

    AGE = "age"
    SHUTDOWN = "shutdown"
    SILENCE = "silence"


class Counters(msgspec.Struct):
    """Totals over all connections of one process, closed ones included."""

    attempts: int = 0
    """Attempts to connect, the vain ones included."""
    void_trades: int = 0
    opened: int = 0
    """Connections opened, the first ones and handovers included."""
    handovers: Counter[Leaving] = msgspec.field(default_factory=Counter)
    troubles: Counter[Trouble] = msgspec.field(default_factory=Counter)


class Episode:
    """Troubles from the first one until things are well again: each kind is worth one line of log."""

    def __init__(self) -> None:
        self.troubles = 0
        self._told: set[Trouble] = set()

    def note(self, trouble: Trouble) -> bool:
        """Count one trouble; true = the first of its kind, to be logged."""
        self.troubles += 1
        is_first = trouble not in self._told
        self._told.add(trouble)
        return is_first

    def end(self) -> int:
        """Things are well; returns how many troubles there were."""
        troubles, self.troubles = self.troubles, 0
        self._told.clear()
        return troubles
