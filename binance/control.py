"""Binance's live control protocol, server side: requests parsed, answers built. Pure, no I/O.

Shared by the exchange stand-in and by our own Binance-compatible door. Sources: Binance "WebSocket
Streams", "Live Subscribing/Unsubscribing to streams" and its table of errors (spot); "Live
Subscribing/Unsubscribing to streams" (USD-M futures). The documents print errors flat; the wire
nests them, `{"error":{"code":2,"msg":"..."},"id":4}`, and so does this module.
"""

import json
import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final, NoReturn, TypeAlias

import msgspec

from binance.routes import MAX_STREAMS
from market.streams import Market

RequestId: TypeAlias = int | str | None

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")

_COMBINED: Final = "combined"
_INT64: Final = range(-(2**63), 2**63)
_UNSIGNED: Final = range(2**64)
# "Alphanumeric, at most 36": the length of a UUID, whose hyphens are therefore allowed.
_TEXT_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,36}\Z")
_LISTEN_KEY: Final = re.compile(r"[0-9A-Za-z]{1,128}\Z")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_STREAM: Final = re.compile(r"(?:![A-Za-z]\w*(?:@[\w+:]+)*|[^\W_][\w.-]*(?:@[\w+:]+)+)\Z")


class ErrorCode(IntEnum):
    """The documented error codes of live control."""

    UNKNOWN_PROPERTY = 0
    INVALID_VALUE = 1
    INVALID_REQUEST = 2
    INVALID_JSON = 3


