"""A bus of each kind on a real broker, and ends of it that are closed when the test is over."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import pytest
import redis as redis_client
import uvloop

from bus import open_bus
from bus.base import AnnouncementHandler, Bus, MessageHandler
from bus.redis_url import RedisUrl
from tests.bus.redis_cluster import Cluster, cluster_of
from tests.bus.support import BUSES, connected
from tests.support.processes import Process, nats_server

OpenEnd = Callable[..., Awaitable[Bus]]

CANCELLED_HANDSHAKE = "Fatal error on SSL protocol"
"""What uvloop says when a TLS handshake is cancelled, as it is by an end that closes while it connects."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that our processes run on: its transports are not asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _asyncio_has_nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Errors that nobody awaited end in asyncio's log; here they fail the test."""
    yield
    gc.collect()
    complaints = [record.getMessage() for record in caplog.get_records("call") if record.name == "asyncio"]
    assert [each for each in complaints if not each.startswith(CANCELLED_HANDSHAKE)] == []


@pytest.fixture
def core_nats(tmp_path: Path) -> Iterator[Process]:
    """A NATS server without JetStream."""
    with nats_server(tmp_path, jetstream=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis Cluster that forms once: that takes seconds."""
    with asyncio.Runner() as runner:
        context = cluster_of(tmp_path_factory.mktemp("cluster"))
        cluster = runner.run(_entered(context))
        yield cluster.url
        runner.run(_left(context))


async def _entered(context: AbstractAsyncContextManager[Cluster]) -> Cluster:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Cluster]) -> None:
    await context.__aexit__(None, None, None)


@pytest.fixture
def bus_url_of_cluster(redis_cluster: str) -> str:
    """The cluster's URL, with nothing left in it of the test before."""
    for address in RedisUrl(redis_cluster).addresses:
        with redis_client.Redis(port=address.port) as node:
            node.flushall()
    return redis_cluster


@pytest.fixture(params=BUSES)
def bus_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return f"memory://{uuid4()}"
    if request.param == "sharded":
        return f"memory://{uuid4()},memory://{uuid4()}"
    if request.param == "redis_cluster":
        return str(request.getfixturevalue("bus_url_of_cluster"))
    server: Process = request.getfixturevalue(request.param)
    return f"{'redis' if request.param == 'redis' else 'nats'}://127.0.0.1:{server.port}"


@pytest.fixture
async def open_end(bus_url: str) -> AsyncIterator[OpenEnd]:
    """Opens a started, connected end: `await open_end(handler, topic=handler, ...)`."""
    ends: list[Bus] = []

    async def open_one(handler: MessageHandler | None = None, **topics: AnnouncementHandler) -> Bus:
        end = open_bus(bus_url, f"end-{len(ends)}")
        ends.append(end)
        if handler is not None:
            end.on_messages(handler)
        for topic, listener in topics.items():
            end.listen(topic, listener)
        await end.start()
        await connected(end)
        return end

    yield open_one
    for end in ends:
        await end.close()
