"""What the messages of JSON clients mean: documents 000 and 001, and in upper case document 004. Pure.

Texts of refusals are the original's. Shapes: docs/protocol.md.
"""

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from market.errors import Code, MarketError
from market.requests import asset_of, asset_stream, typed_streams
from market.streams import ALL, ARRAY, PARTIAL_DEPTHS, Kind, Market, StreamName
from server.every import is_every
from server.groups import Pace
from server.wishes import cursors_of, pace_of

PRICE_PACE: Final = Pace(1000)
"""How often document 004's clients hear of a price unless they ask for another pace: about once a second."""
DEFAULT_ROWS: Final = 500
MAX_ROWS: Final = 1000
"""Candles in one answer (document 001)."""
_EVERY_LIQUIDATION: Final = "_global_"
_ANY_SYMBOL: Final = "any_perpetual"
"""One that streams of every kind may have."""
_MARKETS: Final = frozenset(Market)

Check: TypeAlias = Callable[[StreamName], None]
"""Raises MarketError for a stream that cannot deliver."""


class Form(Enum):
    """How a client wants the messages of a subscription written."""

    TYPED = "typed"
    RAW = "raw"
    RAW_PREFIXED = "raw, market before the name"
    PRICE = "price"


class Item(NamedTuple):
    """One stream that a request names, how the client wrote it, and the form of its messages."""

    sent: str
    stream: StreamName
    form: Form


class Rejection(NamedTuple):
    """One thing that a request names in vain; `key` says what it is (`symbol` or `stream`)."""

    key: str
    sent: str
    error: MarketError


class Subscribe(NamedTuple):
    """Streams to join. `echo` is what the acknowledgement repeats beside the names, None in 004's manner."""

    items: list[Item]
    rejected: list[Rejection]
    echo: dict[str, object] | None
    pace: Pace | None
    snapshot: bool
    since: dict[StreamName, int]
    """By stream; what a request for ALL knows of its symbols under their own streams."""


class Unsubscribe(NamedTuple):
    """Streams to leave: those of `items`; of a typed request whatever `typed_to_leave` says."""

    items: list[Item]
    rejected: list[Rejection]
    echo: dict[str, object] | None
    kinds: frozenset[Kind] = frozenset()
    """What the stream type of a typed request means; empty for others."""
    any_option: bool = False
    """Whether a typed request named no option: then streams are left whatever their option."""


class UnsubscribeAll(NamedTuple):
    """Everything to leave, in whatever form."""

    echo: dict[str, object]


class HistoricalKlines(NamedTuple):
    """Candles to fetch; `symbol` as the client wrote it, times in ms since the epoch."""

    symbol: str
    market: Market
    interval: str
    limit: int
    start_ms: int | None
    end_ms: int | None


class Ping(NamedTuple):
    """A sign of life to answer."""


Command: TypeAlias = Subscribe | Unsubscribe | UnsubscribeAll | HistoricalKlines | Ping


class ClientMessage(msgspec.Struct, rename="camel"):
    """A message as it came, before anything but its being a JSON object was checked."""

    type: Any = None
    stream_type: Any = None
    raw_streams: Any = None
    symbols: Any = None
    symbol: Any = None
    asset: Any = None
    options: Any = None
    interval: Any = None
    market: Any = None
    is_futures: Any = None
    limit: Any = None
    start_time: Any = None
    end_time: Any = None
    throttle: Any = None
    snapshot: Any = None
    since: Any = None

    @property
    def is_upper(self) -> bool:
        """Whether document 004's client wrote it."""
        return isinstance(self.type, str) and self.type.isupper()


_decode: Final = msgspec.json.Decoder(ClientMessage).decode


