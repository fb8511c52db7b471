"""What a Socket.IO client sends over a raw WebSocket, as ready bytes. Pure.

Sources: RFC 6455, 5.2; Engine.IO protocol 4; Socket.IO protocol 5; socket.io-msgpack-parser.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)
"""Clients must mask; a mask of zeros leaves the bytes as they are."""
_SHORT_MAX: Final = 125
_MEDIUM_MAX: Final = 0xFFFF

SID_OPENED: Final = b'0{"sid"'


class Parser(StrEnum):
    """How Socket.IO packets are written: as JSON text, or as socket.io-msgpack-parser does."""

    JSON = "json"
    MSGPACK = "msgpack"


class Step(NamedTuple):
    """Once a frame contains `expected`, `answer` is sent; nothing after the last step."""

    expected: bytes
    answer: bytes


class Handshake(NamedTuple):
    """What makes a subscribed client of a TCP connection."""

    request: bytes
    steps: tuple[Step, ...]


def client_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """A whole masked WebSocket frame of a client. Raises ValueError above 65,535 bytes."""
    length = len(payload)
    if length > _MEDIUM_MAX:
        raise ValueError(f"{length} bytes are too many for a handshake frame")
    if length <= _SHORT_MAX:
        head = bytes((_BINARY if binary else _TEXT, _MASKED | length))
    else:
        head = bytes((_BINARY if binary else _TEXT, _MASKED | 126)) + length.to_bytes(2, "big")
    return head + _NO_MASK + payload


def server_frame(payload: bytes) -> bytes:
    """A whole text frame of a server, for payloads up to 65,535 bytes."""
    length = len(payload)
    head = bytes((_TEXT, length)) if length <= _SHORT_MAX else bytes((_TEXT, 126)) + length.to_bytes(2, "big")
    return head + payload


def handshake(host: str, streams: Sequence[str], parser: Parser = Parser.JSON) -> Handshake:
    """Upgrade, connect to the main namespace and subscribe to `streams` with an acknowledgement.

    `host` is the Host header's value, `address:port`.
    """
    request = (
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
        f"Host: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    arguments = ["subscribe", {"streams": list(streams)}]
    if parser is Parser.JSON:
        steps = (
            Step(SID_OPENED, client_frame(b"40")),
            Step(b'40{"sid"', client_frame(b"420" + msgspec.json.encode(arguments))),
            Step(b"430[", b""),
        )
    else:
        connect = {"type": 0, "nsp": "/"}
        subscribe = {"type": 2, "data": arguments, "id": 0, "nsp": "/"}
        steps = (
            Step(SID_OPENED, client_frame(msgspec.msgpack.encode(connect), binary=True)),
            Step(b"\xa4type\x00", client_frame(msgspec.msgpack.encode(subscribe), binary=True)),
            Step(b"\xa4type\x03", b""),
        )
    return Handshake(request, steps)


def receiver_arguments(script: Handshake) -> list[str]:
    """A handshake as receiver.c takes it: hexadecimal words."""
    words = [script.request.hex()]
    for step in script.steps:
        words += [step.expected.hex(), step.answer.hex()]
    return words[:-1]
