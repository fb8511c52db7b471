"""What there is: symbols, as the service lists them, and kinds of streams, as docs/protocol.md does."""

import difflib
from typing import Any, Final

import httpx
import msgspec

from clients.python.tickcast_client import RefusedError, UnreachableError

MARKETS: Final = ("spot", "futures", "bybit")
INTERVALS: Final = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
KINDS: Final = {
    "ticker": "price and statistics of 24 hours, once a second",
    "miniTicker": "the same, with less in it",
    "ticker_1h": "statistics of 1 hour (also ticker_4h, ticker_1d); spot only",
    "kline_1m": "candles: kline_<interval>, " + " ".join(INTERVALS) + " (1s: spot only)",
    "trade": "every trade",
    "aggTrade": "trades of one order at one price, together",
    "bookTicker": "best bid and ask, whenever they change",
    "depth20": "the best 5, 10 or 20 levels of the order book (depth5, depth10, depth20; @100ms for more of them)",
    "depth": "changes of the order book",
    "book": "the whole order book, then its changes, without a gap",
    "avgPrice": "average price of 5 minutes; spot only",
    "markPrice": "mark price and funding rate (markPrice@1s: every second); futures only",
    "forceOrder": "liquidations; futures only",
    "continuousKline_1m": "candles of a continuous contract: btcusdt_perpetual@continuousKline_1m; futures only",
}
_TYPOS: Final = 8


class Listing(msgspec.Struct, rename="camel"):
    """One symbol of a market; its status is `TRADING`, or why it is not traded."""

    symbol: str
    status: str


class Catalog(msgspec.Struct):
    """The `data` of `GET /symbols`, as far as it matters here."""

    markets: dict[str, list[Listing]]
    default_symbols: list[str]

    def names(self, market: str) -> list[str]:
        """The symbols of a market that are traded; none of a market that is not served."""
        return [listing.symbol for listing in self.markets.get(market, []) if listing.status == "TRADING"]


class _Answer(msgspec.Struct):
    data: Catalog


def fetch_catalog(url: str, token: str | None, timeout_s: float = 10.0) -> Catalog:
    """Ask the service at `url`. Raises RefusedError, UnreachableError."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/symbols", headers=headers, timeout=timeout_s)
        if answer.is_error:
            body = msgspec.json.decode(answer.content, type=dict[str, Any])
            raise RefusedError.from_body(body)
        return msgspec.json.decode(answer.content, type=_Answer).data
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
        raise UnreachableError(f"No answer from {url}: {error}") from error


def matching(symbols: list[str], search: str) -> list[str]:
    """The symbols that contain `search`, those that begin with it first; where there is none, those spelt alike."""
    wanted = search.upper()
    found = sorted((symbol for symbol in symbols if wanted in symbol), key=lambda s: (not s.startswith(wanted), s))
    return found or difflib.get_close_matches(wanted, symbols, n=_TYPOS)


def stream_of(text: str, kind: str) -> str:
    """The stream that `text` names: a stream as it is (`btcusdt@trade`), a symbol with `kind` (`futures:BTCUSDT`)."""
    market, colon, name = text.rpartition(":")
    symbol, at, own_kind = name.partition("@")
    return f"{market}{colon}{symbol.lower()}@{own_kind if at else kind}"
