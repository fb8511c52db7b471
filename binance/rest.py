"""Binance's REST API for both markets: one client, its weight budget, its errors.

Bodies are handed over as they came: nobody decodes what it does not need. Source: Binance
"Market data endpoints" (spot, `/api/v3`) and "Market Data" (USD-M futures, `/fapi/v1`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
import msgspec
import stamina

from binance import weights
from binance.errors import BinanceError
from binance.ledger import Ledger, SharedBudget
from binance.settings import Endpoints
from binance.weights import WEIGHT_PER_MINUTE, WeightBudget
from market.streams import BINANCE_MARKETS, Market
from market.symbols import Catalog
from market.venue import RateLimited, Unreachable

TIMEOUT_S: Final = 10.0
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""The largest body taken; spot's exchangeInfo, the largest there is, has some 20 MB."""

_ATTEMPTS: Final = 2
_CONNECTIONS: Final = 8
_TOO_MANY_REQUESTS: Final = 429
_BANNED: Final = 418
# Where no Retry-After comes: the limit's minute, and the shortest ban that Binance documents.
_PAUSE_S: Final = {_TOO_MANY_REQUESTS: 60.0, _BANNED: 120.0}
_LONGEST_PAUSE_S: Final = 3 * 24 * 3600.0
_PREFIX: Final = {Market.SPOT: "/api/v3/", Market.FUTURES: "/fapi/v1/"}
_USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
_BOOK_TICKER: Final = "ticker/bookTicker"


class _ErrorBody(msgspec.Struct):
    code: int
    msg: str


_decode_error: Final = msgspec.json.Decoder(_ErrorBody).decode


