"""How old a last value may be and still be shown as the latest. Pure."""

from typing import Final

from market.intervals import MINUTE_MS, next_open_time
from market.streams import Kind, StreamName

FRESH_MS: Final = 10_000
"""Of most kinds: several times the longest silence that is usual for a symbol that trades (docs/protocol.md, Gaps)."""


def fresh_ms(stream: StreamName) -> int:
    """How long a value of a state stream may be taken for the latest while nobody receives the stream, in ms.

    Of candles their interval, FRESH_MS at least and a minute at most.
    """
    if stream.kind not in (Kind.KLINE, Kind.CONTINUOUS_KLINE):
        return FRESH_MS
    return min(max(next_open_time(stream.option.partition("@")[0], 0), FRESH_MS), MINUTE_MS)
