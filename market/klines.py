"""Candles as rows and in blocks: which block a moment belongs to, and what an answer proves. Pure.

A block is a stretch of BLOCK_ROWS intervals, aligned for everybody. It may hold fewer candles: there are
none before a symbol's listing and none while trading was halted. Source: Binance "Kline/Candlestick data".
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

import msgspec

from market.intervals import next_open_time, open_time

BLOCK_ROWS: Final = 480
"""8 h of minutes, 20 days of hours; one request for it costs the least futures weight per candle."""
PROOF_ROWS: Final = 2
"""How many candles after a block prove that it will not change: the first of them is closed, too."""
LATEST_MS: Final = 10**14
"""No candle is asked for after this, in ms since the epoch: the year 5138, where calendars still work."""

_MONTHS: Final = 12
_EPOCH_YEAR: Final = 1970

_decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_stretch: Final = msgspec.json.Decoder(tuple[int | None, list[msgspec.Raw]]).decode
_encode: Final = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """One candle: when it opens, in ms, and the exchange's own bytes of its 12 columns."""

    open_ms: int
    body: bytes


class Stretch(msgspec.Struct, frozen=True):
    """Candles in ascending order, and what is known of what comes after them.

    `later_ms` is the open time of the next candle, None where there is none yet. `closed` says that
    the candles will not change any more.
    """

    rows: tuple[Row, ...]
    later_ms: int | None = None
    closed: bool = False

    @classmethod
    def of_block(cls, interval: str, number: int, rows: Iterable[Row]) -> Self:
        """A block's candles, out of an answer of BLOCK_ROWS + PROOF_ROWS rows from its start on."""
        end_ms = block_start(interval, number + 1)
        rows = tuple(rows)
        inside = tuple(row for row in rows if row.open_ms < end_ms)
        later_ms = rows[len(inside)].open_ms if len(rows) > len(inside) else None
        # The candle that opens right at the end may have opened this very moment, the block's last
        # one then being counted still; a candle after that one leaves no doubt.
        return cls(inside, later_ms, later_ms is not None and rows[-1].open_ms > end_ms)

    def encode(self) -> bytes:
        """The stretch, which must be closed, as JSON `[later_ms, [row, ...]]`."""
        return _encode((self.later_ms, [msgspec.Raw(row.body) for row in self.rows]))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse of `encode`. Raises ValueError."""
        later_ms, rows = _decode_stretch(body)
        return cls(tuple(map(_row, rows)), later_ms, closed=True)


def decode_rows(body: bytes) -> tuple[Row, ...]:
    """The rows of an answer to klines. Raises ValueError (msgspec.DecodeError) for anything else."""
    return tuple(map(_row, _decode_rows(body)))


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows as the JSON array that Binance answers."""
    return b"[%b]" % b",".join([row.body for row in rows])


def block_number(interval: str, at_ms: int) -> int:
    """Which block a candle that opens at `at_ms` belongs to; not negative from the epoch to LATEST_MS."""
    if interval == "1M":
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        return ((at.year - _EPOCH_YEAR) * _MONTHS + at.month - 1) // BLOCK_ROWS
    return (at_ms - _anchor(interval)) // _block_ms(interval)


def block_start(interval: str, number: int) -> int:
    """The first moment of a block, in ms since the epoch; that of block 0 may lie before the epoch."""
    if interval == "1M":
        year = _EPOCH_YEAR + number * (BLOCK_ROWS // _MONTHS)
        return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
    return _anchor(interval) + number * _block_ms(interval)


def _anchor(interval: str) -> int:
    return open_time(interval, 0)


def _block_ms(interval: str) -> int:
    return BLOCK_ROWS * next_open_time(interval, 0)


def _row(raw: msgspec.Raw) -> Row:
    body = bytes(raw)
    if not body.startswith(b"["):
        raise ValueError(f"no row of a candle: {body[:40]!r}")
    return Row(int(body[1 : body.index(b",")]), body)
