"""How a replica takes leave of its clients, at every door and over every transport."""

import asyncio
import itertools
import json
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.exceptions import SocketIOError

from server.drain import Departure, Notice, plan_departures
from tests.server.conftest import Client, Served, until
from tests.server.json_client import json_client
from tests.support.documented import Documented
from tests.support.processes import Process, accepts, free_port, tickcast, wait_until

TRADES = "spot:btcusdt@trade"
SLOW = pytest.mark.parametrize("served", [{"drain_seconds": 60.0}], indirect=True)
"""For what happens while nobody has to go yet."""
QUICK = pytest.mark.parametrize("served", [{"drain_seconds": 0.6}], indirect=True)


class Somebody:
    def __init__(self, notice_s: float = math.inf) -> None:
        self.notice_s = notice_s

    def warn(self, notice: Notice) -> None:
        raise NotImplementedError

    def dismiss(self) -> None:
        raise NotImplementedError


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 # chance that repeats itself


def plan(clients: int, drain_s: float, notice_s: float = math.inf, seed: int = 1) -> list[Departure]:
    return plan_departures([Somebody(notice_s) for _ in range(clients)], drain_s, seeded(seed))


@given(clients=st.integers(1, 500), drain_s=st.floats(0.1, 600), notice_s=st.sampled_from([math.inf, 0.0, 2.0]))
def test_no_part_of_a_drain_sees_more_than_its_share_of_departures(
    clients: int, drain_s: float, notice_s: float
) -> None:
    departures = plan(clients, drain_s, notice_s)
    lead_s = 0.0 if math.isinf(notice_s) else min(notice_s, drain_s / 2)
    for when, spread_s in (("closed_s", drain_s - lead_s), ("warned_s", drain_s - lead_s)):
        if when == "warned_s" and math.isinf(notice_s):
            continue
        times = sorted(getattr(each, when) for each in departures)
        assert times[-1] <= drain_s + 1e-6
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(gap == pytest.approx(spread_s / clients, rel=1e-6) for gap in gaps)


def test_who_gets_a_late_notice_gets_all_of_it_before_its_end() -> None:
    assert {round(each.closed_s - each.warned_s, 6) for each in plan(20, 10.0, notice_s=2.0)} == {2.0}
    assert {round(each.closed_s - each.warned_s, 6) for each in plan(20, 1.0, notice_s=2.0)} == {0.5}
    assert {each.warned_s for each in plan(20, 10.0)} == {0.0}


def test_without_time_everybody_goes_at_once() -> None:
    assert {(each.warned_s, each.closed_s) for each in plan(20, 0.0, notice_s=2.0)} == {(0.0, 0.0)}


def test_who_goes_first_is_left_to_chance() -> None:
    somebody = [Somebody() for _ in range(20)]
    first, second = (plan_departures(somebody, 10.0, seeded(seed)) for seed in (1, 2))
    assert [each.leaver for each in first] != [each.leaver for each in second]
    assert {each.leaver for each in first} == set(somebody)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Draining:
    """A drain that is given up at the end of the test."""

    def __init__(self, served: Served) -> None:
        self.task = asyncio.create_task(served.replica.drain())

    async def __aenter__(self) -> asyncio.Task[None]:
        await asyncio.sleep(0)  # it has begun
        return self.task

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@SLOW
async def test_a_draining_replica_is_not_ready_says_why_and_goes_on_answering(
    served: Served, http: aiohttp.ClientSession
) -> None:
    async with Draining(served):
        async with http.get(f"{served.url}/health/ready") as ready:
            assert ready.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert await ready.json() == {"ok": False, "replica": "r1", "draining": True}
        async with http.get(f"{served.url}/health") as health:
            body = await health.json()
            assert (health.status, body["ok"], body["status"]) == (HTTPStatus.OK, True, "draining")
        async with http.get(f"{served.url}/health/live") as live, http.get(f"{served.url}/symbols") as symbols:
            assert live.status == symbols.status == HTTPStatus.OK
        async with http.get(f"{served.url}/metrics") as metrics:
            assert "tickcast_draining 1.0" in await metrics.text()


@SLOW
@pytest.mark.parametrize(
    "path",
    ["/", "/ws/btcusdt@trade", "/market/stream?streams=btcusdt@aggTrade", "/socket.io/?EIO=4&transport=websocket"],
)
async def test_new_websockets_are_refused_so_that_a_balancer_goes_elsewhere(
    served: Served, http: aiohttp.ClientSession, path: str
) -> None:
    async with Draining(served):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(served.url + path)
    assert refused.value.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "1"


@SLOW
async def test_new_polling_sessions_are_refused_and_old_ones_go_on(served: Served, http: aiohttp.ClientSession) -> None:
    polling = f"{served.url}/socket.io/?EIO=4&transport=polling"
    async with http.get(polling) as opening:
        sid = json.loads((await opening.text())[1:])["sid"]
    async with Draining(served):
        async with http.get(polling) as refused:
            assert refused.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert refused.headers["Retry-After"] == "1"
        async with http.post(f"{polling}&sid={sid}", data="40") as connected:
            assert connected.status == HTTPStatus.OK
        async with http.get(f"{polling}&sid={sid}") as polled:
            packets = (await polled.text()).split("\x1e")
    (told,) = [json.loads(packet[2:])[1] for packet in packets if packet.startswith('42["draining"')]
    assert told["replica"] == "r1", "a session that connects to the namespace meanwhile is told, too"
    assert 0 < told["delayMs"] <= 60_000


