"""Candles of the past joined to live ones: every closed candle once, the open one whenever it changes."""

import asyncio
import sys

from tickcast_client import connect


async def main(url: str) -> None:
    """Print candles until Ctrl-C."""
    async with connect(url) as client:
        async for candle in client.candles("BTCUSDT", "1s", limit=5):
            print(candle.open_time, candle.close, "closed" if candle.is_closed else "open", flush=True)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080"))
