"""What can go wrong between Binance's REST API and us, as types that a caller can tell apart."""


class RestError(Exception):
    """A REST request brought no result."""


class BinanceError(RestError):
    """Binance refused the request.

    `code` and `message` are Binance's own (`-1121`, `Invalid symbol.`); `code` is 0 where the
    answer was not Binance's JSON, as from a proxy. Source: Binance "Error codes".
    """

    def __init__(self, code: int, message: str, http_status: int) -> None:
        super().__init__(f"Binance error {code} (HTTP {http_status}): {message}")
        self.code = code
        self.message = message
        self.http_status = http_status


class RateLimited(RestError):  # noqa: N818 # says what happened, like Unreachable
    """No request may be sent for `retry_after_s` seconds.

    `http_status` is 429 or 418 (banned) while Binance has said so, and None where our own budget
    for the minute is spent and nothing was sent. Source: Binance "Limits".
    """

    def __init__(self, retry_after_s: float, message: str, http_status: int | None = None) -> None:
        super().__init__(f"{message} Retry after {retry_after_s:.1f} s.")
        self.retry_after_s = retry_after_s
        self.message = message
        self.http_status = http_status


class Unreachable(RestError):  # noqa: N818 # a state, not a mistake of anybody
    """No whole answer came: no connection, a broken one, a timeout, or a body past the limit."""
