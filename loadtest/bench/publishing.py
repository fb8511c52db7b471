"""The frame of a publisher process: stdin says how many updates to publish now, this says how many were.

A line with a number publishes so many updates in one batch; `?` is answered with
`{"published": <total>}`. The end of stdin ends the process. loadtest/peers/node/publish.js does the same.
"""

from collections.abc import Awaitable, Callable
from itertools import islice

from loadtest.bench import commands
from loadtest.bench.updates import Update, updates

Publish = Callable[[list[Update]], Awaitable[None]]


async def obey(streams: list[str], publish: Publish) -> None:
    """Publish as stdin commands, until it ends."""
    source, published = updates(streams), 0

    async def carry_out(line: str) -> dict[str, int] | None:
        nonlocal published
        if line == "?":
            return {"published": published}
        batch = list(islice(source, int(line)))
        await publish(batch)
        published += len(batch)
        return None

    await commands.obey(carry_out)
