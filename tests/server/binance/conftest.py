"""The same protocol from two servers: the exchange stand-in itself, and a replica that is fed from it."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest
import pytest_asyncio

from bus import open_bus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from server.replica import Replica
from server.settings import ReplicaSettings
from tests.exchange.client import Client
from tests.server.conftest import until

EXCHANGE = "exchange"
REPLICA = "replica"
PLACES = [EXCHANGE, REPLICA]
SYMBOLS = 3

_numbers = itertools.count()


class Served(Client):
    """A client's tools for one replica; `upstream` are those for the exchange behind it."""

    def __init__(self, replica: Replica, port: int, upstream: Client) -> None:
        super().__init__(upstream.exchange, port)
        self.replica = replica
        self.upstream = upstream


Serve: TypeAlias = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def an_exchange(**settings: Any) -> AsyncIterator[Client]:
    """A small simulated exchange."""
    values = {"port": 0, "sim_symbols": SYMBOLS, "sim_trades_per_second": 60.0, **settings}
    exchange = Exchange(ExchangeServerSettings.model_validate(values))
    port = await exchange.start()
    try:
        async with Client(exchange, port) as client:
            yield client
    finally:
        await exchange.close()


@asynccontextmanager
async def a_replica(upstream: Client, **settings: Any) -> AsyncIterator[Served]:
    """A replica and an ingestor on one bus, fed by the exchange behind `upstream`."""
    url = f"http://127.0.0.1:{upstream.port}"
    bus_url = f"memory://binance-{next(_numbers)}"
    async with AsyncExitStack() as stack:
        ingestor_bus, replica_bus = open_bus(bus_url), open_bus(bus_url)
        wanted = IngestorSettings(exchange_url=url, default_symbols=("BTCUSDT",))
        ingestor = Ingestor(wanted, ingestor_bus, wanted.endpoints)
        values = {"host": "127.0.0.1", "port": 0, "exchange_url": url, "replica": "r1", "default_symbols": ("BTCUSDT",)}
        replica = Replica(ReplicaSettings(**{**values, **settings}), replica_bus)
        for bus in (ingestor_bus, replica_bus):
            await bus.start()
            stack.push_async_callback(bus.close)
        await ingestor.start()
        stack.push_async_callback(ingestor.close)
        port = await replica.start()
        stack.push_async_callback(replica.close)
        served = await stack.enter_async_context(Served(replica, port, upstream))
        await until(lambda: _is_fed(served.http), "the replica has its feed and knows its symbols")
        yield served


async def _is_fed(http: httpx.AsyncClient) -> bool:
    health = (await http.get("/health")).json()
    markets = (await http.get("/symbols")).json()["data"]["markets"]
    return health["status"] == "healthy" and all(markets.values())


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a replica (settings by field name; `upstream` holds those of its exchange)."""
    async with AsyncExitStack() as stack:

        async def begin(upstream: dict[str, Any] | None = None, **settings: Any) -> Served:
            exchange = await stack.enter_async_context(an_exchange(**(upstream or {})))
            return await stack.enter_async_context(a_replica(exchange, **settings))

        yield begin


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PLACES)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Both servers in turn, each for all tests of a module that run in the module's loop."""
    async with an_exchange(connection_attempts=10_000) as exchange:
        if request.param == EXCHANGE:
            yield exchange
        else:
            async with a_replica(exchange, trusted_proxies=("127.0.0.1",)) as replica:
                yield replica


@pytest_asyncio.fixture(loop_scope="module")
async def client(place: Client) -> AsyncIterator[Client]:
    """A test's own connections to `place`."""
    async with Client(place.exchange, place.port) as tools:
        yield tools
