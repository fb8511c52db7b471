"""Nginx in front of two real replicas: who goes where, what clients notice of a drain, a return and a reload."""

import asyncio
import itertools
import json
import os
import signal
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import get_args

import aiohttp
import psutil
import pytest
import socketio

from bus import open_bus
from bus.base import Bus
from deploy import nginx
from deploy.check_config import local_configuration, nginx_findings
from market.messages import Message
from market.streams import StreamName
from server.replica import Replica
from server.settings import ReplicaSettings
from tests.server.conftest import until
from tests.support.processes import Process, free_port

TRADES = StreamName.parse("spot:btcusdt@trade")
NAMES = ("app1", "app2")
_numbers = itertools.count()


class Front:
    """Nginx, and two replicas on one bus behind it, which can be ended and started again by name."""

    def __init__(self, directory: Path, balance: nginx.Balance, tls: nginx.Tls | None) -> None:
        self.bus_url = f"memory://front-{next(_numbers)}"
        self.ports = {name: free_port() for name in NAMES}
        self.replicas: dict[str, tuple[Replica, Bus]] = {}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        values = nginx.local_values(
            listen=f"127.0.0.1:{port}",
            replicas=[f"127.0.0.1:{each}" for each in self.ports.values()],
            state_dir=directory,
            open_files=1024,
            as_root=os.geteuid() == 0,
            balance=balance,
            tls=tls,
        )
        path = directory / "nginx.conf"
        path.write_text(nginx.render(nginx.TEMPLATE.read_text(), values))
        command = [nginx.executable(), "-e", "stderr", "-c", str(path), "-g", "daemon off;"]
        self.nginx = Process(command, port, directory / "nginx.log")

    async def start(self, name: str) -> None:
        bus = open_bus(self.bus_url)
        settings = ReplicaSettings(
            host="127.0.0.1",
            port=self.ports[name],
            replica=name,
            exchange_url="http://127.0.0.1:1",
            trusted_proxies=("127.0.0.1",),
            drain_seconds=60.0,
        )
        replica = Replica(settings, bus)
        await bus.start()
        await replica.start()
        self.replicas[name] = replica, bus

    async def end(self, name: str) -> None:
        replica, bus = self.replicas.pop(name)
        await replica.close()
        await bus.close()

    async def asked(self, source: str = "127.0.0.1") -> str:
        """Which replica answers a client of this address."""
        async with session(source) as http, http.get(f"{self.url}/health/live") as answer:
            assert answer.status == HTTPStatus.OK
            return str((await answer.json())["replica"])


def session(source: str = "127.0.0.1") -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0)))


@asynccontextmanager
async def front(
    directory: Path, balance: nginx.Balance = "ip_hash", tls: nginx.Tls | None = None
) -> AsyncIterator[Front]:
    running = Front(directory, balance, tls)
    with running.nginx:
        try:
            for name in NAMES:
                await running.start(name)
            yield running
        finally:
            for name in tuple(running.replicas):
                await running.end(name)


async def polls_at(stack: AsyncExitStack, url: str, source: str, query: str = "") -> str:
    """Connect a stock client that polls, have four events acknowledged, and answer which replica it is at."""
    http = await stack.enter_async_context(session(source))
    client = socketio.AsyncClient(reconnection=False, http_session=http)
    greeted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    client.on("connected", lambda greeting: greeted.set_result(greeting["replica"]))
    stack.push_async_callback(client.disconnect)
    await client.connect(f"{url}{query}", transports=["polling"], wait_timeout=10)
    for _ in range(4):
        assert (await client.call("subscriptions", timeout=5))["ok"]
    return await greeted


@pytest.mark.parametrize("balance", get_args(nginx.Balance))
def test_nginx_takes_each_way_to_find_a_client_s_replica(balance: nginx.Balance, tmp_path: Path) -> None:
    configuration = local_configuration(tmp_path)
    chosen = configuration.replace("http://replicas_ip_hash;", f"http://replicas_{balance};")
    assert nginx_findings(chosen, tmp_path) == []