class ControlError(ValueError):
    """A request that is refused: Binance's code and text, and the id to answer to (None = unreadable)."""

    def __init__(self, code: ErrorCode, message: str, request_id: RequestId = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id


class Subscribe(msgspec.Struct, frozen=True):
    """`SUBSCRIBE`: receive these streams too."""

    id: RequestId
    streams: tuple[str, ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """`UNSUBSCRIBE`: receive these streams no longer."""

    id: RequestId
    streams: tuple[str, ...]


class ListSubscriptions(msgspec.Struct, frozen=True):
    """`LIST_SUBSCRIPTIONS`: tell what is subscribed."""

    id: RequestId


class SetCombined(msgspec.Struct, frozen=True):
    """`SET_PROPERTY` of the only property there is: whether payloads come wrapped."""

    id: RequestId
    value: bool


class GetCombined(msgspec.Struct, frozen=True):
    """`GET_PROPERTY` of `combined`."""

    id: RequestId


ControlRequest: TypeAlias = Subscribe | Unsubscribe | ListSubscriptions | SetCombined | GetCombined


class Outcome(msgspec.Struct, frozen=True):
    """What one text frame led to: the frame to answer with, and the streams that came and went."""

    reply: bytes
    request_id: RequestId = None
    subscribed: tuple[str, ...] = ()
    unsubscribed: tuple[str, ...] = ()
    is_refused: bool = False


def is_well_formed(name: str) -> bool:
    """Whether `name` has the shape of a stream name; its symbol and kind need not exist."""
    return _STREAM.match(name) is not None


def parse_request(market: Market, text: str) -> ControlRequest:
    """The request in a client's text frame. Raises ControlError with Binance's code and wording.

    `id` is an int64, a string of at most 36 characters or null on spot; on futures an unsigned
    integer or such a string, which the documentation does not mention and Binance's own client for
    futures (binance-sdk-derivatives-trading-usds-futures 18.0.1) sends. It must be there on both.
    """
    body = _decode(text)
    if not isinstance(body, dict) or "method" not in body:
        raise ControlError(
            ErrorCode.INVALID_REQUEST,
            f"Invalid request: missing field `method` at {_position(text, len(text))}",
            _readable_id(market, body),
        )
    if "id" not in body or not _is_id(market, body["id"]):
        raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: request ID must be an unsigned integer")
    request_id: RequestId = body["id"]
    method, params = body["method"], body.get("params")
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        streams = _strings(params, request_id)
        return Subscribe(request_id, streams) if method == "SUBSCRIBE" else Unsubscribe(request_id, streams)
    if method == "LIST_SUBSCRIPTIONS":
        return ListSubscriptions(request_id)
    if method == "SET_PROPERTY":
        return SetCombined(request_id, _property_value(params, request_id))
    if method == "GET_PROPERTY":
        _check_property(params, 1, request_id)
        return GetCombined(request_id)
    known = ", ".join(f"`{name}`" for name in METHODS)
    raise ControlError(
        ErrorCode.INVALID_REQUEST,
        f"Invalid request: unknown variant `{str(method)[:80]}`, expected one of {known}",
        request_id,
    )


def encode_result(result: bool | list[str] | None, request_id: RequestId) -> bytes:  # noqa: FBT001 # the wire's value
    """A positive answer: `{"result":null,"id":1}`."""
    return _encode({"result": result, "id": request_id})


def encode_error(error: ControlError) -> bytes:
    """A refusal as the wire has it: `{"error":{"code":2,"msg":"Invalid request: ..."},"id":4}`."""
    return _encode({"error": {"code": int(error.code), "msg": error.message}, "id": error.request_id})


class ControlSession:
    """One connection's end of the protocol: what is subscribed, and whether payloads come wrapped.

    `combined` starts false on `/ws` and true on `/stream`. `streams` holds the subscribed names in
    the order in which they came, at most `limit`. `is_stream` tells a malformed name (refused) from
    a well-formed one; whether anything will ever arrive on it is not this class's business.
    """

    def __init__(
        self,
        market: Market,
        *,
        combined: bool,
        limit: int = MAX_STREAMS,
        is_stream: Callable[[str], bool] = is_well_formed,
    ) -> None:
        self.market = market
        self.combined = combined
        self.limit = limit
        self._is_stream = is_stream
        self._streams: dict[str, None] = {}

    @property
    def streams(self) -> tuple[str, ...]:
        """The subscribed names, oldest first."""
        return tuple(self._streams)

    def open(self, names: Iterable[str]) -> tuple[str, ...]:
        """Subscribe what the parts of the URL name; returns the new streams. Raises ControlError.

        A part of letters and digits alone is a listen key, whose streams are not public: accepted
        and silent. ccxt puts the number of its connection there.
        """
        return self.subscribe(name for name in names if not _LISTEN_KEY.match(name))

    def subscribe(self, names: Iterable[str], request_id: RequestId = None) -> tuple[str, ...]:
        """Add `names`; returns the new ones. Raises ControlError, changing nothing."""
        added = tuple(name for name in dict.fromkeys(names) if name not in self._streams)
        if not all(self._is_stream(name) for name in added):
            raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: invalid stream", request_id)
        if len(self._streams) + len(added) > self.limit:
            message = f"Invalid request: too many streams, at most {self.limit} on one connection"
            raise ControlError(ErrorCode.INVALID_REQUEST, message, request_id)
        self._streams.update(dict.fromkeys(added))
        return added

    def withdraw(self, outcome: Outcome, reason: str) -> bytes:
        """Forget the streams that came with `outcome`, whose server cannot carry them; returns the refusal instead."""
        for name in outcome.subscribed:
            self._streams.pop(name, None)
        error = ControlError(ErrorCode.INVALID_REQUEST, f"Invalid request: {reason}", outcome.request_id)
        return encode_error(error)

    def handle(self, text: str) -> Outcome:
        """Answer one text frame of the client's."""
        try:
            return self._carry_out(parse_request(self.market, text))
        except ControlError as error:
            return Outcome(encode_error(error), error.request_id, is_refused=True)

    def _carry_out(self, request: ControlRequest) -> Outcome:
        done = encode_result(None, request.id)
        if isinstance(request, Subscribe):
            return Outcome(done, request.id, subscribed=self.subscribe(request.streams, request.id))
        if isinstance(request, Unsubscribe):
            removed = tuple(name for name in dict.fromkeys(request.streams) if name in self._streams)
            for name in removed:
                del self._streams[name]
            return Outcome(done, request.id, unsubscribed=removed)
        if isinstance(request, SetCombined):
            self.combined = request.value
            return Outcome(done, request.id)
        if isinstance(request, GetCombined):
            return Outcome(encode_result(self.combined, request.id), request.id)
        return Outcome(encode_result(list(self._streams), request.id), request.id)


_encode: Final = msgspec.json.Encoder().encode


def _decode(text: str) -> Any:  # noqa: ANN401 # whatever JSON holds
    """The standard library's decoder: the one that knows the line and column of an error."""

    def reject(constant: str) -> NoReturn:
        raise json.JSONDecodeError("not JSON", text, text.find(constant))

    try:
        body = json.loads(text, parse_constant=reject)
        if surrogate := _SURROGATE.search(text):
            _check_characters(body, text, surrogate.start())
    except json.JSONDecodeError as error:
        where = _position(text, error.pos + 1)
    except (RecursionError, ValueError):
        # Nested without end, or a number of thousands of digits.
        where = _position(text, 1)
    else:
        return body
    raise ControlError(ErrorCode.INVALID_JSON, f"Invalid JSON: expected value at {where}")


def _check_characters(body: object, text: str, at: int) -> None:
    """Raise JSONDecodeError at `at` where a string has half a character: no answer could repeat that."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise json.JSONDecodeError("half a surrogate pair", text, at) from None


def _position(text: str, length: int) -> str:
    """Line and column (from 1) of the last of the first `length` characters."""
    head = text[: max(0, length - 1)]
    line = head.count("\n") + 1
    return f"line {line} column {len(head) - head.rfind(chr(10))}"


def _is_id(market: Market, value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in (_INT64 if market is Market.SPOT else _UNSIGNED)
    if value is None:
        return market is Market.SPOT
    return isinstance(value, str) and _TEXT_ID.match(value) is not None


def _readable_id(market: Market, body: object) -> RequestId:
    found: RequestId = body.get("id") if isinstance(body, dict) else None
    return found if _is_id(market, found) else None


def _strings(params: object, request_id: RequestId) -> tuple[str, ...]:
    if not isinstance(params, list):
        raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: params must be an array", request_id)
    if not all(isinstance(name, str) for name in params):
        raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: invalid stream", request_id)
    return tuple(params)


def _check_property(params: object, most: int, request_id: RequestId) -> list[Any]:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: property name must be a string", request_id)
    if len(params) > most:
        raise ControlError(ErrorCode.INVALID_REQUEST, "Invalid request: too many parameters", request_id)
    if params[0] != _COMBINED:
        raise ControlError(ErrorCode.UNKNOWN_PROPERTY, "Unknown property", request_id)
    return params


def _property_value(params: object, request_id: RequestId) -> bool:
    values = _check_property(params, 2, request_id)
    if len(values) == 1 or not isinstance(values[1], bool):
        raise ControlError(ErrorCode.INVALID_VALUE, "Invalid value type: expected Boolean", request_id)
    return values[1]
