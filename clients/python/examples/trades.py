"""Every trade of a symbol once, as JSON lines, across lost connections; what is missing is said in its place."""

import asyncio
import json
import sys

from tickcast_client import Gap, Message, connect


async def main(url: str) -> None:
    """Write trades until Ctrl-C."""
    async with connect(url) as client:
        async for event in await client.subscribe("spot:btcusdt@trade"):
            if isinstance(event, Message):
                print(json.dumps({"id": event.data["t"], "price": event.data["p"]}), flush=True)
            elif isinstance(event, Gap):
                print(json.dumps({"missed": event.missed, "reason": event.reason}), flush=True)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080"))
