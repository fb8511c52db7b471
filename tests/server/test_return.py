"""Clients come back by themselves when their replica is restarted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import socketio

from bus import open_bus
from server.replica import Replica
from tests.server.conftest import Client, replica_settings, until
from tests.support.processes import Process, free_port, redis_server


@contextlib.asynccontextmanager
async def replica_on(port: int, exchange: Process) -> AsyncIterator[str]:
    bus = open_bus(f"memory://return-{port}")
    replica = Replica(replica_settings(exchange, port=port), bus)
    await bus.start()
    try:
        yield f"http://127.0.0.1:{await replica.start()}"
    finally:
        await replica.close()
        await bus.close()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_stock_python_client_comes_back_to_a_replica_that_was_restarted(
    exchange: Process, transport: str
) -> None:
    port, client = free_port(), Client()
    # Its own sessions it forgets to close when it reconnects.
    async with aiohttp.ClientSession() as http:
        client.io = socketio.AsyncClient(http_session=http, reconnection_delay=0.05, reconnection_delay_max=0.2)
        client.io.on("*", client._keep)
        async with replica_on(port, exchange) as url:
            await client.connect(url, transport)
        async with replica_on(port, exchange):
            await until(lambda: len(client.named("connected")) == 2, "the client is greeted again")
            await client.io.shutdown()


async def test_a_replica_lets_clients_in_once_it_hears_the_bus(exchange: Process, tmp_path: Path) -> None:
    redis, port = redis_server(tmp_path), free_port()
    bus = open_bus(f"redis://127.0.0.1:{redis.port}")
    replica = Replica(replica_settings(exchange, port=port), bus)
    await bus.start()
    starting = asyncio.create_task(replica.start())
    await asyncio.wait([starting], timeout=0.3)
    assert not starting.done()
    await asyncio.to_thread(redis.start)
    try:
        await starting
        assert bus.connected
    finally:
        await replica.close()
        await bus.close()
        redis.stop()
