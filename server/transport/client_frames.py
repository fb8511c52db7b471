"""The frame that nearly every message of a client is: whole, masked, short. Pure. Source: RFC 6455, 5.2.

All others (fragments, control frames, compressed, long or broken ones, several at once) are left to
the sans-I/O core of `websockets`; making one of its parsers for a frame costs ten times as much.
"""

from typing import Final

from websockets.frames import apply_mask  # type: ignore[attr-defined] # compiled where it can be, else Python

_TEXT: Final = 0x81
_BINARY: Final = 0x82
"""FIN and the opcode; no extension bits."""
_MASKED: Final = 0x80
_SHORT_MAX: Final = _MASKED | 125
_MEDIUM: Final = _MASKED | 126
_SHORT_HEAD: Final = 6
_MEDIUM_HEAD: Final = 8


def whole_message(data: bytes, max_bytes: int) -> str | bytes | None:
    """The message if `data` is exactly one plain frame with all of it, of at most 65,535 bytes; else None."""
    if len(data) < _SHORT_HEAD or data[0] not in {_TEXT, _BINARY}:
        return None
    if _MASKED <= data[1] <= _SHORT_MAX:
        size, head = data[1] - _MASKED, _SHORT_HEAD
    elif data[1] == _MEDIUM:
        size, head = data[2] << 8 | data[3], _MEDIUM_HEAD
    else:
        return None
    if len(data) != head + size or size > max_bytes:
        return None
    payload = apply_mask(data[head:], data[head - 4 : head])
    if data[0] == _BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
