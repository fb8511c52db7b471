"""The updates that every server is to deliver: trades of 220 bytes that carry the moment of publishing."""

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

SYMBOLS: Final = (
    *("btcusdt", "ethusdt", "bnbusdt", "solusdt", "adausdt", "xrpusdt", "dogeusdt", "trxusdt", "tonusdt", "linkusdt"),
    *("avaxusdt", "dotusdt", "ltcusdt", "uniusdt", "atomusdt", "nearusdt", "aptusdt", "filusdt", "arbusdt", "opusdt"),
)
EVENT: Final = "trade"
"""Trades are event streams: every one must arrive, no server may replace it by the next."""
PAYLOAD_BYTES: Final = 220


class Update(NamedTuple):
    """One update; `data` is what a trade of Binance looks like, `ts` is in ms since the epoch."""

    stream: str
    cursor: int
    ts: int
    data: dict[str, object]

    @property
    def body(self) -> dict[str, object]:
        """The event's body as Tickcast writes it; the peers send the same."""
        return {"stream": self.stream, "cursor": self.cursor, "ts": self.ts, "data": self.data}


def stream_names(count: int) -> list[str]:
    """The first `count` streams."""
    return [f"spot:{symbol}@{EVENT}" for symbol in SYMBOLS[:count]]


def updates(streams: Sequence[str]) -> Iterator[Update]:
    """Updates without end, the streams in turn.

    The field `x` fills the payload up to PAYLOAD_BYTES and ends in `^` and 16 digits: us of
    CLOCK_MONOTONIC, which is one clock for all processes of a machine.
    """
    cursor = 0
    fillers = {stream: "-" * (PAYLOAD_BYTES - _size(stream)) for stream in streams}
    while True:
        cursor += 1
        for stream, filler in fillers.items():
            yield _update(stream, cursor, filler)


def _size(stream: str) -> int:
    """The payload's size without a filler, for a cursor of six digits."""
    return len(msgspec.json.encode(_update(stream, 100_000, "").data))


def _update(stream: str, cursor: int, filler: str) -> Update:
    ts = time.time_ns() // 1_000_000
    symbol = stream.partition(":")[2].partition("@")[0].upper()
    data = {
        "e": EVENT,
        "E": ts,
        "s": symbol,
        "t": cursor,
        "p": "67123.45000000",
        "q": "0.00123000",
        "T": ts,
        "m": True,
        "M": True,
        "x": f"{filler}^{time.monotonic_ns() // 1000:016d}",
    }
    return Update(stream, cursor, ts, data)
