"""Every refusal a client can meet: one stable code each, one place for the wording."""

from enum import StrEnum


class Code(StrEnum):
    """Stable, documented error codes (docs/reasons.md); never renamed, only added."""

    BAD_REQUEST = "bad_request"
    INVALID_STREAM = "invalid_stream"
    INVALID_SYMBOL = "invalid_symbol"
    UNKNOWN_SYMBOL = "unknown_symbol"
    NOT_TRADING = "not_trading"
    NOT_SUBSCRIBED = "not_subscribed"
    TOO_MANY_STREAMS = "too_many_streams"
    TOO_MANY_BOOKS = "too_many_books"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    MESSAGE_TOO_LARGE = "message_too_large"
    UNKNOWN_EVENT = "unknown_event"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 # nosec B105 # a code
    NOT_FOUND = "not_found"
    UNKNOWN_RECORDING = "unknown_recording"
    INVALID_TIME = "invalid_time"
    REPLAY_LIMIT = "replay_limit"
    RATE_LIMITED = "rate_limited"
    UPSTREAM = "upstream_unavailable"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal_error"


class MarketError(ValueError):
    """A refusal with a stable `code`, a sentence for people and, where there is one, a suggestion."""

    def __init__(self, code: Code, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
