"""Bybit's REST endpoints for symbols, candles and trades, answered from the simulated spot market.

Sources: Bybit v5 "Get Bybit Server Time", "Get Instruments Info", "Get Kline", "Get Public Recent Trading History",
"Error Codes".
"""

from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from bybit.names import INTERVAL_NAMES
from bybit.rest import RECENT_TRADES
from exchange.bybit_topics import PREFIX, trimmed
from exchange.candles import Candle, Trade
from exchange.symbols import SymbolSpec
from exchange.venue import Instrument, Venue
from market.streams import Market

_PATH: Final = "/bybit/v5/market/"
_PARAMS_ERROR: Final = 10001
_KLINES: Final = (200, 1_000)
"""How many candles come unasked, and how many at most."""

_encode: Final = msgspec.json.Encoder().encode


class _ParamsError(ValueError):
    """A request that Bybit answers with its code 10001."""


class BybitRest:
    """The endpoints as routes."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.requests_total = 0

    def routes(self) -> list[web.RouteDef]:
        """The paths below `/bybit`."""
        return [
            web.get(f"{_PATH}time", self._on_time),
            web.get(f"{_PATH}instruments-info", self._on_instruments),
            web.get(f"{_PATH}kline", self._on_kline),
            web.get(f"{_PATH}recent-trade", self._on_trades),
        ]

    async def _on_time(self, _request: web.Request) -> web.Response:
        now_ms = self._venue.now_ms
        return self._answer({"timeSecond": str(now_ms // 1_000), "timeNano": str(now_ms * 1_000_000)})

    async def _on_instruments(self, request: web.Request) -> web.Response:
        try:
            _check_category(request)
            name = request.query.get("symbol")
            listed = self._venue.of(Market.SPOT) if name is None else [self._listed(name)]
        except _ParamsError as error:
            return self._refusal(str(error))
        return self._answer({"category": "spot", "list": [_instrument(one.spec) for one in listed]})

    async def _on_kline(self, request: web.Request) -> web.Response:
        try:
            _check_category(request)
            interval = INTERVAL_NAMES.get(request.query.get("interval", ""))
            if interval is None:
                raise _ParamsError("Invalid period!")  # noqa: TRY301 # one place words refusals
            instrument = self._listed(request.query.get("symbol", ""))
            start_ms, end_ms = _number(request, "start"), _number(request, "end")
            limit = min(_number(request, "limit") or _KLINES[0], _KLINES[1])
        except _ParamsError as error:
            return self._refusal(str(error))
        rows = instrument.candles.rows(interval, start_ms, end_ms, limit)
        newest_first = [_row(instrument.spec, candle) for candle in rows][::-1]
        return self._answer({"category": "spot", "symbol": instrument.spec.symbol, "list": newest_first})

    async def _on_trades(self, request: web.Request) -> web.Response:
        try:
            _check_category(request)
            instrument = self._listed(request.query.get("symbol", ""))
            limit = min(_number(request, "limit") or RECENT_TRADES, RECENT_TRADES)
        except _ParamsError as error:
            return self._refusal(str(error))
        newest_first = [_trade(instrument.spec, trade) for trade in islice(reversed(instrument.trades), limit)]
        return self._answer({"category": "spot", "list": newest_first})

    def _listed(self, symbol: str) -> Instrument:
        instrument = self._venue.get(Market.SPOT, symbol)
        if instrument is None:
            raise _ParamsError("Not supported symbols")
        return instrument

    def _answer(self, result: dict[str, Any], code: int = 0, message: str = "OK") -> web.Response:
        self.requests_total += 1
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": self._venue.now_ms}
        return web.Response(body=_encode(body), content_type="application/json")

    def _refusal(self, message: str) -> web.Response:
        return self._answer({}, _PARAMS_ERROR, message)


def _check_category(request: web.Request) -> None:
    if request.query.get("category") != "spot":
        raise _ParamsError("Category is invalid")


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise _ParamsError(f"The requested {name} is invalid.")
    return int(text)


def _instrument(spec: SymbolSpec) -> dict[str, Any]:
    return {
        "symbol": spec.symbol,
        "baseCoin": spec.base,
        "quoteCoin": spec.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {"basePrecision": trimmed(spec.quantity_text(spec.step)), "quotePrecision": "0.0000001"},
        "priceFilter": {"tickSize": trimmed(spec.price_text(spec.tick))},
        "symbolType": "",
    }


def _trade(spec: SymbolSpec, trade: Trade) -> dict[str, Any]:
    return {
        "execId": str(PREFIX + trade.trade_id),
        "symbol": spec.symbol,
        "price": trimmed(spec.price_text(trade.price)),
        "size": trimmed(spec.quantity_text(trade.quantity)),
        "side": "Sell" if trade.buyer_is_maker else "Buy",
        "time": str(trade.time_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
    }


def _row(spec: SymbolSpec, candle: Candle) -> list[str]:
    return [
        str(candle.open_ms),
        trimmed(spec.price_text(candle.open)),
        trimmed(spec.price_text(candle.high)),
        trimmed(spec.price_text(candle.low)),
        trimmed(spec.price_text(candle.close)),
        trimmed(spec.quantity_text(candle.volume)),
        trimmed(spec.quote_text(candle.quote)),
    ]
