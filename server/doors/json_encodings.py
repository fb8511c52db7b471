"""How the JSON door writes messages: the envelopes of documents 000 and 001, raw streams, and 004's prices.

Documents 000 and 001 disagree about the envelope and clients of both exist: `data` has the fields of
the payload, as in 001, and `stream` and the whole payload once more under `data`, as in 000.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from market import views
from market.errors import MarketError
from market.messages import Message
from market.payloads import BookTicker
from market.requests import asset_of
from market.streams import ARRAY, PARTIAL_DEPTHS, Market, StreamName
from server.encodings import Encoding, gap_reason
from server.refusals import refusal_of

_decode_book: Final = msgspec.json.Decoder(BookTicker).decode


class _SpotDepth(msgspec.Struct, rename="camel"):
    """Binance's partial depth on spot, its levels left as they are."""

    last_update_id: int
    bids: msgspec.Raw
    asks: msgspec.Raw


_decode_spot_depth: Final = msgspec.json.Decoder(_SpotDepth).decode


class _StreamMessages(Encoding):
    """Messages and gaps that name their stream as clients do; `prefixed` with its market before it."""

    def __init__(self, *, prefixed: bool = False) -> None:
        self._prefixed = prefixed

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes:
        """`gap {stream, missed, until, reason}`: `missed` messages were left out, the last with cursor `until`."""
        left_out = _left_out(stream, missed, until, upstream=upstream)
        return b'{"type":"gap","stream":%b,%b}' % (self._name(stream), left_out)

    def refusal(self, stream: StreamName, error: MarketError) -> bytes:
        """`error {message, code, stream}`."""
        body = refusal_of(error).body | {"stream": msgspec.Raw(self._name(stream))}
        return msgspec.json.encode({"type": "error"} | body)

    def _name(self, stream: StreamName) -> bytes:
        return _json_name(stream, self._prefixed)


class TypedMessages(_StreamMessages):
    """A typed subscription: `{type, data: {<the payload's fields>, stream, data: <the payload>}}`.

    Other markets than spot have `market` beside `type`. Partial depth of spot and Bybit, which names neither
    symbol nor time, becomes document 001's `depthUpdate` at the top of `data`, its `E` the time of receipt in ms.
    """

    def encode(self, message: Message) -> bytes:
        """The message in both documents' envelope; the payload's bytes are copied, not decoded."""
        stream, payload = message.stream, message.payload
        if stream.market is not Market.FUTURES and stream.kind in PARTIAL_DEPTHS:
            fields = _depth_update(message)
        else:
            fields = _inside(payload)
        return b'%b%b,"stream":%b,"data":%b}}' % (_typed_head(stream), fields, self._name(stream), payload)


class RawMessages(_StreamMessages):
    """A raw subscription: `{stream, data: {<the payload's fields>, stream, data: <the payload>}}`.

    Of all-market streams, whose payload is an array, `{stream, data: <the payload>}`.
    """

    def encode(self, message: Message) -> bytes:
        """The message in both documents' envelope; the payload's bytes are copied, not decoded."""
        name, payload = self._name(message.stream), message.payload
        if message.stream.symbol == ARRAY:
            return b'{"stream":%b,"data":%b}' % (name, payload)
        return b'{"stream":%b,"data":{%b,"stream":%b,"data":%b}}' % (name, _inside(payload), name, payload)


class PriceUpdates(Encoding):
    """Document 004's `PRICE_UPDATE`, made of spot book tickers; `tick_size` knows a symbol's."""

    def __init__(self, tick_size: Callable[[str], str | None]) -> None:
        self._tick_size = tick_size

    def encode(self, message: Message) -> bytes:
        """The best bid and ask as exact integers; `time` is when they were received, in s."""
        book = _decode_book(message.payload)
        decimals = views.price_decimals(book, self._tick_size(message.stream.symbol))
        asset = asset_of(message.stream.symbol)
        body = views.scaled_price(asset, book, decimals, message.received_us // 1_000_000)
        return b'{"type":"PRICE_UPDATE","data":%b}' % body

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes:
        """`GAP {symbol, missed, until, reason}`, as of any other stream but in document 004's manner."""
        symbol = msgspec.json.encode(asset_of(stream.symbol))
        left_out = _left_out(stream, missed, until, upstream=upstream)
        return b'{"type":"GAP","data":{"symbol":%b,%b}}' % (symbol, left_out)


TYPED: Final = TypedMessages()
RAW: Final = RawMessages()
RAW_PREFIXED: Final = RawMessages(prefixed=True)
"""For clients that wrote the market before the name."""


@lru_cache(maxsize=65_536)
def _json_name(stream: StreamName, prefixed: bool) -> bytes:  # noqa: FBT001 # a part of the cache's key
    name = stream.binance_name
    return msgspec.json.encode(f"{stream.market}:{name}" if prefixed else name)


@lru_cache(maxsize=256)
def _head_of(event: str, market: Market) -> bytes:
    beside = b"" if market is Market.SPOT else b',"market":"%b"' % market.encode()
    return b'{"type":"%b"%b,"data":{' % (event.encode(), beside)


def _typed_head(stream: StreamName) -> bytes:
    return _head_of(stream.event, stream.market)


def _inside(payload: bytes) -> bytes:
    """What stands between the braces of a JSON object. Raises ValueError for anything else."""
    if payload[:1] != b"{" or payload[-1:] != b"}":
        raise ValueError("payload is no JSON object")
    return payload[1:-1]


def _depth_update(message: Message) -> bytes:
    """Document 001's depth, of Binance's partial depth on spot, which is the whole top of the book."""
    depth = _decode_spot_depth(message.payload)
    return b'"e":"depthUpdate","E":%d,"s":"%b","U":%d,"u":%d,"b":%b,"a":%b' % (
        message.received_us // 1000,
        message.stream.symbol.upper().encode(),
        depth.last_update_id,
        depth.last_update_id,
        bytes(depth.bids),
        bytes(depth.asks),
    )


def _left_out(stream: StreamName, missed: int, until: int, *, upstream: bool) -> bytes:
    reason = gap_reason(stream, upstream=upstream).encode()
    return b'"missed":%d,"until":%d,"reason":"%b"' % (missed, until, reason)
