"""Recordings made for tests of what replays them, and what is in them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from binance.frames import wrap_payload
from binance.recording_writer import RecordingWriter
from market.streams import StreamName

START = 1_723_161_600_000


class Row(NamedTuple):
    """One stored message; `ts` in ms."""

    ts: int
    stream: StreamName
    payload: bytes


def trade(number: int, ts: int, symbol: str = "btcusdt", filler: int = 0) -> Row:
    """A trade; its cursor is `number`."""
    payload = b'{"e":"trade","E":%d,"s":"%b","t":%d,"p":"1.50","x":"%b"}' % (
        ts,
        symbol.upper().encode(),
        number,
        b"." * filler,
    )
    return Row(ts, StreamName.parse(f"{symbol}@trade"), payload)


def trades(count: int, step_ms: int = 10, symbol: str = "btcusdt", filler: int = 0) -> list[Row]:
    """Trades with ids from 1 on, `step_ms` apart."""
    return [trade(number, START + number * step_ms, symbol, filler) for number in range(1, count + 1)]


def store(folder: Path, name: str, rows: Iterable[Row], *, flush_every: int = 50, rotate_bytes: int = 10**9) -> str:
    """Write a recording; its id."""
    with RecordingWriter(folder, name, rotate_bytes=rotate_bytes, rotate_s=3600) as writer:
        for number, (ts, stream, payload) in enumerate(rows, start=1):
            writer.write(ts, stream.market, "/stream", wrap_payload(stream.binance_name, payload))
            if number % flush_every == 0:
                writer.flush()
    return writer.recording


def mixed(*parts: Sequence[Row]) -> list[Row]:
    """Rows of several streams in the order of their times."""
    return sorted((row for part in parts for row in part), key=lambda row: row.ts)
