"""What a subscription may ask for besides its streams, the same at every door: a pace, and what was missed. Pure."""

from collections.abc import Mapping
from typing import Final

from market.errors import Code, MarketError
from market.streams import Market, StreamName
from server.every import every_of, is_every
from server.groups import Pace

THROTTLES: Final = (100, 250, 500, 1000)
"""The paces that a client may ask for, in ms: members of one share frames."""
MAX_CURSORS: Final = 4096
"""Cursors that one request may bring: with ALL one a symbol."""


def pace_of(throttle: object) -> Pace | None:
    """The pace that a request's `throttle` means, None for none. Raises MarketError (bad_request)."""
    if throttle is None:
        return None
    interval_ms = next((known for known in THROTTLES if known == throttle), None)
    if interval_ms is None:
        raise MarketError(Code.BAD_REQUEST, f"throttle must be one of {', '.join(map(str, THROTTLES))} (ms)")
    return Pace(interval_ms)


def cursors_of(
    since: Mapping[str, int], sent: Mapping[str, StreamName], market: Market | None
) -> dict[StreamName, int]:
    """The cursors in a request's `since` by stream; `sent` has the streams asked for as the client wrote them.

    A key is what the client wrote, or a stream's name, of ALL one of its symbols' streams; `market`
    applies to names without a prefix. Others mean nothing here. Raises MarketError (too_many_streams)
    for more than MAX_CURSORS.
    """
    if len(since) > MAX_CURSORS:
        raise MarketError(Code.TOO_MANY_STREAMS, f"At most {MAX_CURSORS} cursors in since")
    wanted = frozenset(sent.values())
    found = {}
    for name, cursor in since.items():
        stream = sent.get(name) or _parsed(name, market)
        if stream is not None and not is_every(stream) and (stream in wanted or every_of(stream) in wanted):
            found[stream] = cursor
    return found


def _parsed(name: str, market: Market | None) -> StreamName | None:
    try:
        return StreamName.parse(name, market)
    except MarketError:
        return None
