"""Socket.IO packets as MessagePack, for clients that use `socket.io-msgpack-parser` (Socket.IO docs, "Custom parser").

A client that sends its CONNECT as binary speaks it; nothing else announces it.
"""

from typing import Any, Final

import msgspec

from market.errors import MarketError
from market.messages import Message
from market.streams import StreamName
from server.doors.packets import ACK, CONNECT_ERROR, EVENT, Packet, check
from server.encodings import Encoding

BINARY_OFFSET: Final = 3
"""What python-socketio adds to EVENT and ACK that carry bytes; MessagePack needs no such kinds."""


class _Wire(msgspec.Struct, omit_defaults=True):
    """One packet: its type, arguments or reason, namespace, and the number of an acknowledgement."""

    type: int
    nsp: str
    data: Any = None
    id: int | None = None


def _extension(code: int, _data: memoryview) -> None:
    """JavaScript's `undefined`, which `notepack.io` writes as an extension of type 0. Raises ValueError for others."""
    if code != 0:
        raise ValueError(f"unknown extension type {code}")


_decode: Final = msgspec.msgpack.Decoder(_Wire, ext_hook=_extension).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def decode_packet(data: bytes) -> Packet:
    """The packet in one binary message. Raises ValueError for what is none."""
    try:
        wire = _decode(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if wire.type > CONNECT_ERROR:
        raise ValueError("unknown packet type")
    if wire.data is not None:
        check(wire.type, wire.data)
    return Packet(wire.type, wire.nsp, wire.data, wire.id)


def encode_packet(kind: int, data: object, namespace: str | None = None, number: int | None = None) -> bytes:
    """One packet as a binary message; `msgspec.Raw` parts of `data`, which hold JSON, are converted."""
    plain = kind - BINARY_OFFSET if kind > ACK + 1 else kind
    return _encode(_Wire(plain, namespace or "/", _without_raw(data), number))


class MsgpackEncoding(Encoding):
    """The same events as another encoding's, as MessagePack; converted once per message."""

    binary = True

    def __init__(self, text: Encoding) -> None:
        self._text = text

    def encode(self, message: Message) -> bytes:
        """The event of `message`."""
        return _convert(self._text.encode(message))

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes | None:
        """The notice of a gap."""
        text = self._text.gap(stream, missed, until, upstream=upstream)
        return None if text is None else _convert(text)

    def refusal(self, stream: StreamName, error: MarketError) -> bytes | None:
        """The notice of a stream that does not come."""
        text = self._text.refusal(stream, error)
        return None if text is None else _convert(text)


def _convert(text: bytes) -> bytes:
    """`42[event, body]` as a binary packet."""
    return _encode(_Wire(EVENT, "/", msgspec.json.decode(text[2:])))


def _without_raw(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {key: _without_raw(part) for key, part in value.items()}
    return [_without_raw(part) for part in value] if isinstance(value, list | tuple) else value
