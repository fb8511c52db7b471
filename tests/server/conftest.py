"""A replica in the test's own process, on a memory bus, with a real exchange stand-in behind its REST client."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
import socketio

from bus import open_bus
from bus.base import Bus
from market.announcements import REPAIR_TOPIC, RESUME_TOPIC, RepairAsk
from market.messages import Message
from market.streams import StreamName
from server.replica import Replica
from server.settings import ReplicaSettings
from tests.support.processes import Process, free_port, tickcast

_numbers = itertools.count()


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The exchange stand-in, for exchangeInfo, klines and tickers; a module's own: it counts weight by the minute."""
    directory = tmp_path_factory.mktemp("exchange")
    with tickcast("exchange", free_port(), directory, {"SIM_SYMBOLS": "8", "EXCHANGE": "simulate"}) as process:
        yield process


@dataclass
class Served:
    """A running replica and the other end of its bus."""

    url: str
    publisher: Bus
    replica: Replica
    _resume: list[Callable[[bytes], None]] = field(default_factory=list)
    repair_asks: list[RepairAsk] = field(default_factory=list)
    """What replicas asked ingestors to repair."""
    _cursors: Counter[StreamName] = field(default_factory=Counter)

    def on_resume(self, handler: Callable[[bytes], None]) -> None:
        """Have `handler` play the ingestor that replicas ask about the past."""
        self._resume.append(handler)

    def hear_resume(self, body: bytes) -> None:
        """What the bus calls."""
        for handler in self._resume:
            handler(body)

    async def publish(self, text: str, payload: bytes = b'{"x":1}', count: int = 1) -> list[Message]:
        """Publish `count` messages of one stream with growing cursors, in one batch."""
        stream = StreamName.parse(text)
        first = self._cursors[stream] + 1
        self._cursors[stream] += count
        messages = [Message(stream, first + at, time.time_ns() // 1000, payload) for at in range(count)]
        await self.publisher.publish(messages)
        return messages


def replica_settings(exchange: Process, **changes: Any) -> ReplicaSettings:
    """Settings of a replica on a free loopback port."""
    url = f"http://127.0.0.1:{exchange.port}"
    return ReplicaSettings(**{"host": "127.0.0.1", "port": 0, "exchange_url": url, "replica": "r1", **changes})


@asynccontextmanager
async def serving(exchange: Process, headers: Mapping[str, str] | None = None, **changes: Any) -> AsyncIterator[Served]:
    """A replica that knows its symbols and hears its bus; with `headers` it lets in whoever asks whether it does."""
    bus_url = f"memory://test-{next(_numbers)}"
    bus, publisher = open_bus(bus_url), open_bus(bus_url)
    replica = Replica(replica_settings(exchange, **changes), bus)
    served = Served("", publisher, replica)
    publisher.listen(RESUME_TOPIC, served.hear_resume)
    publisher.listen(REPAIR_TOPIC, lambda body: served.repair_asks.append(msgspec.json.decode(body, type=RepairAsk)))
    await bus.start()
    await publisher.start()
    served.url = url = f"http://127.0.0.1:{await replica.start()}"
    try:
        await until(lambda: _ready(url, headers), "the replica is ready and knows its symbols")
        yield served
    finally:
        await replica.close()
        await bus.close()
        await publisher.close()


@pytest.fixture
async def served(exchange: Process, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """A replica of the test's own; a test may change settings by indirect parameters."""
    async with serving(exchange, **getattr(request, "param", {})) as replica:
        yield replica


async def _ready(url: str, headers: Mapping[str, str] | None) -> bool:
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{url}/health/ready") as ready,
        http.get(f"{url}/symbols") as symbols,
    ):
        markets = (await symbols.json())["data"]["markets"]
        return ready.status == 200 and all(markets.values())


async def until(condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = 10.0) -> None:
    """Return as soon as `condition` (plain or async) holds; fail with `what`, as it is then, after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                held = condition()
                if await held if asyncio.iscoroutine(held) else held:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"timed out after {timeout_s} s: {what if isinstance(what, str) else what()}") from None


class Client:
    """A stock python-socketio client that keeps every event it receives."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.io = socketio.AsyncClient(reconnection=False)
        self.io.on("*", self._keep)

    async def _keep(self, event: str, *data: Any) -> None:
        self.events.append((event, data[0] if data else None))

    async def connect(self, url: str, *transports: str) -> None:
        """Connect, over the given transports only, and wait for the greeting."""
        await self.io.connect(url, transports=list(transports) or None, wait_timeout=10)
        await until(lambda: self.named("connected"), "greeting")

    async def call(self, event: str, data: Any = None) -> Any:
        """Emit and return the acknowledgement."""
        return await self.io.call(event, data, timeout=5)

    def named(self, event: str) -> list[Any]:
        """The bodies of all events of that name so far."""
        return [body for name, body in self.events if name == event]


@pytest.fixture(params=["websocket", "polling", "upgrade"])
def transports(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The ways a Socket.IO client can come; `upgrade` starts on polling."""
    return () if request.param == "upgrade" else (request.param,)


@pytest.fixture
async def client(served: Served, transports: tuple[str, ...]) -> AsyncIterator[Client]:
    """A connected client, once for every transport."""
    connected = Client()
    await connected.connect(served.url, *transports)
    yield connected
    await connected.io.disconnect()
