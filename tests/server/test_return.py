"""Clients come back by themselves when their replica is restarted."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import socketio

from bus import open_bus
from server.replica import Replica
from tests.server.conftest import Client, replica_settings, until
from tests.support.processes import Process, free_port


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
    client.io = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
    client.io.on("*", client._keep)
    async with replica_on(port, exchange) as url:
        await client.connect(url, transport)
    async with replica_on(port, exchange):
        await until(lambda: len(client.named("connected")) == 2, "the client is greeted again")
        await client.io.shutdown()
