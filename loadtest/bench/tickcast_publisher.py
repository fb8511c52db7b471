"""`python -m loadtest.bench.tickcast_publisher REDIS_URL STREAM...`: publishes on the bus, as an ingestor does."""

import asyncio
import sys

import msgspec
import structlog
import uvloop

from bus.redis import RedisBus
from loadtest.bench.publishing import obey
from loadtest.bench.updates import Update
from market.messages import Message
from market.streams import StreamName

_POLL_S = 0.01


async def main(url: str, streams: list[str]) -> None:
    """Publish until stdin ends."""
    names = {stream: StreamName.parse(stream) for stream in streams}
    bus = RedisBus(url, "bench")

    async def publish(batch: list[Update]) -> None:
        await bus.publish(
            [
                Message(names[update.stream], update.cursor, update.ts * 1000, msgspec.json.encode(update.data))
                for update in batch
            ]
        )

    await bus.start()
    try:
        while not bus.connected:  # noqa: ASYNC110 # the contract offers a state, no event
            await asyncio.sleep(_POLL_S)
        await obey(streams, publish)
    finally:
        await bus.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for answers
    uvloop.run(main(sys.argv[1], sys.argv[2:]))
