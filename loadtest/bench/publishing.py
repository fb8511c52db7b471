"""The frame of a publisher process: stdin says how many updates to publish now, this says how many were.

A line with a number publishes so many updates in one batch; `?` is answered with
`{"published": <total>}`. The end of stdin ends the process. loadtest/peers/node/publish.js does the same.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from itertools import islice

from loadtest.bench.updates import Update, updates

Publish = Callable[[list[Update]], Awaitable[None]]


async def obey(streams: list[str], publish: Publish) -> None:
    """Publish as stdin commands, until it ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        source, published = updates(streams), 0
        while line := (await reader.readline()).strip():
            if line == b"?":
                sys.stdout.write(json.dumps({"published": published}) + "\n")
                sys.stdout.flush()
                continue
            batch = list(islice(source, int(line)))
            await publish(batch)
            published += len(batch)
    finally:
        transport.close()
