"""Bybit's REST API as far as it is needed: its spot symbols, candles and recent trades, as Binance shapes them.

Sources: Bybit v5 "Get Instruments Info", "Get Kline", "Get Public Recent Trading History", "Rate Limit Rules", "Error
Codes".
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from bybit.errors import BybitError
from bybit.names import interval_of
from bybit.payloads import recent_trades
from market.intervals import close_time
from market.streams import Market
from market.symbols import Catalog, SymbolInfo
from market.venue import RateLimited, Unreachable
from market.windows import RollingWindow

TIMEOUT_S: Final = 10.0
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""The largest body taken; the list of all spot symbols has less than 1 MB."""
RECENT_TRADES: Final = 60
"""As many as Bybit has of a spot symbol."""

_CONNECTIONS: Final = 8
# Bybit admits 600 requests in 5 s per address and shuts it out for 10 minutes beyond; others live there, too.
_REQUESTS: Final = 100
_REQUESTS_PERIOD_S: Final = 5.0
_BANNED_S: Final = 600.0
_TOO_MANY_VISITS: Final = 10006
_TOO_MANY_VISITS_S: Final = 1.0
_PATH: Final = "/v5/market/"


class _Answer(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    message: str = msgspec.field(name="retMsg", default="")
    result: msgspec.Raw = msgspec.Raw(b"{}")


class _PriceFilter(msgspec.Struct):
    tick_size: str = msgspec.field(name="tickSize")


class _LotSizeFilter(msgspec.Struct):
    step_size: str = msgspec.field(name="basePrecision")


class _Instrument(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str
    quote_coin: str
    status: str
    price_filter: _PriceFilter
    lot_size_filter: _LotSizeFilter


class _Instruments(msgspec.Struct):
    instruments: list[_Instrument] = msgspec.field(name="list")


class _Klines(msgspec.Struct):
    rows: list[tuple[str, str, str, str, str, str, str]] = msgspec.field(name="list")


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode
_decode_instruments: Final = msgspec.json.Decoder(_Instruments).decode
_decode_klines: Final = msgspec.json.Decoder(_Klines).decode
_encode: Final = msgspec.json.Encoder().encode


class RestClient:
    """Asks Bybit, or a stand-in, within its limits; one per process (market/venue.py: VenueRest).

    Every method raises BybitError (refused), RateLimited (no request may be sent now; nothing was sent unless
    Bybit said so) or Unreachable. Proxy variables of the environment are not read.
    """

    def __init__(self, base: str) -> None:
        self.bases: Mapping[Market, str] = {Market.BYBIT: base}
        self.requests_total = 0
        self._base = base
        self._window = RollingWindow(_REQUESTS, _REQUESTS_PERIOD_S)
        self._paused_until = 0.0
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def catalog(self, market: Market) -> Catalog:
        """The spot symbols, which Bybit lists only while they trade. Raises msgspec.DecodeError for no such list."""
        result = await self._get("instruments-info", {"category": "spot"})
        return Catalog(market, [_symbol_info(one) for one in _decode_instruments(result).instruments])

    async def klines(
        self,
        market: Market,  # noqa: ARG002 # there is one
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> bytes:
        """Candles in ascending order as rows of Binance's 12 columns; `limit` is at most 1000.

        With `start_ms` the oldest from there, with `end_ms` alone the latest up to it. Bybit has neither the
        number of trades nor what takers bought: those three columns are null.
        """
        params = {"category": "spot", "symbol": symbol.upper(), "interval": interval_of(interval), "limit": str(limit)}
        if start_ms is not None:
            params["start"] = str(start_ms)
        if end_ms is not None:
            params["end"] = str(end_ms)
        body = await self._get("kline", params)
        try:
            newest_first = _decode_klines(body).rows
            return _encode([_row(interval, row) for row in reversed(newest_first)])
        except ValueError as error:
            raise Unreachable(f"{self._base} answered no candles: {error}") from error

    async def recent_trades(self, symbol: str) -> list[tuple[int, bytes]]:
        """Ids and `trade` payloads of the latest RECENT_TRADES trades, newest first."""
        params = {"category": "spot", "symbol": symbol.upper(), "limit": str(RECENT_TRADES)}
        body = await self._get("recent-trade", params)
        try:
            return recent_trades(body)
        except ValueError as error:
            raise Unreachable(f"{self._base} answered no trades: {error}") from error

    async def _get(self, path: str, params: Mapping[str, str]) -> bytes:
        """The `result` of one request."""
        self._spend()
        url = f"{self._base}{_PATH}{path}"
        self.requests_total += 1
        try:
            response, body = await self._fetch(url, params)
        except httpx.RequestError as error:
            raise Unreachable(f"{url}: {type(error).__name__} {error}") from error
        if response.status_code == HTTPStatus.FORBIDDEN:
            raise self._pause(_BANNED_S, "access too frequent.", response.status_code)
        try:
            answer = _decode_answer(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Not Bybit's words: a proxy or a firewall answered.
            raise BybitError(0, response.reason_phrase or "no reason given", response.status_code) from None
        if answer.code == _TOO_MANY_VISITS:
            raise self._pause(_TOO_MANY_VISITS_S, answer.message, response.status_code)
        if answer.code or not response.is_success:
            raise BybitError(answer.code, answer.message, response.status_code)
        return bytes(answer.result)

    async def _fetch(self, url: str, params: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        async with self._http.stream("GET", url, params=dict(params)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Unreachable(f"{url}: the body exceeds {MAX_BODY_BYTES} bytes")
            return response, bytes(body)

    def _spend(self) -> None:
        """Take one of the requests of this moment."""
        now = time.monotonic()
        if now < self._paused_until:
            raise RateLimited(self._paused_until - now, "Bybit allows no requests.")
        if not self._window.allow(now):
            raise RateLimited(self._window.wait_s(now), "Bybit's requests of this moment are spent.")

    def _pause(self, seconds: float, message: str, status: int) -> RateLimited:
        self._paused_until = time.monotonic() + seconds
        return RateLimited(seconds, message, status)


def _symbol_info(one: _Instrument) -> SymbolInfo:
    return SymbolInfo(
        symbol=one.symbol,
        status=one.status.upper(),  # Trading
        base_asset=one.base_coin,
        quote_asset=one.quote_coin,
        tick_size=one.price_filter.tick_size,
        step_size=one.lot_size_filter.step_size,
    )


def _row(interval: str, row: tuple[str, str, str, str, str, str, str]) -> tuple[int | str | None, ...]:
    start, opened, high, low, close, volume, turnover = row
    open_ms = int(start)
    end_ms = close_time(interval, open_ms)
    return (open_ms, opened, high, low, close, volume, end_ms, turnover, None, None, None, "0")
