"""Why credentials are refused: the refusal itself, and the reasons by which refusals are counted."""

from enum import StrEnum

from market.errors import Code, MarketError


class Reason(StrEnum):
    """Why; a label of `/metrics`, so that there are no others."""

    MISSING = "missing"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"
    SUBJECT = "subject"


class UnauthorizedError(MarketError):
    """Credentials are missing or no good (code unauthorized). `key` is what may be logged: a key's id, never a key."""

    def __init__(self, reason: Reason, message: str, key: str = "") -> None:
        super().__init__(Code.UNAUTHORIZED, message)
        self.reason = reason
        self.key = key[:40]
