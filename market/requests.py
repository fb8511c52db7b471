"""What clients ask for in the seeds' words, turned into streams. Pure; shared by the doors."""

from collections.abc import Mapping, Sequence
from typing import Final

from market.errors import Code, MarketError
from market.streams import ALL, FUTURES_ONLY, Kind, Market, StreamName

_STREAM_TYPES: Final[Mapping[str, Kind]] = {
    **{kind.value: kind for kind in Kind},
    "depth": Kind.DEPTH20,
    "liquidation": Kind.FORCE_ORDER,
}
_DEPTH_LEVELS: Final = {5: Kind.DEPTH5, 10: Kind.DEPTH10, 20: Kind.DEPTH20}
_SPEEDS: Final = {"1s": "1s", "3s": ""}  # 3 s is what a bare @markPrice means

QUOTE: Final = "USDT"
"""The quote asset that 003 and 004 mean when they name a base asset alone."""


def typed_streams(
    stream_type: str, symbols: Sequence[str], options: Mapping[str, object], market: Market | None
) -> list[StreamName]:
    """The streams of a typed request of documents 000 and 001: one per symbol, `ALL` as `*`.

    `options`: `interval` of kline and continuousKline (1m), depth `level` 5|10|20 (20), markPrice
    `updateSpeed` 1s|3s (1s). A continuousKline symbol without a contract type means the perpetual one.
    Raises MarketError (bad_request, invalid_stream, invalid_symbol).
    """
    kind = _STREAM_TYPES.get(stream_type)
    if kind is None:
        raise MarketError(Code.INVALID_STREAM, f"Invalid stream type: {stream_type[:40]}")
    if not symbols:
        raise MarketError(Code.BAD_REQUEST, "Symbols must be a non-empty array")
    if kind is Kind.DEPTH20:
        kind = _depth_kind(options.get("level", 20))
    option = _option(kind, options)
    place = Market.FUTURES if kind in FUTURES_ONLY else market or Market.SPOT
    return [StreamName.of(place, _symbol(kind, symbol), kind, option) for symbol in symbols]


def asset_stream(asset: str, kind: Kind = Kind.TICKER) -> StreamName:
    """The spot stream of a base asset (`BTC` means BTCUSDT). Raises MarketError (invalid_symbol)."""
    return StreamName.of(Market.SPOT, f"{asset}{QUOTE}", kind)


def asset_of(symbol: str) -> str:
    """The base asset that `asset_stream` made this symbol of, in upper case."""
    return symbol.upper().removesuffix(QUOTE)


def _symbol(kind: Kind, symbol: str) -> str:
    if symbol.upper() == "ALL":
        return ALL
    return f"{symbol}_perpetual" if kind is Kind.CONTINUOUS_KLINE and "_" not in symbol else symbol


def _depth_kind(level: object) -> Kind:
    text = str(level)
    kind = _DEPTH_LEVELS.get(int(text)) if text.isdecimal() else None
    if kind is None:
        raise MarketError(Code.INVALID_STREAM, f"Invalid depth level: {text[:20]} (5, 10 or 20)")
    return kind


def _option(kind: Kind, options: Mapping[str, object]) -> str:
    if kind in (Kind.KLINE, Kind.CONTINUOUS_KLINE):
        return str(options.get("interval", "1m"))
    if kind is Kind.MARK_PRICE:
        speed = str(options.get("updateSpeed", "1s"))
        if speed not in _SPEEDS:
            raise MarketError(Code.INVALID_STREAM, f"Invalid update speed: {speed[:20]} (1s or 3s)")
        return _SPEEDS[speed]
    return ""
