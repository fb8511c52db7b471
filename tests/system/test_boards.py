"""Every expression of every dashboard and alert against a running cluster, scraped by a real Prometheus."""

import math
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import socketio
import yaml

from deploy import programs
from tests.support.boards import PROMETHEUS, Asked, alert_vectors, alerts, panel_expressions
from tests.support.processes import Process, free_port, wait_until
from tests.system.cluster import Cluster

STREAMS = ["*@trade", "btcusdt@kline_1m", "btcusdt@depth", "btcusdt@book", "futures:btcusdt@markPrice"]
AFTER_A_START = {"ReconnectStorm"}
"""What a few seconds cannot be told from: the clients came just now."""
OF_THE_MACHINE = {"TargetDown", "ReplicaDeaf", "HopSlow", "EndToEndSlow", "LoopLag"}
"""What one stall of the machine that runs the tests makes true for a moment; the alerts themselves wait (`for`)."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    env = {"SIM_SYMBOLS": "8", "SIM_TRADES_PER_SECOND": "60", "RECORD": str(folder / "recordings")}
    with Cluster(folder, env=env) as running:
        yield running


def configuration(cluster: Cluster) -> dict[str, Any]:
    """The shipped configuration, every second, with addresses in place of names that only containers have."""
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "alerts.yml")]
    del config["alerting"]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"], job["relabel_configs"]
        role = "app" if job["job_name"] == "replica" else "ingestor"
        ports = [process.port for name, process in cluster.processes.items() if name.startswith(role)]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    return config


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has scraped everybody."""
    assert shutil.which("prometheus"), "make servers installs prometheus"
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(cluster)))
    command = [programs.find("prometheus"), "--config.file", str(folder / "prometheus.yml"), "--log.level=warn"]
    command += ["--storage.tsdb.path", str(folder / "data"), "--web.listen-address", f"127.0.0.1:{port}"]
    with Process(command, port, folder / "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/-/ready", timeout=10).is_success, "Prometheus is ready", timeout_s=30)
        wait_until(lambda: sum(query(url, "up")) == 4, "all four are scraped", timeout_s=30)
        yield url


@pytest.fixture(scope="module", autouse=True)
def _clients(cluster: Cluster) -> Iterator[None]:
    """A client at each replica, so that there is something to count."""
    clients = [socketio.Client(reconnection=False) for _ in cluster.replica_ports]
    for client, port in zip(clients, cluster.replica_ports, strict=True):
        client.connect(f"http://127.0.0.1:{port}", transports=["websocket"], wait_timeout=10)
        assert client.call("subscribe", {"streams": STREAMS}, timeout=10)["subscribed"]
        assert client.call("getHistoricalKlines", {"symbol": "BTCUSDT", "interval": "1m"}, timeout=10)["ok"]
    yield
    for client in clients:
        client.disconnect()


def clusters(cluster: Cluster) -> list[dict[str, Any]]:
    """What each replica says of all."""
    urls = [f"http://127.0.0.1:{port}/cluster" for port in cluster.replica_ports]
    return [httpx.get(url, timeout=5).raise_for_status().json()["data"] for url in urls]


def test_each_replica_answers_for_the_whole_cluster(cluster: Cluster) -> None:
    def knows_all(told: dict[str, Any]) -> bool:
        totals = {name: told["totals"][name] for name in ("replicas", "ingestors", "clients", "fewest_copies")}
        rates = [one["messages_out_per_s"] for one in told["replicas"]]
        rates += [one["messages_per_s"] for one in told["ingestors"]]
        return all(rates) and totals == {"replicas": 2, "ingestors": 2, "clients": 2, "fewest_copies": 2}

    wait_until(lambda: all(map(knows_all, clusters(cluster))), "both know everybody, and how fast they are")
    assert [told["replica"] for told in clusters(cluster)] == ["app1", "app2"]
    for told in clusters(cluster):
        assert [one["replica"] for one in told["replicas"]] == ["app1", "app2"]
        assert [one["phase"] for one in told["ingestors"]] == ["live", "live"]
    assert httpx.get(f"{cluster.url}/cluster", timeout=5).status_code == 404


def query(prometheus: str, expression: str) -> list[float]:
    """The values that an expression has now. Raises for one that Prometheus refuses."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=10)
    body = answer.json()
    assert body["status"] == "success", body
    return [float(sample["value"][1]) for sample in body["data"]["result"]]


def returns_data(prometheus: str, expression: str) -> bool:
    return any(not math.isnan(value) for value in query(prometheus, expression))


def _name_of(asked: Asked) -> str:
    return f"{asked.where}: {asked.expression[:60]}"


@pytest.mark.parametrize("asked", [*panel_expressions("5s"), *alert_vectors()], ids=_name_of)
def test_every_expression_returns_data(prometheus: str, asked: Asked) -> None:
    wait_until(lambda: returns_data(prometheus, asked.expression), asked.expression, timeout_s=20)


def test_no_alert_fires_while_all_is_well(prometheus: str) -> None:
    for rule in alerts():
        if rule["alert"] not in AFTER_A_START | OF_THE_MACHINE:
            assert query(prometheus, rule["expr"]) == [], rule["alert"]


def test_prometheus_took_every_rule(prometheus: str) -> None:
    whole = {rule["alert"]: "ok" for rule in alerts()}
    wait_until(lambda: healths(prometheus) == whole, "every rule is evaluated")


def healths(prometheus: str) -> dict[str, str]:
    """How the latest evaluation of each rule went."""
    groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


def test_who_is_paused_is_silent_to_the_other_until_it_goes_on(cluster: Cluster) -> None:
    pid = cluster.processes["app2"].pid

    def silent() -> list[bool]:
        port = cluster.replica_ports[0]
        return [one["silent"] for one in httpx.get(f"http://127.0.0.1:{port}/cluster").json()["data"]["replicas"]]

    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: silent() == [False, True], "app2 is silent")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: silent() == [False, False], "app2 is heard again")