@QUICK
async def test_socket_io_clients_are_told_served_on_and_closed(served: Served, client: Client) -> None:
    ended: list[str] = []
    client.io.on("disconnect", ended.append)
    async with Draining(served) as drain:
        await until(lambda: client.named("draining"), "the client is told")
        (told,) = client.named("draining")
        Documented("io").check("draining", told)
        assert told["replica"] == "r1"
        assert 0 < told["delayMs"] <= 600
        try:
            assert (await client.call("subscribe", {"streams": [TRADES]}))["ok"]
            await served.publish(TRADES, b'{"t":1}')
            await until(lambda: client.named("trade") or ended, "who subscribes while it drains is served")
        except (SocketIOError, TimeoutError):
            assert ended, "only who is closed first gets no answer"
        await drain
        await until(lambda: ended, "the client is closed")
    assert not served.replica._door.connections_by_transport()["websocket"]
    assert served.replica._drain.dismissed_total == 1


@QUICK
async def test_clients_of_the_json_door_are_told_in_their_own_manner_and_closed(served: Served) -> None:
    async with json_client(served.url) as lower, json_client(served.url) as upper:
        await upper.ask("PONG", type="PING")
        async with Draining(served):
            (told,) = await lower.wait_for("draining")
            (told_upper,) = await upper.wait_for("DRAINING")
            assert await lower.wait_closed() == await upper.wait_closed() == (1000, "Server shutting down")
    Documented("json").check("draining", told)
    Documented("json").check("DRAINING", told_upper)
    assert {told["delayMs"], told_upper["data"]["delayMs"]} == {300, 600}


@QUICK
@pytest.mark.parametrize("path", ["/ws/btcusdt@trade", "/market/stream?streams=btcusdt@aggTrade"])
async def test_clients_of_the_binance_door_hear_binance_s_announcement_before_they_are_closed(
    served: Served, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.ws_connect(served.url + path) as socket, Draining(served) as drain:
        told = json.loads(await socket.receive_str())
        assert not drain.done()
        end = await socket.receive()
    assert told.get("data", told)["e"] == "serverShutdown"
    assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1001)


@QUICK
async def test_a_client_in_the_middle_of_an_upgrade_is_closed_where_it_ends_up(
    served: Served, http: aiohttp.ClientSession
) -> None:
    polling = f"{served.url}/socket.io/?EIO=4&transport=polling"
    async with http.get(polling) as opening:
        sid = json.loads((await opening.text())[1:])["sid"]
    async with http.post(f"{polling}&sid={sid}", data="40") as connected:
        assert connected.status == HTTPStatus.OK
    async with (
        Draining(served),
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket&sid={sid}") as socket,
    ):
        await socket.send_str("2probe")
        assert await socket.receive_str() == "3probe"
        await socket.send_str("5")
        texts = [message.data async for message in socket if message.type is aiohttp.WSMsgType.TEXT]
    assert any(text.startswith('42["draining"') for text in texts)
    assert "1" not in texts, "a stock Python client would not come back after that"
    assert socket.close_code == 1000


@QUICK
async def test_a_client_between_two_polls_still_gets_what_it_is_owed(
    served: Served, http: aiohttp.ClientSession
) -> None:
    polling = f"{served.url}/socket.io/?EIO=4&transport=polling"
    async with http.get(polling) as opening:
        address = f"{polling}&sid={json.loads((await opening.text())[1:])['sid']}"
    async with http.post(address, data="40") as connected:
        assert connected.status == HTTPStatus.OK
    async with Draining(served) as drain:
        await drain
        packets: list[str] = []
        while packets[-1:] != ["6"]:
            async with http.get(address) as polled:
                assert polled.status == HTTPStatus.OK
                packets += (await polled.text()).split("\x1e")
        assert "1" not in packets, "a stock Python client would not come back after that"
    assert [packet[:6] for packet in packets if packet.startswith('42["dr')] == ['42["dr']


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Process]:
    """A replica as a process of its own, without a bus or an exchange, that would drain for ten minutes."""
    with tickcast("replica", free_port(), tmp_path, {"DRAIN_SECONDS": "600", "REPLICA": "alone"}) as process:
        yield process


def readiness(process: Process) -> dict[str, Any]:
    body: dict[str, Any] = httpx.get(f"http://127.0.0.1:{process.port}/health/ready").json()
    return body


def test_a_first_sigterm_drains_and_a_second_one_ends_it(alone: Process) -> None:
    assert "alone on the memory bus" in alone.log.read_text(), "which is a mistake in a cluster"
    os.kill(alone.pid, signal.SIGTERM)
    wait_until(lambda: readiness(alone)["draining"], "it drains and still answers")
    os.kill(alone.pid, signal.SIGTERM)
    wait_until(lambda: not accepts(alone.port), "it has ended")
    assert "Traceback" not in alone.log.read_text()


def test_ctrl_c_waits_for_nobody(alone: Process) -> None:
    began = time.monotonic()
    os.kill(alone.pid, signal.SIGINT)
    wait_until(lambda: not accepts(alone.port), "it has ended")
    assert time.monotonic() - began < 600
