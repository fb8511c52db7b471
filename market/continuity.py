"""Which message comes next: what the ids in a stream's payloads say about messages that are missing. Pure.

Ids of trades and aggregate trades are consecutive; a depth update names the first update id that it
holds (`U`) and, on futures, the last one of the message before (`pu`); of klines every candle is
closed before the next one opens. Sources: Binance "WebSocket Streams" and "How to manage a local
order book correctly" (spot), "Websocket Market Streams" (USD-M futures); the recorded sessions bear
it out.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import field

from market.intervals import HOUR_MS, next_open_time
from market.messages import Message
from market.streams import ALL, ARRAY, Kind, Market, StreamName

MAX_CANDLES: Final = 1_000
"""Candles that are counted as missing at most."""
VOID_RUN: Final = 2
"""Ids in a row that futures trades may leave out: executions that are no trades have ids, too (`X` = NA)."""

_BEIJING_MS: Final = 8 * HOUR_MS
_FIRST_ID: Final = b'"U":'
_PREVIOUS_ID: Final = b'"pu":'
_HEAD_BYTES: Final = 200
"""Where both stand in what Binance sends: before the levels."""

Predecessor: TypeAlias = Callable[[Message], int]
"""The cursor that the message before a message must have reached; 0 or less where the message does not tell."""


class _FirstId(msgspec.Struct, gc=False):
    before: int = field(name="U")


class _PreviousId(msgspec.Struct, gc=False):
    before: int = field(name="pu")


class _CandleState(msgspec.Struct, gc=False):
    open_ms: int = field(name="t")
    closed: bool = field(name="x")


class _KlineState(msgspec.Struct, gc=False):
    candle: _CandleState = field(name="k")


_decode_first_id: Final = msgspec.json.Decoder(_FirstId).decode
_decode_previous_id: Final = msgspec.json.Decoder(_PreviousId).decode
_decode_kline: Final = msgspec.json.Decoder(_KlineState).decode


class CandleState(NamedTuple):
    """Which candle a kline payload tells of, by its open time in ms, and whether it is the last word on it."""

    open_ms: int
    closed: bool


def is_sequenced(stream: StreamName) -> bool:
    """Whether each message of `stream` tells which one came before it; Bybit's trade ids skip."""
    kinds = (Kind.DEPTH,) if stream.market is Market.BYBIT else (Kind.TRADE, Kind.AGG_TRADE, Kind.DEPTH)
    return stream.kind in kinds


def is_unordered(stream: StreamName) -> bool:
    """Whether the messages of `stream` come in no order of their cursors.

    So do liquidations, and book tickers of all symbols: they tell of one symbol at a time, each with
    an event time of its own.
    """
    of_all = stream.symbol in (ALL, ARRAY)
    return stream.kind is Kind.FORCE_ORDER or (of_all and stream.kind is Kind.BOOK_TICKER)


def predecessor_of(stream: StreamName) -> Predecessor:
    """How to read from a message of a sequenced stream which cursor the one before it must have reached."""
    if stream.kind is not Kind.DEPTH:
        return _id_before
    return _before_spot_depth if stream.market is Market.SPOT else _before_futures_depth


def slack_of(stream: StreamName) -> int:
    """How many ids may be left out between two messages without any being missing."""
    return VOID_RUN if stream.market is Market.FUTURES and stream.kind is Kind.TRADE else 0


def follows(stream: StreamName, message: Message, last: int) -> bool:
    """Whether nothing is missing between the cursor `last` and a later `message`; True where nobody can tell."""
    return not is_sequenced(stream) or predecessor_of(stream)(message) <= last + slack_of(stream)


def unbroken(stream: StreamName, messages: Sequence[Message]) -> bool:
    """Whether each of `messages` follows the one before it; True where nobody can tell."""
    return not is_sequenced(stream) or all(
        later.cursor > earlier.cursor and follows(stream, later, earlier.cursor)
        for earlier, later in pairwise(messages)
    )


def past_before(stream: StreamName, messages: Sequence[Message], oldest: Message | None) -> Sequence[Message]:
    """Those of `messages`, in order, that came before `oldest` (None: all); none unless they lead up to it unbroken.

    Both may come from different ingestors: their times of receipt say nothing for certain.
    """
    past = messages
    if oldest is not None:
        same = (oldest.cursor, oldest.payload)
        cut = next((at for at, message in enumerate(messages) if (message.cursor, message.payload) == same), None)
        if cut is not None:
            past = messages[:cut]
        elif is_sequenced(stream):
            past = [message for message in messages if message.cursor < oldest.cursor]
        else:
            past = [message for message in messages if message.received_us < oldest.received_us]
    return past if unbroken(stream, past if oldest is None else [*past, oldest]) else ()


def candle_of(payload: bytes) -> CandleState | None:
    """The candle in a kline payload; None in anything else."""
    try:
        candle = _decode_kline(payload).candle
    except msgspec.DecodeError:
        return None
    return CandleState(candle.open_ms, candle.closed)


def missing_candles(option: str, known: CandleState, new: CandleState) -> list[int]:
    """Open times in ms of the candles before `new` that were never seen closed, from the `known` one on.

    `option` is the kline's (`1m`, `1m@+08:00`). At most MAX_CANDLES of them.
    """
    opens = _opens(option, known.open_ms, new.open_ms)
    if known.closed:
        next(opens, None)
    return list(islice(opens, MAX_CANDLES))


def _opens(option: str, start_ms: int, end_ms: int) -> Iterator[int]:
    interval, _, zone = option.partition("@")
    shift_ms = _BEIJING_MS if zone else 0
    while start_ms < end_ms:
        yield start_ms
        start_ms = next_open_time(interval, start_ms + shift_ms) - shift_ms


def _id_before(message: Message) -> int:
    return message.cursor - 1


def _before_spot_depth(message: Message) -> int:
    first = _number_after(_FIRST_ID, message.payload)
    return (_decoded(_decode_first_id, message.payload) if first is None else first) - 1


def _before_futures_depth(message: Message) -> int:
    previous = _number_after(_PREVIOUS_ID, message.payload)
    return _decoded(_decode_previous_id, message.payload) if previous is None else previous


def _decoded(decode: Callable[[bytes], _FirstId | _PreviousId], payload: bytes) -> int:
    try:
        return decode(payload).before
    except msgspec.DecodeError:  # it does not tell: then it follows whatever was before
        return 0


def _number_after(key: bytes, payload: bytes) -> int | None:
    """The integer after `key` where Binance puts it: decoding the levels behind it would cost 50 times as much."""
    at = payload.find(key, 0, _HEAD_BYTES)
    if at < 0:
        return None
    start = at + len(key)
    end = payload.find(b",", start, start + 24)
    digits = payload[start:end]
    return int(digits) if digits.isdigit() else None
