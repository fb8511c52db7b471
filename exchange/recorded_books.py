"""Maintained books in the recordings of ingestors, turned back into what Binance sent to make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from binance.recordings import RecordedMessage, read
from market.payloads import BOOK_SNAPSHOT
from market.streams import Kind, Market

_BOOK: Final = f"@{Kind.BOOK}"
_CHANGES: Final = f"@{Kind.DEPTH}@100ms"
_SNAPSHOT: Final = f'{{"e":"{BOOK_SNAPSHOT}"'.encode()
_PATHS: Final = {Market.SPOT: "/api/v3/depth", Market.FUTURES: "/fapi/v1/depth"}

_log = structlog.get_logger(__name__)


class _Snapshot(msgspec.Struct):
    s: str
    u: int
    b: msgspec.Raw
    a: msgspec.Raw


class _Change(msgspec.Struct):
    u: int


_decode_snapshot: Final = msgspec.json.Decoder(_Snapshot).decode
_decode_change: Final = msgspec.json.Decoder(_Change).decode


def read_as_exchange(path: Path) -> Iterator[RecordedMessage]:
    """The messages of a recording as an exchange sends them.

    A book's snapshot is an answer of REST depth, its changes are those of the diff stream, each once
    where that was recorded, too.
    """
    latest: dict[tuple[Market, str], int] = {}
    for message in read(path):
        name = message.stream or ""
        if not name.endswith((_BOOK, _CHANGES)):
            yield message
            continue
        is_book = name.endswith(_BOOK)
        key = message.market, name.removesuffix(_BOOK if is_book else _CHANGES)
        if not is_book and key not in latest:
            yield message
            continue
        try:
            if is_book and message.payload.startswith(_SNAPSHOT):
                latest.setdefault(key, 0)
                yield _rest_depth(message)
                continue
            update_id = _decode_change(message.payload).u
        except msgspec.DecodeError as error:
            _log.warning("recorded book not understood", stream=name, error=str(error))
            continue
        if update_id > latest.get(key, 0):
            latest[key] = update_id
            yield msgspec.structs.replace(message, stream=key[1] + _CHANGES)


def _rest_depth(message: RecordedMessage) -> RecordedMessage:
    book = _decode_snapshot(message.payload)
    body = msgspec.json.encode({"lastUpdateId": book.u, "bids": book.b, "asks": book.a})
    path = f"{_PATHS[message.market]}?symbol={book.s}"
    return RecordedMessage(message.ts, message.market, path, None, body)
