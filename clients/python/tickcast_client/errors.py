"""Everything that can go wrong, each with a stable `code`."""

from collections.abc import Mapping
from typing import Any

ENDING = frozenset({"unauthorized", "forbidden", "token_expired", "disconnected"})
"""Codes of refusals at which connecting again with the same credentials is in vain."""


class TickcastError(Exception):
    """Base of all errors here: a stable `code`, a sentence, and where there are any a suggestion and s to wait."""

    def __init__(
        self, code: str, message: str, *, suggestion: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


class RefusedError(TickcastError):
    """The server said no; its codes are listed in docs/reasons.md."""

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "RefusedError":
        """The refusal `{code, message | error, suggestion?, retryAfter?}` of an acknowledgement or an HTTP answer."""
        message = body.get("message") or body.get("error") or "The server refused it"
        retry_after_s = body.get("retryAfter", body.get("retry_after"))
        return cls(
            str(body.get("code", "refused")),
            str(message),
            suggestion=body.get("suggestion"),
            retry_after_s=float(retry_after_s) if isinstance(retry_after_s, int | float) else None,
        )


class UnreachableError(TickcastError):
    """No server answered, or the connection was lost (`unreachable`); trying again may help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__("unreachable", message, retry_after_s=retry_after_s)


class ClosedError(TickcastError):
    """The client was closed by this program (`closed`)."""

    def __init__(self) -> None:
        super().__init__("closed", "The client is closed")
