"""Socket.IO packets as MessagePack, for clients that use `socket.io-msgpack-parser` (Socket.IO docs, "Custom parser").

A client that sends its CONNECT as binary speaks it; nothing else announces it.
"""

from typing import Any, Final

import msgspec

from market.messages import Message
from market.streams import StreamName
from server.encodings import Encoding

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
BINARY_OFFSET: Final = 3
"""What python-socketio adds to EVENT and ACK that carry bytes; MessagePack needs no such kinds."""


class MsgpackPacket(msgspec.Struct, omit_defaults=True):
    """One packet: its type, arguments or reason, namespace, and the number of an acknowledgement."""

    type: int
    nsp: str
    data: Any = None
    id: int | None = None


_decode: Final = msgspec.msgpack.Decoder(MsgpackPacket).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def decode_packet(data: bytes) -> MsgpackPacket:
    """The packet in one binary message. Raises ValueError for what is none."""
    try:
        return _decode(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def encode_packet(kind: int, data: object, namespace: str | None = None, number: int | None = None) -> bytes:
    """One packet as a binary message; `msgspec.Raw` parts of `data`, which hold JSON, are converted."""
    plain = kind - BINARY_OFFSET if kind > ACK + 1 else kind
    return _encode(MsgpackPacket(plain, namespace or "/", _without_raw(data), number))


class MsgpackEncoding(Encoding):
    """The same events as another encoding's, as MessagePack; converted once per message."""

    binary = True

    def __init__(self, text: Encoding) -> None:
        self._text = text

    def encode(self, message: Message) -> bytes:
        """The event of `message`."""
        return _convert(self._text.encode(message))

    def gap(self, stream: StreamName, missed: int, until: int) -> bytes:
        """The notice of a gap."""
        return _convert(self._text.gap(stream, missed, until))


def _convert(text: bytes) -> bytes:
    """`42[event, body]` as a binary packet."""
    return _encode(MsgpackPacket(EVENT, "/", msgspec.json.decode(text[2:])))


def _without_raw(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {key: _without_raw(part) for key, part in value.items()}
    return [_without_raw(part) for part in value] if isinstance(value, list | tuple) else value
