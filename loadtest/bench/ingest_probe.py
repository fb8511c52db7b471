"""`python -m loadtest.bench.ingest_probe BUS_URL STREAM...`: wants streams as a replica does, and looks at what comes.

On stdin `want` announces the demand from now on, `begin` forgets what was measured, `look` just asks; each is
answered with what came since the last `begin`:
`{"messages": .., "disordered": .., "p50_us": .., "p99_us": .., "spoke": <streams that ever sent anything>}`.
Lags are those against the cursor, which the source (ingest_source.py) sets to us since the epoch.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Final

import structlog
import uvloop

from bus.redis import RedisBus
from loadtest.bench.commands import obey
from loadtest.bench.histogram import Histogram
from market.announcements import DEMAND_TOPIC, REPEAT_S, Demand, encode
from market.messages import Message
from market.streams import StreamName

_NAME: Final = "bench"
_POLL_S: Final = 0.01


class Probe:
    """Counts messages, checks the order of each stream, and measures how old they are on arrival."""

    def __init__(self, bus: RedisBus, streams: Sequence[StreamName]) -> None:
        self._bus = bus
        self._demand = encode(Demand(_NAME, [str(stream) for stream in streams]))
        self._cursors: dict[StreamName, int] = {}
        self._lags = Histogram()
        self._disordered = 0
        self._wanting: asyncio.Task[None] | None = None
        bus.on_messages(self._hear)

    async def carry_out(self, line: str) -> dict[str, float]:
        """Carry out one command. Raises ValueError for an unknown one."""
        if line == "want":
            await self._bus.announce(DEMAND_TOPIC, self._demand)
            self._wanting = asyncio.create_task(self._keep_wanting())
        elif line == "begin":
            self._lags, self._disordered = Histogram(), 0
        elif line != "look":
            raise ValueError(f"unknown command: {line}")
        return {
            "messages": self._lags.count,
            "disordered": self._disordered,
            "p50_us": self._lags.quantile(0.5),
            "p99_us": self._lags.quantile(0.99),
            "spoke": len(self._cursors),
        }

    async def _keep_wanting(self) -> None:
        while True:
            await asyncio.sleep(REPEAT_S)
            await self._bus.announce(DEMAND_TOPIC, self._demand)

    def _hear(self, messages: Sequence[Message]) -> None:
        now_us = time.time_ns() // 1000
        for message in messages:
            if message.cursor <= self._cursors.get(message.stream, -1):
                self._disordered += 1
            self._cursors[message.stream] = message.cursor
            self._lags.add(now_us - message.cursor)


async def main(url: str, streams: list[StreamName]) -> None:
    """Listen until stdin ends."""
    bus = RedisBus(url, _NAME)
    probe = Probe(bus, streams)
    await bus.start()
    try:
        while not bus.connected:  # noqa: ASYNC110 # the contract offers a state, no event
            await asyncio.sleep(_POLL_S)
        await bus.subscribe(streams)
        await obey(probe.carry_out)
    finally:
        await bus.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for answers
    uvloop.run(main(sys.argv[1], [StreamName.parse(name) for name in sys.argv[2:]]))
