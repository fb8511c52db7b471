"""The example clients of documents 002 and 003, as printed apart from the address, through the whole cluster."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.support.processes import ROOT, wait_until
from tests.system.cluster import Cluster

SEEDS = Path(__file__).parent / "seeds"
ASSETS = {"BTC", "ETH", "SOL", "ADA", "XRP"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), env={"SIM_SYMBOLS": "8"}) as running:
        yield running


@contextmanager
def example(name: str, cluster: Cluster, directory: Path) -> Iterator[Path]:
    """Run one example against the cluster; the file that holds what it has printed so far."""
    script, output = directory / name, directory / f"{name}.out"
    printed = (SEEDS / name).read_text()
    script.write_text(re.sub(r"http://localhost:\d+", cluster.url, printed))
    command: Sequence[str] = ["node", str(script)] if script.suffix == ".js" else [sys.executable, "-u", str(script)]
    with output.open("wb") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "NODE_PATH": str(ROOT / "node_modules")}
        )
    try:
        yield output
    finally:
        child.kill()
        child.wait(timeout=5)


@pytest.mark.parametrize("name", ["002_client.js", "002_client.py"])
def test_document_002s_clients_print_live_prices(cluster: Cluster, tmp_path: Path, name: str) -> None:
    with example(name, cluster, tmp_path) as output:
        wait_until(lambda: output.read_text().count("Price Update:") >= 6, f"prices in {output}")
        text = output.read_text()
    assert text.index("Connected:") < text.index("Subscribed:")
    assert "Connected to WebSocket Streaming Service" in text
    assert "Subscribed to 2 symbols" in text
    for symbol in ("BTCUSDT", "ETHUSDT"):
        stamps = re.findall(rf"symbol'?: '{symbol}'.*?timestamp'?: '([^']+)'", text, re.DOTALL)
        assert len(stamps) >= 2, symbol
        assert len(set(stamps)) == len(stamps), "no price twice"


def test_document_003s_page_gets_each_tick_once_at_its_interval(cluster: Cluster, tmp_path: Path) -> None:
    with example("003_client.js", cluster, tmp_path) as output:
        wait_until(lambda: output.read_text().count("tick ") >= 5 * 8, f"ticks in {output}")
        lines = output.read_text().splitlines()
    ticks = [
        json.loads(line.removeprefix("tick ")) for line in lines if line.startswith("tick ") and line.endswith("}")
    ]
    assert {tick["symbol"] for tick in ticks} == ASSETS
    assert len({(tick["symbol"], tick["ts"]) for tick in ticks}) == len(ticks)
    bitcoin = [tick for tick in ticks if tick["symbol"] == "BTC"]
    assert all(re.fullmatch(r"-?\d+\.\d\d%", tick["change"]) and tick["price"] > 0 for tick in bitcoin)
    gaps = [later["ts"] - earlier["ts"] for earlier, later in pairwise(bitcoin[1:])]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(500, abs=150)


def test_curl_sees_health_and_stats_through_nginx(cluster: Cluster) -> None:
    health = httpx.get(f"{cluster.url}/health").json()
    assert (health["ok"], health["status"]) == (True, "healthy")
    stats = httpx.get(f"{cluster.url}/stats").json()
    assert stats["success"] is True
    assert {"service", "port", "active_streams", "active_symbols", "total_subscriptions", "uptime"} <= set(
        stats["data"]
    )
    assert httpx.get(f"{cluster.url}/metrics").status_code == 404
