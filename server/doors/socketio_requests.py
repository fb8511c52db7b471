"""What `subscribe` and `unsubscribe` of the Socket.IO door mean: three forms, one result. Pure.

002: `{symbols}`; 003: one array of assets; full: `{streams}` or `{streamType, symbols, options, market}`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from market.errors import Code, MarketError
from market.requests import asset_of, asset_stream, typed_streams
from market.streams import Kind, Market, StreamName
from server.doors.msgpack import MsgpackEncoding
from server.doors.socketio_encodings import CRYPTO_UPDATES, KIND_EVENTS, PRICE_UPDATES
from server.encodings import Encoding
from server.groups import Pace
from server.shapes import in_words
from server.wishes import cursors_of, pace_of

SHAPES: Final = "an array of assets, {symbols}, {streams} or {streamType, symbols, options, market}"


class Form(Enum):
    """Which client wrote the request: 003's, 002's, or one that speaks the full protocol."""

    ASSETS = "assets"
    PRICES = "prices"
    FULL = "full"

    def encoding(self, *, binary: bool) -> Encoding:
        """How the messages of such a subscription are written, as MessagePack or as text."""
        return (_BINARY if binary else _ENCODINGS)[self]

    def naming(self, stream: StreamName) -> str:
        """How a request in this form names `stream`."""
        if self is Form.FULL:
            return f'{{streams: ["{stream}"]}}'
        return f'["{asset_of(stream.symbol)}"]' if self is Form.ASSETS else f'{{symbols: ["{stream.symbol.upper()}"]}}'

    def stream_of(self, room: str) -> StreamName | None:
        """The stream whose subscribers in this form share `room`; None for a name that is no such room."""
        try:
            if self is Form.FULL:
                return StreamName.parse(room)
            return asset_stream(room) if self is Form.ASSETS else StreamName.of(Market.SPOT, room, Kind.TICKER)
        except MarketError:
            return None


_ENCODINGS: Final[dict[Form, Encoding]] = {
    Form.ASSETS: CRYPTO_UPDATES,
    Form.PRICES: PRICE_UPDATES,
    Form.FULL: KIND_EVENTS,
}
_BINARY: Final[dict[Form, Encoding]] = {form: MsgpackEncoding(text) for form, text in _ENCODINGS.items()}


class Item(NamedTuple):
    """One stream that a request names, and how the client wrote it."""

    sent: str
    stream: StreamName


class Rejection(NamedTuple):
    """One thing that a request names in vain."""

    sent: str
    error: MarketError

    def body(self, key: str) -> dict[str, str]:
        """The rejection as clients see it; `key` names what was sent (`stream` or `symbol`)."""
        body = {key: self.sent, "code": self.error.code.value, "message": self.error.message}
        return body | ({"suggestion": self.error.suggestion} if self.error.suggestion else {})


class Request(NamedTuple):
    """A parsed request: at most one item per stream."""

    form: Form
    items: list[Item]
    rejected: list[Rejection]
    snapshot: bool
    pace: Pace | None
    since: dict[StreamName, int]
    """By stream; what a request for ALL knows of its symbols under their own streams."""


class _Body(msgspec.Struct, rename="camel"):
    streams: list[str] | None = None
    stream_type: str | None = None
    symbols: list[str] | str | None = None
    options: dict[str, Any] = {}
    market: Market | None = None
    snapshot: bool = True
    throttle: int | None = None
    since: dict[str, int] = {}


def parse_request(data: object, check: Callable[[StreamName], None], limit: int) -> Request:
    """The request in `data`, whose names are judged one by one, each stream by `check`.

    Raises MarketError for what is not a request at all (bad_request) or names more than `limit`
    streams or wishes.MAX_CURSORS cursors (too_many_streams).
    """
    if isinstance(data, list):
        form, body = Form.ASSETS, _Body(symbols=_convert(data, list[str]))
    else:
        body = _convert(data, _Body)
        form = Form.PRICES if body.streams is None and body.stream_type is None else Form.FULL
    if isinstance(body.symbols, str):
        body.symbols = [body.symbols]
    names = body.streams if body.streams is not None else body.symbols
    if names is None:
        raise MarketError(Code.BAD_REQUEST, f"Expected {SHAPES}")
    if len(names) > limit:
        raise MarketError(Code.TOO_MANY_STREAMS, f"At most {limit} streams a client, {len(names)} asked for")
    items: dict[StreamName, Item] = {}
    rejected = []
    for name in names:
        try:
            stream = _stream(form, name, body)
            check(stream)
            items.setdefault(stream, Item(name, stream))
        except MarketError as error:
            rejected.append(Rejection(name[:80], error))
    since = cursors_of(body.since, {item.sent: item.stream for item in items.values()}, body.market)
    return Request(form, list(items.values()), rejected, body.snapshot, pace_of(body.throttle), since)


def _stream(form: Form, name: str, body: _Body) -> StreamName:
    if form is Form.ASSETS:
        return asset_stream(name)
    if form is Form.PRICES:
        return StreamName.of(Market.SPOT, name, Kind.TICKER)
    if body.stream_type is None:
        return StreamName.parse(name, body.market)
    return typed_streams(body.stream_type, [name], body.options, body.market)[0]


def _convert(data: object, kind: type[Any]) -> Any:  # noqa: ANN401 # an instance of `kind`
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise MarketError(Code.BAD_REQUEST, f"{in_words(error)}; expected {SHAPES}") from None
