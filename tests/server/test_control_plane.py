"""The shared Socket.IO manager: a process elsewhere, and each replica, reaches clients on both replicas."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import nats
import pytest

from bus import open_bus
from bus.base import Bus
from server.doors import control_plane
from server.doors.control_signing import Flaw
from server.doors.rooms import BusRooms
from server.doors.socket_server import SocketServer
from server.replica import Replica
from tests.server.conftest import Client, replica_settings, until
from tests.support.processes import Process

STOCK_EMIT = """
import sys, socketio
manager = socketio.RedisManager(sys.argv[1], write_only=True)
manager.emit("notice", {"text": sys.argv[3]}, **({"room": sys.argv[2]} if sys.argv[2] else {}))
"""


@dataclass
class Shared:
    """Two replicas on one bus, each with a client: the first by WebSocket, the second by long polling."""

    server: Process
    url: str
    replicas: list[Replica]
    clients: list[Client]

    async def emit(self, room: str, text: str) -> None:
        """Emit from outside: on Redis from a process of its own with a stock write-only manager."""
        if self.url.startswith("redis"):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", STOCK_EMIT, self.url, room, text)
            assert await process.wait() == 0
        else:
            request = {"method": "emit", "namespace": "/", "room": room or None, "event": "notice"}
            await self.publish(json.dumps({**request, "data": [{"text": text}]}).encode())

    async def publish(self, *bodies: bytes) -> None:
        """Publish on the control plane's subject as anybody can who speaks NATS."""
        client = await nats.connect(self.url)
        for body in bodies:
            await client.publish("ctl.socketio", body)
        await client.drain()

    def io(self, number: int) -> SocketServer:
        """A replica's Socket.IO server."""
        return self.replicas[number]._door.server


@pytest.fixture(params=["redis", "nats"])
async def shared(request: pytest.FixtureRequest, exchange: Process) -> AsyncIterator[Shared]:
    server: Process = request.getfixturevalue(request.param)
    url = f"{request.param}://127.0.0.1:{server.port}"
    shared = Shared(server, url, [], [])
    buses: list[Bus] = []
    for name, transport in (("r1", "websocket"), ("r2", "polling")):
        bus = open_bus(url)
        replica = Replica(replica_settings(exchange, replica=name, bus_url=url), bus)
        await bus.start()
        await until(lambda bus=bus: bus.connected, "bus")  # type: ignore[misc] # binds the loop's variable
        port = await replica.start()
        client = Client()
        await client.connect(f"http://127.0.0.1:{port}", transport)
        shared.replicas.append(replica)
        shared.clients.append(client)
        buses.append(bus)
    yield shared
    for client in shared.clients:
        await client.io.disconnect()
    for replica, bus in zip(shared.replicas, buses, strict=True):
        await replica.close()
        await bus.close()


def texts(client: Client) -> list[str]:
    return [body["text"] for body in client.named("notice")]


async def _reaches_both(shared: Shared, text: str) -> None:
    """Emit until both clients hear it: a control plane that is away drops what is emitted meanwhile."""

    async def heard() -> bool:
        await shared.emit("", text)
        return all(text in texts(client) for client in shared.clients)

    await until(heard, f"both clients hear {text!r}")


async def test_a_room_a_client_and_everybody_are_reached_across_replicas(shared: Shared) -> None:
    one, other = shared.clients
    for client in shared.clients:
        await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await one.call("subscribe", {"symbols": ["ETHUSDT"]})
    await other.io.emit("subscribe", ["SOL"])
    await other.call("subscriptions")
    await shared.emit("spot:btcusdt@trade", "stream's room")
    await shared.emit("ETHUSDT", "002's room")
    await shared.emit("SOL", "003's room")
    await shared.emit(other.io.get_sid() or "", "one client")
    await shared.emit("", "everybody")
    await until(lambda: "everybody" in texts(one) and "everybody" in texts(other), "the last notice")
    assert texts(one) == ["stream's room", "002's room", "everybody"]
    assert texts(other) == ["stream's room", "003's room", "one client", "everybody"]


async def test_a_replica_manages_clients_of_another_one(shared: Shared) -> None:
    one, other = shared.clients
    sid = other.io.get_sid() or ""
    await _reaches_both(shared, "before")
    io = shared.io(0)
    await io.enter_room(sid, "vip")

    async def is_in_room(*, expected: bool) -> bool:
        return ("vip" in shared.io(1).rooms(sid)) is expected

    await until(lambda: is_in_room(expected=True), "it enters the room")
    await io.emit("notice", {"text": "for the room"}, room="vip")
    await io.leave_room(sid, "vip")
    await until(lambda: is_in_room(expected=False), "it leaves the room")
    await io.emit("notice", {"text": "for nobody"}, room="vip")
    await io.enter_room(sid, "vip")
    await until(lambda: is_in_room(expected=True), "it enters the room again")
    await io.close_room("vip")
    await until(lambda: is_in_room(expected=False), "the room is closed")
    await io.emit("notice", {"text": "for everybody", "raw": b"\x00\x01"})
    await until(lambda: all("for everybody" in texts(client) for client in shared.clients), "the last notice")
    assert [text for text in texts(other) if text != "before"] == ["for the room", "for everybody"]
    assert [text for text in texts(one) if text != "before"] == ["for everybody"]
    assert other.named("notice")[-1]["raw"] == b"\x00\x01"
    await io.disconnect(sid)
    await until(lambda: not other.io.connected, "the client is disconnected")
    assert one.io.connected


async def test_a_client_s_answer_finds_its_way_back_to_the_replica_that_asked(shared: Shared) -> None:
    other = shared.clients[1]
    other.io.on("question", lambda body: {"echo": body})
    answers: list[Any] = []

    async def asked() -> bool:
        if not answers:
            await shared.io(0).emit("question", 42, room=other.io.get_sid(), callback=answers.append)
        return bool(answers)

    await until(asked, "the answer")
    assert answers[0] == {"echo": 42}


async def test_the_control_plane_returns_with_its_server(shared: Shared) -> None:
    shared.server.kill()
    await asyncio.to_thread(shared.server.start)
    await _reaches_both(shared, "after a restart")


@pytest.mark.parametrize("shared", ["redis"], indirect=True)
async def test_a_redis_that_went_silent_is_noticed(shared: Shared) -> None:
    await _reaches_both(shared, "before")
    os.kill(shared.server.pid, signal.SIGSTOP)
    await asyncio.sleep(5)  # longer than two pings: the connection is given up
    os.kill(shared.server.pid, signal.SIGCONT)
    await _reaches_both(shared, "after")


@pytest.mark.parametrize("shared", ["nats"], indirect=True)
async def test_what_is_no_request_is_counted_and_harms_nothing(shared: Shared) -> None:
    manager = shared.io(0).manager
    assert isinstance(manager, BusRooms)
    await shared.publish(b"\xff", b"[]", b'"text"', b"{", b"{}", b'{"method":"dance"}')
    await until(lambda: manager.refused[Flaw.MALFORMED] == 6, "what cannot be read is counted")
    await _reaches_both(shared, "after nonsense")


@pytest.mark.parametrize("shared", ["nats"], indirect=True)
async def test_requests_past_the_limit_are_dropped_and_counted(shared: Shared) -> None:
    manager = shared.io(0).manager
    assert isinstance(manager, BusRooms)
    for _ in range(control_plane.WAITING_MAX + 3):  # within one turn of the loop nobody takes any
        manager._hear(b"{}")
    assert manager.dropped_total == 3
    await _reaches_both(shared, "after the flood")
