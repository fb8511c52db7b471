"""What a client is told when something is refused: one place for all doors, whoever refused it."""

import math
from typing import Final, NamedTuple

from binance.errors import BinanceError
from bybit.errors import BybitError
from market.errors import Code, MarketError
from market.venue import RateLimited, RestError
from server.access.over_quota import OverQuotaError

_STATUS: Final[dict[Code, int]] = {
    Code.UNAUTHORIZED: 401,
    Code.TOKEN_EXPIRED: 401,
    Code.FORBIDDEN: 403,
    Code.UNKNOWN_SYMBOL: 404,
    Code.NOT_TRADING: 404,
    Code.NOT_FOUND: 404,
    Code.UNKNOWN_RECORDING: 404,
    Code.REPLAY_LIMIT: 429,
    Code.RATE_LIMITED: 429,
    Code.TOO_MANY_CONNECTIONS: 429,
    Code.UPSTREAM: 503,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}
_RETRY_S: Final = {Code.REPLAY_LIMIT: 1}
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_INVALID_SYMBOL: Final = -1121
_BYBIT_PARAMS_ERROR: Final = 10001


class Refusal(NamedTuple):
    """A stable code, a sentence for people and, where there is one, a suggestion or a time to wait (s)."""

    code: Code
    message: str
    suggestion: str | None = None
    retry_after_s: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return _STATUS.get(self.code, _BAD_REQUEST)

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that go with it: when to try again, and what to show (RFC 9110, 11.6.1)."""
        found = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == _UNAUTHORIZED else {})

    @property
    def details(self) -> dict[str, str | int]:
        """What there is to say besides code and message: `suggestion`, `retryAfter`."""
        found = {"suggestion": self.suggestion, "retryAfter": self.retry_after_s}
        return {key: value for key, value in found.items() if value}

    @property
    def body(self) -> dict[str, str | int]:
        """`{code, message, suggestion?, retryAfter?}`."""
        return {"code": self.code.value, "message": self.message} | self.details


def refusal_of(error: MarketError | RestError) -> Refusal:
    """What to tell the client of an error of ours or of the exchange's.

    The exchange's limits, 429 and 418 alike, are `rate_limited`, with the time to wait; an exchange
    that is away or broken is `upstream_unavailable`; what it calls a mistake of the request is
    `bad_request`, an unknown symbol `unknown_symbol`.
    """
    if isinstance(error, OverQuotaError):
        return Refusal(error.code, error.message, None, error.retry_after_s or None)
    if isinstance(error, MarketError):
        return Refusal(error.code, error.message, error.suggestion, _RETRY_S.get(error.code))
    if isinstance(error, RateLimited):
        said = f" (HTTP {error.http_status})" if error.http_status else ""
        wait_s = math.ceil(error.retry_after_s)
        return Refusal(Code.RATE_LIMITED, f"The exchange allows no request now{said}: {error}", None, max(1, wait_s))
    if isinstance(error, BinanceError):
        return Refusal(_code_of(error), f"Binance API error: {error.message}")
    if isinstance(error, BybitError):
        return Refusal(_code_of_bybit(error), f"Bybit API error: {error.message}")
    return Refusal(Code.UPSTREAM, f"The exchange is not reachable: {error}")


def _code_of(error: BinanceError) -> Code:
    if error.code == _INVALID_SYMBOL:
        return Code.UNKNOWN_SYMBOL
    # Without a code of Binance's, a proxy or a firewall answered.
    return Code.BAD_REQUEST if error.code and error.http_status == _BAD_REQUEST else Code.UPSTREAM


def _code_of_bybit(error: BybitError) -> Code:
    """Bybit has one code for whatever is wrong with a request; an unknown symbol says so in words."""
    if error.code != _BYBIT_PARAMS_ERROR:
        return Code.UPSTREAM
    return Code.UNKNOWN_SYMBOL if "symbol" in error.message.lower() else Code.BAD_REQUEST
