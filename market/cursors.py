"""Cursors: the number that orders one stream, taken from the payload so that two ingestors agree."""

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import field

from market.streams import ARRAY, PARTIAL_DEPTHS, Kind, Market, StreamName


class _TradeId(msgspec.Struct, gc=False):
    cursor: int = field(name="t")


class _AggregateId(msgspec.Struct, gc=False):
    cursor: int = field(name="a")


class _UpdateId(msgspec.Struct, gc=False):
    cursor: int = field(name="u")


class _LastUpdateId(msgspec.Struct, gc=False):
    cursor: int = field(name="lastUpdateId")


class _EventTime(msgspec.Struct, gc=False):
    cursor: int = field(name="E")


_Cursor: TypeAlias = _TradeId | _AggregateId | _UpdateId | _LastUpdateId | _EventTime


def _struct_of(market: Market, kind: Kind) -> type[_Cursor]:
    if kind is Kind.TRADE:
        return _TradeId
    if kind is Kind.AGG_TRADE:
        return _AggregateId
    if kind in PARTIAL_DEPTHS and market is not Market.FUTURES:
        return _LastUpdateId
    if kind in PARTIAL_DEPTHS or kind in (Kind.DEPTH, Kind.BOOK, Kind.BOOK_TICKER):
        return _UpdateId
    return _EventTime


_DECODERS: Final[dict[tuple[Market, Kind], msgspec.json.Decoder[Any]]] = {
    (market, kind): msgspec.json.Decoder(_struct_of(market, kind)) for market in Market for kind in Kind
}
_EVENT_TIME_DECODER: Final = msgspec.json.Decoder(_EventTime)
_ARRAY_DECODER: Final = msgspec.json.Decoder(list[_EventTime])


def cursor_of(stream: StreamName, payload: bytes) -> int:
    """The cursor of one payload; only the one field it needs is decoded.

    trade `t`, aggTrade `a`, bookTicker, depth and book `u`, partial depth but futures' `lastUpdateId`,
    all others the event time `E`; also those that tell of many symbols, as ids are a symbol's own. Of an
    array it is the first element's event time.
    Raises msgspec.ValidationError where the field is missing, ValueError for an empty array.
    """
    if payload.startswith(b"["):
        elements = _ARRAY_DECODER.decode(payload)
        if not elements:
            raise ValueError("empty array")
        return elements[0].cursor
    decoder = _EVENT_TIME_DECODER if stream.symbol == ARRAY else _DECODERS[stream.market, stream.kind]
    found: _Cursor = decoder.decode(payload)
    return found.cursor
