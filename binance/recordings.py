"""Recordings of exchange traffic: the line format, and reading it as a stream.

A recording is gzip (of any number of members) of one JSON object a line:
`{"ts": <receive time in ms or null>, "market": "spot"|"futures", "conn": <path>, "raw": <the message>}`.
`raw` stands in the line byte for byte as it was received. Members that we write tell in their header
how long they are and which times they hold, so that a time is found without reading all before it;
for any gzip reader they are ordinary ones. Source: RFC 1952, 2.3.1.1 ("Extra field").
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import unquote

import msgspec
import structlog

from binance.frames import slice_frame
from market.streams import Market

SUFFIX: Final = ".ndjson.gz"
"""What files of recordings are called at the end."""
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line is none of ours: reading ends there."""

_REST: Final = ("/api/", "/fapi/")
# 10 % larger than zlib's default, in half the time.
_LEVEL: Final = 4
# Magic, deflate, FEXTRA, no time, no hints, unknown system, length of the extra field; then its one
# subfield: name, length, size of the whole member, earliest and latest ts.
_HEAD: Final = struct.Struct("<2sBBIBBH2sHIqq")
_TAIL: Final = struct.Struct("<II")
_MAGIC: Final = b"\x1f\x8b"
_NAME: Final = b"TC"
_SUBFIELD_BYTES: Final = 20

_log = structlog.get_logger(__name__)


class RecordedLine(msgspec.Struct):
    """One line; `raw` is the message's bytes."""

    ts: int | None
    market: Market
    conn: str
    raw: msgspec.Raw


class RecordedMessage(msgspec.Struct):
    """One message of a stream, or the body of a REST answer where `stream` is None.

    `path` is the connection's URL path, for REST with its query; `ts` is the receive time in ms.
    """

    ts: int | None
    market: Market
    path: str
    stream: str | None
    payload: bytes


class Member(NamedTuple):
    """One gzip member of ours: where it stands in its file, how long it is, and which times it holds, in ms."""

    offset: int
    size: int
    earliest_ms: int
    latest_ms: int


_decode: Final = msgspec.json.Decoder(RecordedLine).decode


def encode_line(ts_ms: int, market: Market, path: str, raw: bytes) -> bytes:
    """The line of one message received at `ts_ms` on a connection of URL path `path`.

    Raises ValueError for a message with a line break: a line must stay a line.
    """
    if b"\n" in raw:
        raise ValueError("message has a line break")
    head = f'{{"ts":{ts_ms},"market":"{market}","conn":"{path}","raw":'
    return head.encode() + raw + b"}\n"


def decode_line(line: bytes) -> RecordedMessage | None:
    """The message in a line, None for one of no stream.

    Raises msgspec.DecodeError or ValueError for what is no such line.
    """
    recorded = _decode(line)
    raw = bytes(recorded.raw)
    if recorded.conn.startswith(_REST):
        return RecordedMessage(recorded.ts, recorded.market, recorded.conn, None, raw)
    sliced = slice_frame(raw)
    if sliced is not None:
        return RecordedMessage(recorded.ts, recorded.market, recorded.conn, sliced[0].decode(), sliced[1])
    # Raw mode: the one stream stands in the path.
    _, _, name = unquote(recorded.conn).partition("/ws/")
    if not name or "/" in name:
        return None
    return RecordedMessage(recorded.ts, recorded.market, recorded.conn, name, raw)


def encode_member(lines: bytes, earliest_ms: int, latest_ms: int) -> bytes:
    """Whole lines as one gzip member that `members` finds."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(lines) + deflate.flush()
    tail = _TAIL.pack(zlib.crc32(lines), len(lines) & 0xFFFFFFFF)
    size = _HEAD.size + len(body) + len(tail)
    extra = (_SUBFIELD_BYTES + 4, _NAME, _SUBFIELD_BYTES, size, earliest_ms, latest_ms)
    return _HEAD.pack(_MAGIC, zlib.DEFLATED, 4, 0, 0, 255, *extra) + body + tail


def members(path: Path, offset: int = 0) -> Iterator[Member]:
    """The members of ours in a file from the one at `offset` on, by their headers alone.

    Ends at the file's end, at a member that was not written to its end, and at one that is not ours.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while (member := _member_at(file, offset)) is not None and offset + member.size <= end:
            yield member
            offset += member.size


def lines(path: Path, offset: int = 0) -> Iterator[bytes]:
    """The whole lines of a recording, one at a time, from the member at `offset` on.

    A file that breaks off (its writer was killed, or is at work) ends at its last whole line.
    """
    with path.open("rb") as raw:
        raw.seek(offset)
        with gzip.GzipFile(fileobj=raw) as file:
            while True:
                try:
                    line = file.readline(MAX_LINE_BYTES)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    _log.warning("recording breaks off", path=str(path), error=str(error))
                    return
                if not line.endswith(b"\n"):
                    if len(line) < MAX_LINE_BYTES:  # its last line, of a writer that ends none
                        yield from filter(None, (line,))
                    else:
                        _log.warning("recording has an endless line", path=str(path))
                    return
                yield line


def read(path: Path, offset: int = 0) -> Iterator[RecordedMessage]:
    """The messages of a recording, one at a time. What is no message of a stream is passed over.

    It ends where `lines` does; a broken line is logged and passed over.
    """
    for line in lines(path, offset):
        try:
            message = decode_line(line)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.warning("recording has a broken line", path=str(path), error=str(error))
            continue
        if message is not None:
            yield message


def _member_at(file: BinaryIO, offset: int) -> Member | None:
    file.seek(offset)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, _, _, _, _, _, _, name, length, size, earliest_ms, latest_ms = _HEAD.unpack(head)
    if (magic, name, length) != (_MAGIC, _NAME, _SUBFIELD_BYTES) or size <= _HEAD.size:
        return None
    return Member(offset, size, earliest_ms, latest_ms)
