"""`python -m loadtest.peers.python.publish REDIS_URL STREAM...`: emits with python-socketio's write-only manager.

Source: python-socketio documentation, "Emitting from external processes".
"""

import sys

import socketio
import uvloop

from loadtest.bench.publishing import obey
from loadtest.bench.updates import EVENT, Update


async def main(url: str, streams: list[str]) -> None:
    """Publish until stdin ends."""
    manager = socketio.AsyncRedisManager(url, write_only=True)

    async def publish(batch: list[Update]) -> None:
        for update in batch:
            await manager.emit(EVENT, update.body, room=update.stream)

    await obey(streams, publish)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2:]))
