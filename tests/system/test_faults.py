"""What clients notice when a part of the cluster dies: a moment."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from deploy.plan import BusServer
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

STREAM = "spot:btcusdt@bookTicker"
TRADES = "spot:btcusdt@trade"
SOURCES = ("127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1")


@pytest.fixture
def bus() -> BusServer:
    """What the cluster runs on; `on_both_buses` runs a test on each."""
    return "redis"


on_both_buses = pytest.mark.parametrize("bus", ["redis", pytest.param("nats", marks=pytest.mark.long)])


@pytest.fixture
def cluster(tmp_path: Path, bus: BusServer) -> Iterator[Cluster]:
    with Cluster(tmp_path, env={"SIM_SYMBOLS": "5"}, bus=bus) as running:
        yield running


@pytest.fixture
def clients(cluster: Cluster, tmp_path: Path) -> Iterator[list[NodeClient]]:
    """Clients that together use both replicas, subscribed and receiving."""
    with ExitStack() as running:
        started = [
            running.enter_context(
                NodeClient.collecting(tmp_path / f"{source}.out", cluster.url, source, how, STREAM, TRADES)
            )
            for source in SOURCES
            for how in ("websocket",)
        ]
        for client in started:
            client.wait_for("packet")
        assert {client.lines("connected")[0] for client in started} == {b"app1", b"app2"}
        yield started


def assert_complete(client: NodeClient) -> None:
    """The client's trades have no hole and no repetition: each id is the one after the one before."""
    ids = [json.loads(payload)["t"] for payload in client.messages(TRADES)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(
        entry.get("recovered", True) for reply in client.lines("ack")[1:] for entry in json.loads(reply)["subscribed"]
    )


def _all_receive_again(clients: list[NodeClient]) -> None:
    before = [len(client.messages(STREAM)) for client in clients]
    wait_until(
        lambda: all(len(client.messages(STREAM)) > n for client, n in zip(clients, before, strict=True)),
        "every client receives again",  # how soon, `make chaos` says
    )


@on_both_buses
@pytest.mark.timeout(90)
def test_clients_of_a_killed_replica_go_on_with_the_other_one(cluster: Cluster, clients: list[NodeClient]) -> None:
    cluster.processes["app1"].kill()
    orphans = [client for client in clients if client.lines("connected")[0] == b"app1"]
    for client in orphans:
        client.wait_for("connected", count=2, timeout_s=10)
        assert client.lines("connected")[-1] == b"app2"
    _all_receive_again(clients)
    wait_until(lambda: all(len(client.messages(TRADES)) > 20 for client in clients), "some more trades")
    for client in clients:
        assert_complete(client)
    cluster.processes["app1"].start()


@on_both_buses
@pytest.mark.timeout(90)
def test_data_flows_again_at_the_bus_s_return_and_no_client_is_disconnected(
    cluster: Cluster, clients: list[NodeClient]
) -> None:
    server = cluster.processes[cluster.bus]
    server.kill()
    wait_until(
        lambda: all(
            cluster.health(port)["dependencies"]["cache"]["status"] == "unhealthy" for port in cluster.replica_ports
        ),
        "the replicas say so",
    )
    assert httpx.get(f"{cluster.url}/health").json()["ok"] is True
    time.sleep(2)  # long enough for the retry delay to have grown to its maximum
    server.start()
    _all_receive_again(clients)
    assert all(client.lines("disconnect") == [] for client in clients)


@pytest.mark.timeout(90)
def test_ingestors_that_are_restarted_in_turn_lose_and_double_nothing(
    cluster: Cluster, clients: list[NodeClient]
) -> None:
    for name in ("ingestor1", "ingestor2"):
        ingestor = cluster.processes[name]
        ingestor.stop()
        ingestor.start()
        wait_until(partial(_is_ready, ingestor.port), f"{name} takes part again")
    before = [len(client.messages(TRADES)) for client in clients]
    wait_until(
        lambda: all(len(client.messages(TRADES)) > n + 5 for client, n in zip(clients, before, strict=True)), "trades"
    )
    for client in clients:
        assert_complete(client)


def _is_ready(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == HTTPStatus.OK


@pytest.mark.long
@pytest.mark.timeout(90)
def test_a_dropped_exchange_connection_is_reopened(cluster: Cluster, clients: list[NodeClient]) -> None:
    cluster.control("drop", {})
    _all_receive_again(clients)


@on_both_buses
@pytest.mark.timeout(90)
def test_the_service_starts_without_exchange_and_bus_and_says_so(cluster: Cluster) -> None:
    for name in (cluster.bus, "exchange", "app2"):
        cluster.processes[name].kill()
    cluster.processes["app2"].start()
    port = cluster.replica_ports[1]
    health = cluster.health(port)
    assert (health["ok"], health["status"]) == (True, "degraded")
    assert {name: state["status"] for name, state in health["dependencies"].items()} == dict.fromkeys(
        ("cache", "bus", "exchange"), "unhealthy"
    )
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503
    for name in (cluster.bus, "exchange"):
        cluster.processes[name].start()
    wait_until(lambda: cluster.health(port)["status"] == "healthy", "everything is back", timeout_s=20)
