"""Frames that no exchange should send, and some that theirs has sent: what clients must survive."""

from typing import Final, Literal, TypeAlias

from binance.frames import wrap_payload
from exchange.broadcast import frame, text_frame

Garbage: TypeAlias = Literal[
    "invalid_json", "unknown_stream", "error", "reply", "binary", "empty", "not_utf8", "oversized", "reserved_opcode"
]
"""The names by which tests ask for them."""

OVERSIZED_BYTES: Final = 5 * 1024 * 1024
_BINARY: Final = 0x82
# RFC 6455, 5.2: opcode 3 is reserved for further kinds of data.
_RESERVED: Final = 0x83

_FRAMES: Final[dict[Garbage, bytes]] = {
    "invalid_json": text_frame(b'{"stream":"btcusdt@trade","data":'),
    "unknown_stream": text_frame(wrap_payload("nosuchusdt@trade", b'{"e":"trade","E":1}')),
    "error": text_frame(b'{"error":{"code":2,"msg":"Invalid request: unknown"},"id":null}'),
    "reply": text_frame(b'{"result":null,"id":4294967295}'),
    "binary": frame(_BINARY, b'{"stream":"btcusdt@trade","data":{}}'),
    "empty": text_frame(b""),
    "not_utf8": text_frame(b"\xff\xfe\x00"),
    "reserved_opcode": frame(_RESERVED, b"?"),
}


def garbage_frame(name: Garbage) -> bytes:
    """One WebSocket frame of the kind asked for; `oversized` and `reserved_opcode` end a client's connection."""
    return text_frame(b" " * OVERSIZED_BYTES) if name == "oversized" else _FRAMES[name]