def read_message(data: str | bytes) -> ClientMessage:
    """The message in `data`. Raises MarketError (bad_request) for what is no JSON object."""
    try:
        message: ClientMessage = _decode(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, no object; nested too deeply
        raise _bad("Invalid message format") from None
    return message


def parse_command(message: ClientMessage, check: Check, limit: int) -> Command:
    """What the client wants; each name is judged by itself, what it subscribes to also by `check`.

    Raises MarketError for what is wrong as a whole, and for more than `limit` names
    (too_many_streams).
    """
    if message.type is not None and not isinstance(message.type, str):
        raise _bad("Invalid message format")
    match message.type:
        case "subscribe" | "unsubscribe" if message.raw_streams is not None:
            return _raw(message, check, limit)
        case "subscribe" | "unsubscribe":
            return _typed(message, check, limit)
        case "SUBSCRIBE" | "UNSUBSCRIBE":
            return _prices(message, check, limit)
        case "getHistoricalKlines":
            return _historical_klines(message)
        case "ping" | "PING":
            return Ping()
    if message.is_upper:
        raise MarketError(Code.UNKNOWN_EVENT, "Unknown message type")
    raise MarketError(Code.UNKNOWN_EVENT, f"Unknown message type: {_shown(message.type)}")


def typed_to_leave(request: Unsubscribe, held: Collection[StreamName]) -> list[StreamName]:
    """The streams, of those that a client holds in typed form, that a typed request ends.

    Raises MarketError (bad_request) where the client holds none of the stream type at all, or holds
    what it names as a part of ALL only.
    """
    if not request.items:
        return []
    named = request.items[0].stream  # all items differ in their symbols only
    of_type = [stream for stream in held if stream.kind in request.kinds and stream.market is named.market]
    if not of_type:
        raise _bad(f"Not subscribed to stream type: {request.echo and request.echo['streamType']}")
    symbols = {item.stream.symbol for item in request.items}
    leaving = [
        stream
        for stream in of_type
        if (ALL in symbols or stream.symbol in symbols) and (request.any_option or stream.option == named.option)
    ]
    if not leaving and any(is_every(stream) for stream in of_type):
        raise _bad("Subscribed to ALL symbols: unsubscribe ALL")
    return leaving


def _typed(message: ClientMessage, check: Check, limit: int) -> Command:
    stream_type = message.stream_type
    if not isinstance(stream_type, str):
        raise MarketError(Code.INVALID_STREAM, f"Invalid stream type: {_shown(stream_type)}")
    wrong, empty = "Symbols must be a non-empty array", "Symbol list must be non-empty"
    if stream_type == "all" and message.type == "unsubscribe":
        symbols = _names(message.symbols, wrong, empty, 1)
        if symbols[0].upper() == "ALL":
            return UnsubscribeAll({"streamType": stream_type, "symbols": symbols})
    options, market = _options(message), _market(message.market)
    pattern = typed_streams(stream_type, [_ANY_SYMBOL], options, market)[
        0
    ]  # refuses type and options once, not by symbol
    symbols = _names(message.symbols, wrong, empty, limit)

    def item(symbol: str) -> Item:
        if symbol.upper() in ("ALL", ALL) and len(symbols) > 1:
            raise _bad("ALL must be alone in the list")
        if symbol == ARRAY:
            raise MarketError(Code.INVALID_SYMBOL, f"Invalid symbol: {symbol}")
        name = ALL if symbol == _EVERY_LIQUIDATION and pattern.kind is Kind.FORCE_ORDER else symbol
        return Item(symbol, typed_streams(stream_type, [name], options, market)[0], Form.TYPED)

    echo: dict[str, object] = {"streamType": stream_type, "symbols": [], "options": options}
    if market is not None:
        echo["market"] = market
    if message.type == "subscribe":
        return _subscribe(message, symbols, item, check, echo)
    kinds = PARTIAL_DEPTHS if stream_type == "depth" and "level" not in options else frozenset({pattern.kind})
    items, rejected = _items(symbols, item, "symbol", None)
    return Unsubscribe(items, rejected, echo, kinds, any_option=not options)


def _raw(message: ClientMessage, check: Check, limit: int) -> Command:
    empty = "Stream list must be non-empty"
    names = _names(message.raw_streams, empty, empty, limit)
    market = _market(message.market)

    def item(name: str) -> Item:
        prefixed = name.partition(":")[0] in _MARKETS
        return Item(name, StreamName.parse(name, market), Form.RAW_PREFIXED if prefixed else Form.RAW)

    echo: dict[str, object] = {"rawStreams": []}
    if market is not None:
        echo["market"] = market
    if message.type == "subscribe":
        return _subscribe(message, names, item, check, echo)
    items, rejected = _items(names, item, "stream", None)
    return Unsubscribe(items, rejected, echo)


def _prices(message: ClientMessage, check: Check, limit: int) -> Command:
    given = next((value for value in (message.symbol, message.asset, message.symbols) if value is not None), None)
    required = "Symbol is required"
    assets = _names(given, required, required, limit)

    def item(asset: str) -> Item:
        if not asset:
            raise _bad(required)
        return Item(asset.upper(), asset_stream(asset, Kind.BOOK_TICKER), Form.PRICE)

    def check_asset(stream: StreamName) -> None:
        try:
            check(stream)
        except MarketError as error:
            meant = asset_of(error.suggestion) if error.suggestion else None
            hint = f". Did you mean {meant}?" if meant else ""
            text = f"Unsupported symbol: {asset_of(stream.symbol)}{hint}"
            raise MarketError(error.code, text, meant) from None

    if message.type == "SUBSCRIBE":
        return _subscribe(message, assets, item, check_asset, None)
    items, rejected = _items(assets, item, "symbol", None)
    return Unsubscribe(items, rejected, None)


def _subscribe(
    message: ClientMessage, names: list[str], item: Callable[[str], Item], check: Check, echo: dict[str, object] | None
) -> Subscribe:
    key = "stream" if message.raw_streams is not None else "symbol"
    items, rejected = _items(names, item, key, check)
    pace = pace_of(message.throttle) or (PRICE_PACE if echo is None else None)
    cursors: dict[str, int] = _convert(message.since, dict[str, int], "since must map streams to cursors") or {}
    since = cursors_of(cursors, {item.sent: item.stream for item in items}, _market(message.market))
    return Subscribe(items, rejected, echo, pace, message.snapshot is not False, since)


def _items(
    names: list[str], item: Callable[[str], Item], key: str, check: Check | None
) -> tuple[list[Item], list[Rejection]]:
    """The items of `names`, one for each stream and form, and what was named in vain."""
    items: dict[tuple[StreamName, Form], Item] = {}
    rejected = []
    for name in names:
        try:
            named = item(name)
            if check is not None:
                check(named.stream)
            items.setdefault((named.stream, named.form), named)
        except MarketError as error:
            rejected.append(Rejection(key, name[:80], error))
    return list(items.values()), rejected


def _historical_klines(message: ClientMessage) -> HistoricalKlines:
    for value, name in ((message.symbol, "Symbol"), (message.interval, "Interval")):
        if not isinstance(value, str) or not value:
            raise _bad(f"{name} is required")
    market = _market(message.market) or (Market.FUTURES if message.is_futures is True else Market.SPOT)
    limit = _whole_number(message.limit, f"limit must be a whole number between 1 and {MAX_ROWS}")
    return HistoricalKlines(
        message.symbol,
        market,
        message.interval,
        DEFAULT_ROWS if limit is None else min(limit, MAX_ROWS),
        _whole_number(message.start_time, "startTime must be in ms since the epoch")
        or None,  # 0 is what a client sends that means none
        _whole_number(message.end_time, "endTime must be in ms since the epoch") or None,
    )


def _names(value: object, wrong: str, empty: str, limit: int) -> list[str]:
    """The names in a list, or in a string alone."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _bad(wrong)
    if not names:
        raise _bad(empty)
    if len(names) > limit:
        raise MarketError(Code.TOO_MANY_STREAMS, f"At most {limit} streams a client, {len(names)} asked for")
    return names


def _options(message: ClientMessage) -> dict[str, str | int]:
    """The options; some clients put `interval` beside them."""
    options: dict[str, str | int] = _convert(message.options, dict[str, str | int], "Invalid options") or {}
    if message.interval is not None:
        options.setdefault("interval", _convert(message.interval, str, "Invalid interval"))
    return options


def _market(value: object) -> Market | None:
    market: Market | None = _convert(value, Market, "market must be spot or futures")
    return market


def _whole_number(value: object, wrong: str) -> int | None:
    """A number, also one that a client sends as text. Raises MarketError (`wrong`)."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number: int = _convert(value, int, wrong, strict=False)
    if not 0 <= number < 1 << 53:
        raise _bad(wrong)
    return number


def _convert(value: object, kind: Any, wrong: str, *, strict: bool = True) -> Any:  # noqa: ANN401 # an instance of `kind`
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise _bad(wrong) from None


def _shown(value: object) -> str:
    """A client's value in a refusal; JavaScript, in which the original was written, calls a missing one undefined."""
    return value[:40] if isinstance(value, str) else "undefined"


def _bad(message: str) -> MarketError:
    return MarketError(Code.BAD_REQUEST, message)