def test_nginx_does_not_start_with_a_way_that_it_does_not_know(tmp_path: Path) -> None:
    wrong = local_configuration(tmp_path).replace("http://replicas_ip_hash;", "http://replicas_random;")
    assert 'host not found in upstream "replicas_random"' in nginx_findings(wrong, tmp_path)[0]


async def test_clients_that_share_an_address_are_spread_by_the_key_that_they_choose(tmp_path: Path) -> None:
    async with front(tmp_path, "key") as running, AsyncExitStack() as stack:
        places = Counter(
            await asyncio.gather(
                *(polls_at(stack, running.url, "127.0.0.1", f"?balance=client-{n}") for n in range(24))
            )
        )
        assert places.keys() == set(NAMES)
        assert len({await polls_at(stack, running.url, "127.0.0.1") for _ in range(3)}) == 1, (
            "without a key the address"
        )


@pytest.mark.parametrize(("balance", "replicas"), [("ip_hash", 1), ("consistent", 2)])
async def test_clients_of_one_network_are_spread_only_by_the_whole_address(
    tmp_path: Path, balance: nginx.Balance, replicas: int
) -> None:
    async with front(tmp_path, balance) as running, AsyncExitStack() as stack:
        sources = [f"127.0.0.{number}" for number in range(1, 25)]
        places = await asyncio.gather(*(polls_at(stack, running.url, source) for source in sources))
        assert len(set(places)) == replicas


async def test_new_clients_of_a_draining_replica_reach_the_other_one_and_the_old_ones_stay(tmp_path: Path) -> None:
    async with front(tmp_path) as running, AsyncExitStack() as stack:
        here = await running.asked()
        (there,) = set(NAMES) - {here}
        http = await stack.enter_async_context(session())
        old = socketio.AsyncClient(reconnection=False, http_session=await stack.enter_async_context(session()))
        stack.push_async_callback(old.disconnect)
        await old.connect(running.url, transports=["polling"], wait_timeout=10)
        drain = asyncio.create_task(running.replicas[here][0].drain())
        stack.callback(drain.cancel)

        for _ in range(5):
            assert await polls_at(stack, running.url, "127.0.0.1") == there
            async with http.ws_connect(f"{running.url}/socket.io/?EIO=4&transport=websocket") as socket:
                assert (await socket.receive_str()).startswith("0{")
            async with http.ws_connect(running.url) as socket:
                assert (await socket.receive_json())["type"] == "connection"
            async with http.ws_connect(f"{running.url}/ws/btcusdt@trade") as socket:
                await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert (await socket.receive_json())["id"] == 1
            assert (await old.call("subscriptions", timeout=5))["ok"], "its session is where it was"
        assert await running.asked() == here, "requests are still answered"


async def test_a_replica_that_returns_has_its_clients_again_at_once(tmp_path: Path) -> None:
    async with front(tmp_path) as running:
        here = await running.asked()
        await running.end(here)
        assert {await running.asked() for _ in range(10)} == set(NAMES) - {here}
        await running.start(here)
        assert await running.asked() == here


async def test_a_polling_session_that_began_elsewhere_lives_on_when_the_client_s_own_replica_is_back(
    tmp_path: Path,
) -> None:
    async with front(tmp_path) as running, AsyncExitStack() as stack:
        here = await running.asked()
        await running.end(here)
        client = socketio.AsyncClient(reconnection=False, http_session=await stack.enter_async_context(session()))
        stack.push_async_callback(client.disconnect)
        await client.connect(running.url, transports=["polling"], wait_timeout=10)
        await running.start(here)
        assert await running.asked() == here
        for _ in range(5):
            assert (await client.call("subscriptions", timeout=5))["ok"]


