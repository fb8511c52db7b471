"""What the messages of JSON clients mean: documents 000 and 001, and in upper case document 004. Pure.

Texts of refusals are the original's. Shapes: docs/protocol.md.
"""

from collections.abc import Callable, Collection
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from market.errors import Code, MarketError
from market.requests import asset_of, asset_stream, typed_streams
from market.streams import ALL, ARRAY, PARTIAL_DEPTHS, Kind, Market, StreamName
from server.doors.json_messages import (
    ClientMessage,
    bad_request,
    convert,
    market_of,
    names_in,
    options_of,
    shown,
    whole_number,
)
from server.every import is_every
from server.groups import Pace
from server.replay.requests import ReplayWish, parse_replay_wish, parse_stop
from server.wishes import cursors_of, pace_of

PRICE_PACE: Final = Pace(1000)
"""How often document 004's clients hear of a price unless they ask for another pace: about once a second."""
DEFAULT_ROWS: Final = 500
MAX_ROWS: Final = 1000
"""Candles in one answer (document 001)."""
_WRONG_SYMBOLS: Final = "Symbols must be a non-empty array"
_NO_SYMBOLS: Final = "Symbol list must be non-empty"
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


class GetReplay(NamedTuple):
    """Streams of a recording to send; `echo` as in `Subscribe`."""

    items: list[Item]
    rejected: list[Rejection]
    echo: dict[str, object]
    wish: ReplayWish


class StopReplay(NamedTuple):
    """A replay of the client's to end."""

    replay_id: str


class Authenticate(NamedTuple):
    """A token that takes the place of the one that the client came with, not checked in any way."""

    token: object


class Ping(NamedTuple):
    """A sign of life to answer."""


Command: TypeAlias = (
    Subscribe | Unsubscribe | UnsubscribeAll | HistoricalKlines | GetReplay | StopReplay | Authenticate | Ping
)


def parse_command(message: ClientMessage, check: Check, limit: int) -> Command:
    """What the client wants; each name is judged by itself, what it subscribes to also by `check`.

    Raises MarketError for what is wrong as a whole, and for more than `limit` names
    (too_many_streams).
    """
    if message.type is not None and not isinstance(message.type, str):
        raise bad_request("Invalid message format")
    match message.type:
        case "subscribe" | "unsubscribe" if message.raw_streams is not None:
            return _raw(message, check, limit)
        case "subscribe" | "unsubscribe":
            return _typed(message, check, limit)
        case "SUBSCRIBE" | "UNSUBSCRIBE":
            return _prices(message, check, limit)
        case "getHistoricalKlines":
            return _historical_klines(message)
        case "getReplay" | "stopReplay":
            return _get_replay(message, limit) if message.type == "getReplay" else _stop_replay(message)
        case "authenticate" | "ping" | "PING":
            return Authenticate(message.token) if message.type == "authenticate" else Ping()
    if message.is_upper:
        raise MarketError(Code.UNKNOWN_EVENT, "Unknown message type")
    raise MarketError(Code.UNKNOWN_EVENT, f"Unknown message type: {shown(message.type)}")


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
        raise bad_request(f"Not subscribed to stream type: {request.echo and request.echo['streamType']}")
    symbols = {item.stream.symbol for item in request.items}
    leaving = [
        stream
        for stream in of_type
        if (ALL in symbols or stream.symbol in symbols) and (request.any_option or stream.option == named.option)
    ]
    if not leaving and any(is_every(stream) for stream in of_type):
        raise bad_request("Subscribed to ALL symbols: unsubscribe ALL")
    return leaving


def covered(request: GetReplay, check: Check) -> GetReplay:
    """`request`, with the streams that `check` refuses among its rejections."""
    key = "stream" if "rawStreams" in request.echo else "symbol"
    items, rejected = [], [*request.rejected]
    for item in request.items:
        try:
            check(item.stream)
        except MarketError as error:
            rejected.append(Rejection(key, item.sent, error))
        else:
            items.append(item)
    return request._replace(items=items, rejected=rejected)


class _Named(NamedTuple):
    """What a request names, how each name becomes an item, and what an acknowledgement repeats."""

    names: list[str]
    item: Callable[[str], Item]
    echo: dict[str, object]


