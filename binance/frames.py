"""What a combined connection carries: told apart without decoding the payloads, and built around them.

Sources: Binance "WebSocket Streams": combined events, "Live Subscribing/Unsubscribing to
streams", "serverShutdown".
"""

from typing import Any, Final, TypeAlias

import msgspec

_HEAD: Final = b'{"stream":"'
_MIDDLE: Final = b'","data":'
_HEAD_LENGTH: Final = len(_HEAD)
_MIDDLE_LENGTH: Final = len(_MIDDLE)
# After the payload's own bracket nothing but the envelope's.
_TAILS: Final = (b"}}", b"]}")
_VOID: Final = b'"X":"NA"'

SERVER_SHUTDOWN: Final = b"!serverShutdown"
"""Stream name of the announcement that the server is about to close the connection."""


class Reply(msgspec.Struct, frozen=True):
    """The server's answer to a request; `error` is Binance's code and message, None = done."""

    request_id: int | str | None
    error: tuple[int, str] | None = None


class ServerShutdown(msgspec.Struct, frozen=True):
    """The server is about to close: reconnect at once."""


Control: TypeAlias = Reply | ServerShutdown


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Error(msgspec.Struct):
    code: int
    msg: str = ""


class _Control(msgspec.Struct):
    """Every control frame at once: `{"result":..,"id":..}`, nested and flat errors, raw serverShutdown."""

    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: _Error | None = None
    code: int | None = None
    msg: str = ""
    e: str = ""


_decode_combined: Final = msgspec.json.Decoder(_Combined).decode
_decode_control: Final = msgspec.json.Decoder(_Control).decode


def slice_frame(frame: bytes) -> tuple[bytes, bytes] | None:
    """Stream name and payload of a combined frame, `{"stream":"<name>","data":<payload>}`.

    The payload is the server's bytes, unread and perhaps malformed. Frames in any other shape, as
    with its keys in another order, are decoded as far as needed. None = not a combined frame.
    """
    if frame.startswith(_HEAD) and frame.endswith(_TAILS):
        end = frame.find(b'"', _HEAD_LENGTH)
        name = frame[_HEAD_LENGTH:end]
        # A backslash means that the quote may be part of the name.
        if frame.startswith(_MIDDLE, end) and b"\\" not in name:
            return name, frame[end + _MIDDLE_LENGTH : -1]
    try:
        combined = _decode_combined(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return combined.stream.encode(), bytes(combined.data)


def wrap_payload(name: str, payload: bytes) -> bytes:
    """The text of a combined connection's frame; `slice_frame` undoes it."""
    return b'{"stream":"%b","data":%b}' % (name.encode(), payload)


def server_shutdown(now_ms: int, *, combined: bool) -> bytes:
    """The text that announces that the server is about to close, in ms since the epoch."""
    payload = b'{"e":"serverShutdown","E":%d}' % now_ms
    return wrap_payload(SERVER_SHUTDOWN.decode(), payload) if combined else payload


def parse_control(frame: bytes) -> Control | None:
    """What a frame that carries no stream's data says, or None where it says nothing known.

    Documents print errors flat, `{"code":..,"msg":..,"id":..}`; the wire nests them,
    `{"error":{"code":..,"msg":..},"id":..}`. Both are read.
    """
    try:
        control = _decode_control(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if control.error is not None:
        return Reply(control.id, (control.error.code, control.error.msg))
    if control.code is not None:
        return Reply(control.id, (control.code, control.msg))
    if control.e == SERVER_SHUTDOWN[1:].decode():
        return ServerShutdown()
    return Reply(control.id) if control.result is not msgspec.UNSET else None


def is_void_trade(payload: bytes) -> bool:
    """Whether a futures trade is none: execution type NA comes with price and quantity 0."""
    return _VOID in payload
