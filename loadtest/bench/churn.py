"""`python -m loadtest.bench.churn ADDRESS PORT`: clients who come, change their minds and go, while stdin is open.

A line on stdin is answered by what they have done since the last one: `{visits, failures, messages, p99_us}`, of which
the last is how long a client waited from its first byte to the acknowledgement of its subscription.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from loadtest.bench.commands import obey
from loadtest.bench.polling import Poller

VISITORS: Final = 24
"""Clients that are there at any moment."""
STAY_S: Final = (0.5, 3.0)
_PAUSE_S: Final = 0.05
_ANSWER_S: Final = 20.0
_SYMBOLS: Final = ("btcusdt", "ethusdt", "bnbusdt", "solusdt", "adausdt")
_KINDS: Final = ("trade", "aggTrade", "ticker", "bookTicker", "kline_1m", "depth@100ms", "depth20@100ms", "book")


class Churn:
    """All visitors, and what they did."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._done = Counter[str]()
        self._waits_us: list[int] = []
        self._draw = random.Random()  # noqa: S311 # who comes when is no secret

    async def visit_for_ever(self) -> None:
        """One visitor after the other, each at a door of its choice."""
        doors: tuple[Callable[[], Awaitable[None]], ...] = (self._json, self._polling, self._binance)
        while True:
            try:
                await self._draw.choice(doors)()
                self._done["visits"] += 1
            except (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError) as error:
                self._done["failures"] += 1
                sys.stderr.write(f"a visit failed: {error!r}\n")
            await asyncio.sleep(_PAUSE_S)

    async def take(self, _command: str) -> Mapping[str, Any]:
        """What was done since the last time."""
        done, self._done = self._done, Counter()
        waits, self._waits_us = sorted(self._waits_us), []
        figures = {name: done[name] for name in ("visits", "failures", "messages")}
        return figures | {"p99_us": waits[len(waits) * 99 // 100] if waits else 0}

    async def _json(self) -> None:
        """Subscribe, leave one stream, take another, and go: half of them without a word."""
        began = time.monotonic_ns()
        async with connect(f"ws://{self._address}:{self._port}/", proxy=None) as socket:
            first = self._streams(3)
            await self._ask(socket, "subscribe", first)
            self._note_wait(began)
            await self._read(socket)
            await self._ask(socket, "unsubscribe", first[:1])
            await self._ask(socket, "subscribe", self._streams(1))
            await self._read(socket)
            if self._draw.random() < 1 / 2:
                socket.transport.abort()

    async def _polling(self) -> None:
        """Socket.IO over long polling, left without a word."""
        began = time.monotonic_ns()
        poller = Poller(self._address, self._port, [])
        async with asyncio.timeout(_ANSWER_S):
            await poller.open(self._streams(3))
        self._note_wait(began)
        try:
            async with asyncio.timeout(self._draw.uniform(*STAY_S)):
                await poller.poll_for_ever()
        except TimeoutError:
            self._done["messages"] += poller.polls
        finally:
            poller.close()

    async def _binance(self) -> None:
        """The Binance door, by URL."""
        names = "/".join(stream for stream in self._streams(3) if not stream.endswith("@book"))
        path = f"/stream?streams={names or 'btcusdt@trade'}"
        async with connect(f"ws://{self._address}:{self._port}{path}", proxy=None) as socket:
            await self._read(socket)

    async def _ask(self, socket: ClientConnection, kind: str, streams: list[str]) -> None:
        await socket.send(json.dumps({"type": kind, "rawStreams": streams}))
        async with asyncio.timeout(_ANSWER_S):
            while json.loads(await socket.recv()).get("type") != f"{kind}d":
                self._done["messages"] += 1

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async with asyncio.timeout(self._draw.uniform(*STAY_S)):
                while True:
                    await socket.recv()
                    self._done["messages"] += 1
        except TimeoutError:
            return

    def _streams(self, count: int) -> list[str]:
        return [f"{self._draw.choice(_SYMBOLS)}@{kind}" for kind in self._draw.sample(_KINDS, count)]

    def _note_wait(self, began_ns: int) -> None:
        self._waits_us.append((time.monotonic_ns() - began_ns) // 1000)


async def main(address: str, port: int) -> None:
    """Visit until stdin ends."""
    churn = Churn(address, port)
    visitors = [asyncio.create_task(churn.visit_for_ever()) for _ in range(VISITORS)]
    obeying = asyncio.create_task(obey(churn.take))
    finished, _ = await asyncio.wait([obeying, *visitors], return_when=asyncio.FIRST_COMPLETED)
    for task in (obeying, *visitors):
        task.cancel()
    await asyncio.gather(obeying, *visitors, return_exceptions=True)
    for task in finished:
        task.result()  # a visitor that could not go on says why


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
