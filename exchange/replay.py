"""A recording as an exchange: its payloads byte for byte, at its pace, and what follows from them.

A stream is served from the recording where it was recorded under that name; the diff depth of a
symbol is served from whichever speed was recorded (`@depth` from `depth@100ms` or `depth@0ms`). All
other kinds are derived from the recorded trades and books. REST tells the state that the recording
has reached.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from exchange.broadcast import Broadcast
from exchange.connections import Connection, Sockets
from exchange.feed import Feed
from exchange.following import Follower
from exchange.recorded_books import read_as_exchange
from exchange.recording import Contents
from exchange.venue import Venue
from market.streams import Kind, Market, StreamName

TURN_MESSAGES: Final = 64
"""Messages that are handed out before they are written and readers are waited for."""
HIGH_WATER: Final = 256 * 1024
"""Bytes unread by a client for which the replay waits."""
STALL_S: Final = 30.0
"""How long the replay waits for a client that reads nothing at all before it cuts the client off."""

_WAIT_S: Final = 0.005
_DIFF_SPEEDS: Final = {
    Market.SPOT: ("", "100ms", "1000ms"),
    Market.FUTURES: ("", "0ms", "100ms", "250ms", "500ms"),
}

_log = structlog.get_logger(__name__)


class Replay:
    """Plays a recording into the markets' state and out to subscribers.

    Each client that reads gets every message; the whole replay waits for the slowest of them, and
    then makes up for the time lost.
    """

    def __init__(self, path: Path, contents: Contents, venue: Venue, broadcast: Broadcast, sockets: Sockets) -> None:
        self.rounds_total = 0
        self.messages_total = 0
        self._path = path
        self._contents = contents
        self._venue = venue
        self._broadcast = broadcast
        self._sockets = sockets
        self._feed = Feed(venue, broadcast.publish)
        self._also = _other_speeds(contents.streams)
        self._served = {(stream.market, stream.binance_name) for stream in contents.streams}
        self._served.update((market, name) for (market, _), names in self._also.items() for name in names)
        self._follower = Follower(contents, venue, self._feed)

    @property
    def not_understood_total(self) -> int:
        """Recorded payloads of this round that the markets' state could not follow."""
        return self._follower.not_understood_total

    def want(self, stream: StreamName) -> None:
        """Derive `stream` from now on, unless it was recorded."""
        if (stream.market, stream.binance_name) not in self._served:
            self._feed.want(stream)

    def unwant(self, stream: StreamName) -> None:
        """Derive `stream` no longer."""
        self._feed.unwant(stream)

    async def play(self, *, speed: float, loop: bool) -> None:
        """Play from the beginning, again and again where `loop` says so. What was played is forgotten each time."""
        _log.info("replay begins", path=str(self._path), messages=self._contents.messages, speed=speed)
        while True:
            self._follower = Follower(self._contents, self._venue, self._feed)
            self.rounds_total += 1
            await self._play_once(speed)
            if not loop:
                _log.info("replay is over", path=str(self._path))
                return
            # An empty recording must not keep the loop busy.
            await asyncio.sleep(_WAIT_S)

    async def _play_once(self, speed: float) -> None:
        began, first_ms, in_turn = time.monotonic(), -1, 0
        for message in read_as_exchange(self._path):
            if message.ts is not None:
                first_ms = message.ts if first_ms < 0 else first_ms
                due = began + (message.ts - first_ms) / 1_000 / speed
                if due - time.monotonic() > _WAIT_S:
                    await self._end_turn()
                    in_turn = 0
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.messages_total += 1
            if message.stream is not None:
                self._broadcast.publish(message.market, message.stream, message.payload)
                for name in self._also.get((message.market, message.stream), ()):
                    self._broadcast.publish(message.market, name, message.payload)
            self._follower.follow(message)
            in_turn += 1
            if in_turn >= TURN_MESSAGES:
                await self._end_turn()
                in_turn = 0
        self._follower.finish()
        await self._end_turn()

    async def _end_turn(self) -> None:
        """Write, let others work, and wait for readers that lag."""
        self._broadcast.flush()
        await asyncio.sleep(0)
        stalled: dict[Connection, tuple[int, float]] = {}
        while lagging := [one for one in self._sockets.open if not one.is_closing and one.backlog > HIGH_WATER]:
            now = time.monotonic()
            for connection in lagging:
                least, since = stalled.get(connection, (connection.backlog + 1, now))
                if connection.backlog < least:
                    stalled[connection] = (connection.backlog, now)
                elif now - since > STALL_S:
                    _log.warning("client has stopped reading, cut off", path=connection.entrance.path)
                    connection.abort()
            await asyncio.sleep(_WAIT_S)


def _other_speeds(streams: set[StreamName]) -> dict[tuple[Market, str], list[str]]:
    """For each recorded diff depth the names of the speeds that were not recorded."""
    found: dict[tuple[Market, str], list[str]] = {}
    served: set[StreamName] = set()
    for stream in sorted(streams):
        others = [
            StreamName.of(stream.market, stream.symbol, Kind.DEPTH, speed)
            for speed in (_DIFF_SPEEDS[stream.market] if stream.kind is Kind.DEPTH else ())
        ]
        names = [other.binance_name for other in others if other not in streams and other not in served]
        served.update(others)
        if names:
            found[stream.market, stream.binance_name] = names
    return found