def _typed(message: ClientMessage, check: Check, limit: int) -> Command:
    stream_type = message.stream_type
    if stream_type == "all" and message.type == "unsubscribe":
        symbols = names_in(message.symbols, _WRONG_SYMBOLS, _NO_SYMBOLS, 1)
        if symbols[0].upper() == "ALL":
            return UnsubscribeAll({"streamType": stream_type, "symbols": symbols})
    named, pattern = _typed_names(message, limit)
    if message.type == "subscribe":
        return _subscribe(message, named.names, named.item, check, named.echo)
    options = options_of(message)
    kinds = PARTIAL_DEPTHS if stream_type == "depth" and "level" not in options else frozenset({pattern.kind})
    items, rejected = _items(named.names, named.item, "symbol", None)
    return Unsubscribe(items, rejected, named.echo, kinds, any_option=not options)


def _typed_names(message: ClientMessage, limit: int) -> tuple[_Named, StreamName]:
    """The symbols of a typed request, and a stream that differs from theirs in the symbol only."""
    stream_type = message.stream_type
    if not isinstance(stream_type, str):
        raise MarketError(Code.INVALID_STREAM, f"Invalid stream type: {shown(stream_type)}")
    options, market = options_of(message), market_of(message.market)
    # Refuses type and options once, not by symbol.
    pattern = typed_streams(stream_type, [_ANY_SYMBOL], options, market)[0]
    symbols = names_in(message.symbols, _WRONG_SYMBOLS, _NO_SYMBOLS, limit)

    def item(symbol: str) -> Item:
        if symbol.upper() in ("ALL", ALL) and len(symbols) > 1:
            raise bad_request("ALL must be alone in the list")
        if symbol == ARRAY:
            raise MarketError(Code.INVALID_SYMBOL, f"Invalid symbol: {symbol}")
        name = ALL if symbol == _EVERY_LIQUIDATION and pattern.kind is Kind.FORCE_ORDER else symbol
        return Item(symbol, typed_streams(stream_type, [name], options, market)[0], Form.TYPED)

    echo: dict[str, object] = {"streamType": stream_type, "symbols": [], "options": options}
    if market is not None:
        echo["market"] = market
    return _Named(symbols, item, echo), pattern


def _raw(message: ClientMessage, check: Check, limit: int) -> Command:
    named = _raw_names(message, limit)
    if message.type == "subscribe":
        return _subscribe(message, named.names, named.item, check, named.echo)
    items, rejected = _items(named.names, named.item, "stream", None)
    return Unsubscribe(items, rejected, named.echo)


def _raw_names(message: ClientMessage, limit: int) -> _Named:
    empty = "Stream list must be non-empty"
    names = names_in(message.raw_streams, empty, empty, limit)
    market = market_of(message.market)

    def item(name: str) -> Item:
        prefixed = name.partition(":")[0] in _MARKETS
        return Item(name, StreamName.parse(name, market), Form.RAW_PREFIXED if prefixed else Form.RAW)

    echo: dict[str, object] = {"rawStreams": []}
    if market is not None:
        echo["market"] = market
    return _Named(names, item, echo)


def _stop_replay(message: ClientMessage) -> StopReplay:
    return StopReplay(parse_stop({"id": message.id}))


def _get_replay(message: ClientMessage, limit: int) -> GetReplay:
    """What to replay, its streams named as in a subscription; their symbols may trade no more."""
    asked = {
        "recording": message.recording,
        "startTime": message.start_time,
        "endTime": message.end_time,
        "speed": message.speed,
    }
    wish = parse_replay_wish({name: value for name, value in asked.items() if value is not None})
    is_raw = message.raw_streams is not None
    named = _raw_names(message, limit) if is_raw else _typed_names(message, limit)[0]
    items, rejected = _items(named.names, named.item, "stream" if is_raw else "symbol", None)
    return GetReplay(items, rejected, named.echo, wish)


def _prices(message: ClientMessage, check: Check, limit: int) -> Command:
    given = next((value for value in (message.symbol, message.asset, message.symbols) if value is not None), None)
    required = "Symbol is required"
    assets = names_in(given, required, required, limit)

    def item(asset: str) -> Item:
        if not asset:
            raise bad_request(required)
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
    cursors: dict[str, int] = convert(message.since, dict[str, int], "since must map streams to cursors") or {}
    since = cursors_of(cursors, {item.sent: item.stream for item in items}, market_of(message.market))
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
            raise bad_request(f"{name} is required")
    market = market_of(message.market) or (Market.FUTURES if message.is_futures is True else Market.SPOT)
    limit = whole_number(message.limit, f"limit must be a whole number between 1 and {MAX_ROWS}")
    return HistoricalKlines(
        message.symbol,
        market,
        message.interval,
        DEFAULT_ROWS if limit is None else min(limit, MAX_ROWS),
        # 0 is what a client sends that means none.
        whole_number(message.start_time, "startTime must be in ms since the epoch") or None,
        whole_number(message.end_time, "endTime must be in ms since the epoch") or None,
    )
