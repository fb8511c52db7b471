"""`python -m tests.system.chaos.crowd URL COUNT`: plain clients, who come back when they are cut off, until SIGTERM.

They are the load under which everything happens, and count what single clients cannot tell: failed subscriptions, and
how many of them return within one second. Told as one JSON object at the end.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

STREAM: Final = "btcusdt@ticker"
"""Comes once a second."""
RETURN_S: Final = (0.1, 1.0)
"""How long one that was cut off waits, at least and at most."""
ADDRESSES: Final = tuple(f"127.0.{half}.{number}" for half in (1, 2) for number in range(100, 120))
"""Halves of it are on either replica; many addresses, since one may have limits of its own."""


class Crowd:
    """All of them, and what they count together."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws", 1)
        self._connected = 0
        self._returns: Counter[int] = Counter()
        self.figures = Counter[str](clients=0, messages=0, failed_subscribes=0, disconnects=0)

    async def member(self, source: str) -> None:
        """One client for ever."""
        is_new = True
        while True:
            try:
                async with connect(self._url, local_addr=(source, 0), proxy=None, open_timeout=5) as socket:
                    await socket.send(json.dumps({"type": "subscribe", "rawStreams": [STREAM]}))
                    self.figures["clients"] += is_new
                    if not is_new:
                        self._returns[int(time.monotonic())] += 1
                    is_new = False
                    async for text in socket:
                        self._hear(text)
            except (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError):
                pass  # cut off, or not let in: it comes again
            self.figures["disconnects"] += not is_new
            await asyncio.sleep(random.uniform(*RETURN_S))  # noqa: S311 # spreads load, guards nothing

    def told(self) -> dict[str, int]:
        """What they counted; `most_returns` is the most within one second of the clock."""
        return {**self.figures, "most_returns": max(self._returns.values(), default=0)}

    def _hear(self, text: str | bytes) -> None:
        kind = json.loads(text).get("type")
        self.figures["messages"] += kind is None
        self.figures["failed_subscribes"] += kind == "error"


async def main(url: str, count: int) -> None:
    """Be a crowd until SIGTERM, then tell what it counted."""
    crowd, ended = Crowd(url), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    members = [asyncio.create_task(crowd.member(ADDRESSES[number % len(ADDRESSES)])) for number in range(count)]
    await ended.wait()
    for member in members:
        member.cancel()
    await asyncio.gather(*members, return_exceptions=True)
    with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
        os.write(sys.stdout.fileno(), json.dumps(crowd.told()).encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
