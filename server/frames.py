"""Frames: one encoded message as it goes over a WebSocket, made once and shared by all its receivers."""

import zlib
from collections.abc import Sequence
from typing import Final

from market.streams import StreamName
from server.encodings import Encoding

_FIN: Final = 0x80
_COMPRESSED: Final = 0x40  # RSV1 (RFC 7692, 6)
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_SHORT_MAX: Final = 125
_MEDIUM_MAX: Final = 0xFFFF

COMPRESS_FROM_BYTES: Final = 1024
"""Smaller frames go plain: compressing them costs more than it saves."""
_TAIL: Final = b"\x00\x00\xff\xff"  # what a sync flush ends with, and permessage-deflate leaves out (RFC 7692, 7.2.1)


def text_frame(text: bytes) -> bytes:
    """A whole unmasked WebSocket text frame around UTF-8 `text` (RFC 6455, 5.2)."""
    return _head(_FIN | _TEXT, len(text)) + text


def binary_frame(data: bytes) -> bytes:
    """A whole unmasked WebSocket binary frame around `data` (RFC 6455, 5.2)."""
    return _head(_FIN | _BINARY, len(data)) + data


def deflated_frame(data: bytes, *, binary: bool = False) -> bytes:
    """A whole compressed frame that decodes in any context: it refers to nothing that was sent before (RFC 7692)."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -12)
    body = (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
    return _head(_FIN | _COMPRESSED | (_BINARY if binary else _TEXT), len(body)) + body


def _head(first: int, length: int) -> bytes:
    if length <= _SHORT_MAX:
        return bytes((first, length))
    if length <= _MEDIUM_MAX:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


class Frame:
    """One encoded message of a stream; `body` is what a client reads: UTF-8 text, or bytes of a binary encoding."""

    __slots__ = ("_deflated", "body", "cursor", "encoding", "plain", "stream")

    def __init__(self, stream: StreamName, cursor: int, encoding: Encoding, body: bytes) -> None:
        self.stream = stream
        self.cursor = cursor
        self.encoding = encoding
        self.body = body
        self.plain = binary_frame(body) if encoding.binary else text_frame(body)
        self._deflated: bytes | None = None

    @property
    def deflated(self) -> bytes:
        """The frame for clients that negotiated permessage-deflate, compressed at most once."""
        if self._deflated is None:
            small = len(self.body) < COMPRESS_FROM_BYTES
            self._deflated = self.plain if small else deflated_frame(self.body, binary=self.encoding.binary)
        return self._deflated


class Batch:
    """Frames that go to the same receivers in the same loop turn, joined at most once for each wire form."""

    __slots__ = ("_deflated", "frames", "plain")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.plain = b"".join([frame.plain for frame in frames])
        """The bytes to write to a WebSocket."""
        self._deflated: bytes | None = None

    @property
    def deflated(self) -> bytes:
        """The bytes to write to a WebSocket with permessage-deflate."""
        if self._deflated is None:
            self._deflated = b"".join([frame.deflated for frame in self.frames])
        return self._deflated
