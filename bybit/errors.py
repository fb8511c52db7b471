"""How Bybit's REST API refuses a request."""

from market.venue import RestError


class BybitError(RestError):
    """Bybit refused the request.

    `code` and `message` are Bybit's own (`10001`, `Not supported symbols`); `code` is 0 where the answer was not
    Bybit's JSON, as from a proxy. Source: Bybit v5 "Error Codes".
    """

    def __init__(self, code: int, message: str, http_status: int) -> None:
        super().__init__(f"Bybit error {code} (HTTP {http_status}): {message}")
        self.code = code
        self.message = message
        self.http_status = http_status
