"""The shared Socket.IO manager: a stock write-only manager elsewhere reaches clients on both replicas."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from bus import open_bus
from server.replica import Replica
from tests.server.conftest import Client, replica_settings, until
from tests.support.processes import Process

EMIT = """
import sys, socketio
manager = socketio.RedisManager(sys.argv[1], write_only=True)
manager.emit("notice", {"text": sys.argv[3]}, **({"room": sys.argv[2]} if sys.argv[2] else {}))
"""


async def emit(redis: Process, room: str, text: str) -> None:
    """Emit from a process of its own with a stock write-only manager."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EMIT, f"redis://127.0.0.1:{redis.port}/0", room, text
    )
    assert await process.wait() == 0


@pytest.fixture
async def clients(exchange: Process, redis: Process) -> AsyncIterator[list[Client]]:
    """Two clients, each on a replica of its own; the first by WebSocket, the second by long polling."""
    url = f"redis://127.0.0.1:{redis.port}/0"
    replicas, buses, clients = [], [], []
    for name, transport in (("r1", "websocket"), ("r2", "polling")):
        bus = open_bus(url)
        replica = Replica(replica_settings(exchange, replica=name, bus_url=url), bus)
        await bus.start()
        await until(lambda bus=bus: bus.connected, "bus")  # type: ignore[misc] # binds the loop's variable
        port = await replica.start()
        client = Client()
        await client.connect(f"http://127.0.0.1:{port}", transport)
        replicas.append(replica)
        buses.append(bus)
        clients.append(client)
    yield clients
    for client in clients:
        await client.io.disconnect()
    for replica, bus in zip(replicas, buses, strict=True):
        await replica.close()
        await bus.close()


def texts(client: Client) -> list[str]:
    return [body["text"] for body in client.named("notice")]


async def test_a_room_a_client_and_everybody_are_reached_across_replicas(clients: list[Client], redis: Process) -> None:
    one, other = clients
    for client in clients:
        await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await one.call("subscribe", {"symbols": ["ETHUSDT"]})
    await other.io.emit("subscribe", ["SOL"])
    await other.call("subscriptions")
    await emit(redis, "spot:btcusdt@trade", "stream's room")
    await emit(redis, "ETHUSDT", "002's room")
    await emit(redis, "SOL", "003's room")
    await emit(redis, other.io.get_sid() or "", "one client")
    await emit(redis, "", "everybody")
    await until(lambda: "everybody" in texts(one) and "everybody" in texts(other), "the last notice")
    assert texts(one) == ["stream's room", "002's room", "everybody"]
    assert texts(other) == ["stream's room", "003's room", "one client", "everybody"]


async def test_the_control_plane_returns_with_redis(clients: list[Client], redis: Process) -> None:
    redis.kill()
    await asyncio.to_thread(redis.start)
    await _reaches_both(clients, redis, "after a restart")


async def test_a_redis_that_went_silent_is_noticed(clients: list[Client], redis: Process) -> None:
    await _reaches_both(clients, redis, "before")
    os.kill(redis.pid, signal.SIGSTOP)
    await asyncio.sleep(5)  # longer than two pings: the connection is given up
    os.kill(redis.pid, signal.SIGCONT)
    await _reaches_both(clients, redis, "after")


async def _reaches_both(clients: list[Client], redis: Process, text: str) -> None:
    """Emit until both clients hear it: a control plane that is away drops what is emitted meanwhile."""

    async def heard() -> bool:
        await emit(redis, "", text)
        return all(text in texts(client) for client in clients)

    await until(heard, f"both clients hear {text!r}")
