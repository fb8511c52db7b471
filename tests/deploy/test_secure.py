"""The secured cluster: everything works under users of least rights, and nothing says a secret."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import socketio

from deploy.check_config import compose_services
from deploy.plan import BusServer, cluster_plan
from deploy.secure import Secrets
from tests.support.processes import ROOT, Process, free_port, wait_until
from tests.support.secured import client_of, refusals

EMIT = """
import sys
from clients.python.tickcast_emitter import SignedRedisManager
url, key, ca = sys.argv[1:]
SignedRedisManager(url, key, {"ssl_ca_certs": ca}).emit("notice", {"text": "signed"})
"""


class Secured(NamedTuple):
    """A small secured cluster: the bus, the exchange's stand-in, an ingestor and a replica."""

    processes: dict[str, Process]
    secrets: Secrets
    url: str


@pytest.fixture(scope="module", params=["redis", pytest.param("nats", marks=pytest.mark.long)])
def secured(
    request: pytest.FixtureRequest, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("cluster")
    bus: BusServer = request.param
    replica_port = free_port()
    plan = cluster_plan(
        state_dir=directory,
        nginx_port=free_port(),
        replica_ports=[replica_port],
        ingestor_ports=[free_port()],
        bus_port=free_port(),
        exchange_port=free_port(),
        bus=bus,
        secrets=secrets,
    )
    plan.write()
    processes = {
        each.name: Process(each.argv, each.port or 0, directory / f"{each.name}.log", {"SIM_SYMBOLS": "5", **each.env})
        for each in plan.processes
        if each.name != "nginx"
    }
    with ExitStack() as running, ThreadPoolExecutor() as pool:
        for process in processes.values():
            running.callback(process.stop)
        list(pool.map(lambda process: process.start(timeout_s=60), processes.values()))
        url = f"http://127.0.0.1:{replica_port}"
        wait_until(lambda: httpx.get(f"{url}/health").json()["status"] == "healthy", "the replica is fed", 60)
        yield Secured(processes, secrets, url)


def use(secured: Secured) -> list[Any]:
    """Have a client do what clients do; the notices that it got from elsewhere."""
    notices: list[Any] = []
    tickers: list[Any] = []
    client = socketio.Client()
    client.on("notice", notices.append)
    client.on("ticker", tickers.append)
    client.connect(secured.url, transports=["websocket"], wait_timeout=10)
    streams = ["ethusdt@ticker", "btcusdt@trade", "btcusdt@book", "futures:btcusdt@kline_1m"]
    answer = client.call("subscribe", {"streams": streams, "since": {"btcusdt@trade": 1}})
    assert answer["ok"], answer
    for path in ("/price/BTCUSDT", "/api/latest-prices", "/klines/BTCUSDT?limit=5", "/metrics"):
        assert httpx.get(f"{secured.url}{path}").status_code == 200
    wait_until(lambda: len(tickers) > 1, "market data flows")
    if "redis" in secured.processes:
        emit(secured, secured.secrets.password("emitter"))
        wait_until(lambda: bool(notices), "another process emits")
    client.disconnect()
    return notices


def emit(secured: Secured, password: str) -> None:
    """Emit from a process of its own that has the emitter's password and the key, and nothing else."""
    url = f"rediss://tickcast-emitter:{password}@127.0.0.1:{secured.processes['redis'].port}"
    key = (secured.secrets.directory / "control.key").read_text().strip()
    subprocess.run([sys.executable, "-c", EMIT, url, key, str(secured.secrets.ca)], cwd=ROOT, check=True, timeout=30)


def test_everything_works_and_nobody_is_refused_anything(secured: Secured) -> None:
    notices = use(secured)
    logs = "".join(process.log.read_text() for process in secured.processes.values())
    if "redis" in secured.processes:
        assert notices == [{"text": "signed"}]
        with client_of(secured.processes["redis"], secured.secrets, "operator") as operator:
            assert refusals(operator) == []
    assert "ermissions" not in logs
    assert "no permissions" not in logs
    assert "can emit and disconnect" not in logs, "there is a key"


def test_no_log_and_no_answer_has_a_secret(secured: Secured) -> None:
    texts = [process.log.read_text() for process in secured.processes.values()]
    texts += [httpx.get(f"{secured.url}{path}").text for path in ("/health", "/stats", "/metrics", "/symbols")]
    key = (secured.secrets.directory / "control.key").read_text().strip()
    for secret in (*(secured.secrets.password(user) for user in ("ingestor", "replica")), key):
        assert not any(secret in text for text in texts)


@pytest.mark.long
@pytest.mark.parametrize("secured", ["redis"], indirect=True)
def test_a_replica_with_a_wrong_password_stays_up_and_says_why(secured: Secured, tmp_path: Path) -> None:
    replica = secured.processes["app1"]
    (tmp_path / "password").write_text("open-sesame")
    port = free_port()
    env = {**replica._env, "BUS_PASSWORD_FILE": str(tmp_path / "password"), "PORT": str(port), "REPLICA": "wrong"}
    with Process(replica.command, port, tmp_path / "wrong.log", env) as wrong:
        health = f"http://127.0.0.1:{port}/health"

        def says_why() -> bool:
            message = httpx.get(health).json()["dependencies"]["cache"]["message"]
            return bool(message == "not reachable (the server refuses our user or password); serving without it")

        wait_until(says_why, "its health says why")
        assert "sesame" not in wrong.log.read_text() + httpx.get(health).text
        assert httpx.get(f"{health}/live").status_code == 200


def test_making_secrets_again_keeps_what_is_there(tmp_path: Path) -> None:
    made = Secrets(tmp_path / "secrets")
    made.make("bus.example.com", "10.1.2.3")
    before = {path.name: path.read_bytes() for path in made.directory.iterdir()}
    (made.directory / "replica.password").unlink()
    made.make()
    after = {path.name: path.read_bytes() for path in made.directory.iterdir()}
    assert {name for name, text in after.items() if before[name] != text} == {
        "replica.password",
        "users.acl",
        "nats.env",
    }
    assert made.directory.stat().st_mode & 0o777 == 0o700
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(made.directory / "bus.pem"), "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:bus.example.com" in shown
    assert "IP Address:10.1.2.3" in shown


def test_no_password_stands_in_what_redis_reads(secrets: Secrets) -> None:
    users = (secrets.directory / "users.acl").read_text()
    assert "${" not in users
    assert not any(secrets.password(user) in users for user in ("ingestor", "replica", "emitter", "operator"))


def test_compose_hands_each_container_its_own_secrets() -> None:
    services = compose_services("docker-compose.yml", "docker-compose.secure.yml")
    given = {name: {secret["source"] for secret in service.get("secrets", [])} for name, service in services.items()}
    assert given["ingestor"] == {"bus_ca", "ingestor_password"}
    assert given["app1"] == given["app2"] == {"bus_ca", "replica_password", "control_key"}
    assert given["nginx"] == given["exchange"] == set()
    assert services["app1"]["environment"]["BUS_URL"] == "rediss://tickcast-replica@redis:6379"
    assert "maxmemory" not in json.dumps(services["redis"]["command"]), "its file says it"
