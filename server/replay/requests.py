"""What a client asks of recordings beside their streams: which one, from when to when, how fast. Pure.

`{recording, startTime?, endTime?, speed?}`; times in ms since the epoch, both included.
"""

from typing import Final, NamedTuple

import msgspec

from market.errors import Code, MarketError
from market.klines import LATEST_MS
from server.replay.replays import MAX_SPEED


class ReplayWish(NamedTuple):
    """A recording by its id, a range of time in ms, and how many times as fast (0 = as the client reads)."""

    recording: str
    start_ms: int
    end_ms: int
    speed: float


class _Body(msgspec.Struct, rename="camel"):
    recording: str = ""
    start_time: int | None = None
    end_time: int | None = None
    speed: float = 1.0


class _Stop(msgspec.Struct):
    id: str


EXPECTED: Final = "{recording, streams, startTime?, endTime?, speed?}"


def parse_replay_wish(data: object) -> ReplayWish:
    """The wish in a request. Raises MarketError (bad_request, invalid_time)."""
    try:
        body = msgspec.convert(data, _Body)
    except msgspec.ValidationError as error:
        raise MarketError(Code.BAD_REQUEST, f"{error}; expected {EXPECTED}") from None
    if not body.recording:
        raise MarketError(Code.BAD_REQUEST, "Recording is required; GET /replay lists them")
    if body.speed != 0 and not 1 <= body.speed <= MAX_SPEED:
        raise MarketError(Code.BAD_REQUEST, f"speed must be 1 to {MAX_SPEED:.0f}, or 0 for as fast as you read")
    start_ms, end_ms = time_range(body.start_time, body.end_time)
    return ReplayWish(body.recording, start_ms, end_ms, body.speed)


def time_range(start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    """A range of time; 0 and None mean no bound. Raises MarketError (invalid_time) for one that holds nothing."""
    start_ms, end_ms = start_ms or 0, end_ms or LATEST_MS
    for name, at_ms in (("startTime", start_ms), ("endTime", end_ms)):
        if not 0 <= at_ms <= LATEST_MS:
            raise MarketError(Code.INVALID_TIME, f"{name} must be in ms since the epoch, 0 to {LATEST_MS}")
    if end_ms < start_ms:
        raise MarketError(Code.INVALID_TIME, "endTime is before startTime")
    return start_ms, end_ms


def parse_stop(data: object) -> str:
    """The id in `{id}`. Raises MarketError (bad_request)."""
    try:
        return msgspec.convert(data, _Stop).id
    except msgspec.ValidationError as error:
        raise MarketError(Code.BAD_REQUEST, f"{error}; expected {{id}}") from None