class RestClient:
    """Asks Binance, or a stand-in, within the weight budget; one per process, for both markets.

    Every method returns the response body as received and raises BinanceError (refused),
    RateLimited (no request may be sent now; nothing was sent unless Binance said so) or
    Unreachable. A connection that breaks is tried once more, a timeout is not. Proxy variables
    of the environment are not read. `clock` reads s since the epoch. Processes that are handed the
    same `ledger` (a bus) spend one budget and keep one another's pauses.
    """

    def __init__(
        self, endpoints: Endpoints, clock: Callable[[], float] = time.time, ledger: Ledger | None = None
    ) -> None:
        self.budgets = {market: WeightBudget(WEIGHT_PER_MINUTE[market], clock) for market in BINANCE_MARKETS}
        self.bases: Final = {Market.SPOT: endpoints.spot_rest, Market.FUTURES: endpoints.futures_rest}
        self._shared = {
            market: SharedBudget(self.budgets[market], ledger, f"{market}:{urlsplit(self.bases[market]).netloc}")
            for market in BINANCE_MARKETS
        }
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def exchange_info(self, market: Market) -> bytes:
        """Rules and symbols of `market` as Binance lists them."""
        return await self.get(market, "exchangeInfo", weights.exchange_info(market))

    async def catalog(self, market: Market) -> Catalog:
        """The symbols of `market`. Raises msgspec.DecodeError for a body that lists none."""
        return Catalog.from_exchange_info(market, await self.exchange_info(market))

    async def klines(
        self,
        market: Market,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> bytes:
        """Candles in ascending order, rows of 12 columns; the last one is normally still open.

        `limit` is at most 1000 on spot and 1500 on futures. With `start_ms` the oldest from there,
        with `end_ms` alone the latest up to it.
        """
        params = {"symbol": symbol.upper(), "interval": interval, "limit": str(limit)}
        if start_ms is not None:
            params["startTime"] = str(start_ms)
        if end_ms is not None:
            params["endTime"] = str(end_ms)
        return await self.get(market, "klines", weights.klines(market, limit), params)

    async def depth(self, market: Market, symbol: str, limit: int = 100) -> bytes:
        """The book's best `limit` levels: at most 5000 on spot; 5, 10, 20, 50, 100, 500 or 1000 on futures."""
        params = {"symbol": symbol.upper(), "limit": str(limit)}
        return await self.get(market, "depth", weights.depth(market, limit), params)

    async def ticker_24h(self, market: Market, symbols: Sequence[str] = ()) -> bytes:
        """Rolling 24 h statistics: one object for one symbol, else an array; no symbols = all.

        Several symbols at once exist only on spot: ValueError on futures.
        """
        weight = weights.ticker_24h(market, len(symbols))
        return await self.get(market, "ticker/24hr", weight, _symbols(market, symbols))

    async def ticker_price(self, market: Market, symbols: Sequence[str] = ()) -> bytes:
        """Latest prices; shapes and ValueError as in `ticker_24h`."""
        weight = weights.ticker_price(market, len(symbols))
        return await self.get(market, "ticker/price", weight, _symbols(market, symbols))

    async def book_ticker(self, market: Market, symbols: Sequence[str] = ()) -> bytes:
        """Best bids and asks; shapes and ValueError as in `ticker_24h`."""
        weight = weights.book_ticker(market, len(symbols))
        return await self.get(market, _BOOK_TICKER, weight, _symbols(market, symbols))

    async def premium_index(self, symbol: str | None = None) -> bytes:
        """Mark price and funding on futures: one object, or an array of all without `symbol`."""
        symbols = [symbol] if symbol else []
        weight = weights.premium_index(len(symbols))
        return await self.get(Market.FUTURES, "premiumIndex", weight, _symbols(Market.FUTURES, symbols))

    async def get(self, market: Market, path: str, weight: int, params: Mapping[str, str] | None = None) -> bytes:
        """The answer of any public endpoint; `path` is what follows `/api/v3/` or `/fapi/v1/`."""
        url = f"{self.bases[market]}{_PREFIX[market]}{path}"
        budget = self._shared[market]
        try:
            async for attempt in stamina.retry_context(
                on=_is_worth_another_try, attempts=_ATTEMPTS, wait_initial=0.1, wait_jitter=0.1
            ):
                with attempt:
                    spent = await budget.spend(weight)
                    response, body = await self._fetch(url, params or {})
        except httpx.RequestError as error:
            raise Unreachable(f"{url}: {type(error).__name__} {error}") from error
        used = response.headers.get(_USED_WEIGHT, "")
        # Binance's connectors note that the count of this one futures endpoint is wrong.
        is_trusted = (market, path) != (Market.FUTURES, _BOOK_TICKER)
        if used.isdecimal() and is_trusted:
            await budget.observe(int(used), spent)
        if response.is_success:
            return body
        refusal = _refusal(response, body)
        if isinstance(refusal, RateLimited):
            await budget.pause(refusal.retry_after_s, refusal)
        raise refusal

    async def _fetch(self, url: str, params: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        async with self._http.stream("GET", url, params=dict(params)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Unreachable(f"{url}: the body exceeds {MAX_BODY_BYTES} bytes")
            return response, bytes(body)


def _symbols(market: Market, symbols: Sequence[str]) -> dict[str, str]:
    names = [symbol.upper() for symbol in symbols]
    if len(names) <= 1:
        return {"symbol": names[0]} if names else {}
    if market is Market.FUTURES:
        raise ValueError("futures endpoints take one symbol or all, not several")
    return {"symbols": msgspec.json.encode(names).decode()}


def _is_worth_another_try(error: Exception) -> bool:
    # A kept connection may have been closed by the server just as the request left.
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException)


def _refusal(response: httpx.Response, body: bytes) -> BinanceError | RateLimited:
    status = response.status_code
    try:
        error = _decode_error(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not Binance's words: a proxy or a firewall answered.
        error = _ErrorBody(0, response.reason_phrase or "no reason given")
    if status not in _PAUSE_S:
        return BinanceError(error.code, error.msg, status)
    asked = response.headers.get("Retry-After", "")
    retry_after_s = min(float(asked), _LONGEST_PAUSE_S) if asked.isdecimal() else _PAUSE_S[status]
    return RateLimited(retry_after_s, error.msg, status)