async def test_a_session_that_no_replica_knows_is_refused_in_engine_io_s_words(tmp_path: Path) -> None:
    async with front(tmp_path) as running, session() as http:
        address = f"{running.url}/socket.io/?EIO=4&transport=polling&sid=nobody"
        for ask in (http.get(address), http.post(address, data="40")):
            async with ask as answer:
                assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
                assert await answer.json() == {"code": 1, "message": "Session ID unknown"}


async def test_a_replica_that_failed_is_asked_when_the_other_one_fails_next(tmp_path: Path) -> None:
    async with front(tmp_path) as running:
        here = await running.asked()
        (there,) = set(NAMES) - {here}
        await running.end(here)
        assert {await running.asked() for _ in range(10)} == {there}
        await running.end(there)
        await running.start(here)
        assert await running.asked() == here


def workers(master: Process) -> set[int]:
    return {child.pid for child in psutil.Process(master.pid).children()}


def others_than(before: set[int], master: Process) -> set[int]:
    return workers(master) - before


def has(counts: Counter[str], name: str, enough: int) -> bool:
    return counts[name] >= enough


async def test_a_reload_cuts_no_client_loses_no_message_and_refuses_no_request(tmp_path: Path) -> None:
    async with front(tmp_path) as running, session() as http, AsyncExitStack() as stack:
        publisher = open_bus(running.bus_url)
        await publisher.start()
        stack.push_async_callback(publisher.close)
        socket = await stack.enter_async_context(http.ws_connect(f"{running.url}/ws/btcusdt@trade"))
        await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert (await socket.receive_json())["result"] == ["btcusdt@trade"]
        is_over = asyncio.Event()
        counts = Counter[str]()

        async def publish() -> None:
            while not is_over.is_set():
                counts["sent"] += 1
                number = counts["sent"]
                await publisher.publish([Message(TRADES, number, 1, b'{"t":%d}' % number)])
                await asyncio.sleep(0.005)

        async def ask() -> None:
            while not is_over.is_set():
                async with http.get(f"{running.url}/health/live") as answer:
                    assert answer.status == HTTPStatus.OK
                counts["answered"] += 1

        tasks = [asyncio.create_task(publish()), asyncio.create_task(ask())]
        for _ in range(3):
            before = workers(running.nginx)
            os.kill(running.nginx.pid, signal.SIGHUP)
            await until(partial(others_than, before, running.nginx), "new workers")
            enough = counts["answered"] + 10
            await until(partial(has, counts, "answered", enough), "answers after the reload")
        is_over.set()
        await asyncio.gather(*tasks)
        received = [(await socket.receive_json())["t"] for _ in range(counts["sent"])]
    assert received == list(range(1, counts["sent"] + 1))


def test_old_workers_keep_their_websockets_for_hours_after_a_reload(tmp_path: Path) -> None:
    assert "\nworker_shutdown_timeout 1d;" in local_configuration(tmp_path)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=tickcast", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *names, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


async def test_nginx_speaks_tls_where_it_has_a_certificate(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    listen = f"127.0.0.1:{free_port()}"
    trust = ssl.create_default_context(cafile=certificate[0])
    async with front(tmp_path, tls=nginx.Tls(listen, *certificate)) as running, session() as http:
        async with http.ws_connect(f"https://{listen}/socket.io/?EIO=4&transport=websocket", ssl=trust) as socket:
            assert "sid" in json.loads((await socket.receive_str())[1:])
        async with http.get(f"https://{listen}/health/live", ssl=trust) as answer:
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with http.get(f"{running.url}/health/live") as answer:
            assert "Strict-Transport-Security" not in answer.headers


async def test_old_versions_of_tls_are_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    listen = f"127.0.0.1:{free_port()}"
    old = ssl.create_default_context(cafile=certificate[0])
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with front(tmp_path, tls=nginx.Tls(listen, *certificate)), session() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"https://{listen}/health/live", ssl=old)
