"""What is refused because somebody has used up what they may: one reason each, for answers, figures and the log."""

from enum import StrEnum

from market.errors import Code, MarketError


class Reason(StrEnum):
    """Which limit a client met: the label of `tickcast_refused_total`; never renamed, only added."""

    CONNECTIONS = "connections"
    """Too many connections of one address."""
    SUBJECT_CONNECTIONS = "subject_connections"
    """Too many connections of one subject in the cluster."""
    HANDSHAKES = "handshakes"
    STREAMS = "streams"
    """Too many streams of one connection, or of one address."""
    COMMANDS = "commands"
    FLOOD = "flood"
    """A connection closed because it went on sending while it was refused."""
    REQUESTS = "requests"
    """Too many REST requests of one address."""
    UNCOUNTED = "uncounted"
    """The bus is away, and QUOTAS_WITHOUT_BUS is `closed`."""
    SLOW_REQUEST = "slow_request"
    SLOW_MESSAGE = "slow_message"
    """A WebSocket message that was begun and not finished in time."""
    MALFORMED = "malformed"
    """What is no HTTP, or has too long a head."""


class OverQuotaError(MarketError):
    """A refusal of somebody who has used up something; `retry_after_s` says when to try again, 0 that nobody knows."""

    def __init__(self, reason: Reason, code: Code, message: str, retry_after_s: int) -> None:
        super().__init__(code, message)
        self.reason = reason
        self.retry_after_s = retry_after_s
