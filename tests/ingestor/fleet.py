"""Several real ingestors on one real bus and one exchange, and a far end of the bus that sees what they publish."""

import asyncio
import contextlib
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from bus import open_bus
from market.announcements import DEMAND_TOPIC, REPEAT_S, Demand, encode
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until
from tests.support.processes import Process, free_port, tickcast

SYMBOLS_PER_WORKER = 2
GROUPS = 8
"""How many groups the trades below make at least."""
TRADES = [
    StreamName.parse(f"{market}:{symbol}@trade")
    for market in ("spot", "futures")
    for symbol in ("btcusdt", "ethusdt", "bnbusdt", "solusdt", "xrpusdt", "adausdt", "dogeusdt", "trxusdt")
]


class Fleet:
    """Ingestors by name, each a process; the exchange, asked about them; and the trades they publish."""

    def __init__(self, directory: Path, bus_url: str, exchange: Process, copies: int) -> None:
        self.ids: dict[StreamName, list[int]] = defaultdict(list)
        self.running: dict[str, Process] = {}
        self._directory = directory
        self._bus = open_bus(bus_url)
        self._exchange = f"http://127.0.0.1:{exchange.port}"
        self._http = httpx.AsyncClient(trust_env=False, timeout=5)
        self._tasks: list[asyncio.Task[None]] = []
        self._env = {
            "BUS_URL": bus_url,
            "EXCHANGE_URL": self._exchange,
            "FEED_COPIES": str(copies),
            "SYMBOLS_PER_WORKER": str(SYMBOLS_PER_WORKER),
        }
        self.unserved: set[str] = set()
        """Streams that the exchange sent to nobody at some moment since `watch`."""

    async def __aenter__(self) -> Self:
        self._bus.on_messages(self._take)
        await self._bus.start()
        await until(lambda: self._bus.connected, "the bus")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
        await asyncio.gather(*(asyncio.to_thread(process.kill) for process in self.running.values()))
        await self._http.aclose()
        await self._bus.close()

    async def start(self, *names: str) -> None:
        """Start ingestors at the same moment."""
        started = {
            name: tickcast("ingestor", free_port(), self._directory, {**self._env, "INSTANCE": name}) for name in names
        }
        self.running |= started
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in started.values()))

    async def stop(self, name: str) -> None:
        """End one as an operator does; it must end by itself, and well."""
        child = self.running.pop(name)._child
        assert child is not None
        child.terminate()
        assert await asyncio.to_thread(child.wait, 15) == 0

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self.running.pop(name).kill)

    @contextmanager
    def standing_still(self, name: str) -> Iterator[None]:
        """One that keeps its connections and does nothing."""
        process = self.running.pop(name)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)
            self.running[name] = process

    async def want_trades(self) -> None:
        """Demand and receive TRADES, as a replica does."""
        await self._bus.subscribe(TRADES)
        self._tasks.append(asyncio.create_task(self._demand()))

    def watch(self) -> None:
        """Look at the exchange, again and again, whether it sends every wanted stream to somebody."""
        self._tasks.append(asyncio.create_task(self._watch()))

    async def agree(self, copies: int, timeout_s: float = 30.0) -> dict[str, set[str]]:
        """Wait until each group has `copies` carriers that are subscribed, and one that maintains it; the shares."""
        health: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(timeout_s):
            while not _is_agreed(list(health.values()), copies):  # they are other processes
                await asyncio.sleep(0.05)
                health = {name: await self._health(process) for name, process in self.running.items()}
        return {name: set(one["groups"]) for name, one in health.items()}

    async def flows(self) -> None:
        """Wait until more trades of each stream have come."""
        before = {stream: len(self.ids[stream]) for stream in TRADES}
        await until(lambda: all(len(self.ids[stream]) > count + 1 for stream, count in before.items()), "trades")

    async def most_copies(self) -> int:
        """How many times one trade comes at most."""
        marks = {stream: len(ids) for stream, ids in self.ids.items()}
        await self.flows()
        await self.flows()
        return max(Counter(ids[marks[stream] :]).most_common(1)[0][1] for stream, ids in self.ids.items())

    def missing(self) -> dict[str, list[int]]:
        """The ids between the first and the last that no ingestor published."""
        holes = {str(stream): sorted(set(range(min(ids), max(ids))) - set(ids)) for stream, ids in self.ids.items()}
        return {stream: hole for stream, hole in holes.items() if hole}

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.ids[message.stream].append(message.cursor)

    async def _demand(self) -> None:
        while True:
            demand = Demand("replica", [str(stream) for stream in TRADES])
            await self._bus.announce(DEMAND_TOPIC, encode(demand))
            await asyncio.sleep(REPEAT_S)

    async def _watch(self) -> None:
        while True:
            status = (await self._http.get(f"{self._exchange}/control/status")).json()
            self.unserved |= {str(stream) for stream in TRADES} - set(status["streams"])
            await asyncio.sleep(0.02)

    async def _health(self, process: Process) -> dict[str, Any]:
        answer = await self._http.get(f"http://127.0.0.1:{process.port}/health")
        return dict(answer.json())


def _is_agreed(health: Sequence[dict[str, Any]], copies: int) -> bool:
    keys = {key for one in health for key in one["groups"]}
    parts = [[one["groups"][key] for one in health if key in one["groups"]] for key in keys]
    return (
        len(keys) >= GROUPS
        and all(one["phase"] == "live" for one in health)
        and all(
            len(held) == copies
            and all(part["subscribed"] for part in held)
            and sum(part["maintained"] for part in held) == 1
            for held in parts
        )
    )
