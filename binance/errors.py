"""How Binance's REST API refuses a request; market/venue.py has what goes wrong with any venue's."""

from market.venue import RestError


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
