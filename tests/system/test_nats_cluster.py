"""What clients notice when the bus, a NATS cluster of three servers, loses one of them: a moment."""

import json
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.nats_cluster import NatsCluster
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

TRADES = "spot:btcusdt@trade"
SOURCES = ("127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1")
SETTINGS = {"SIM_SYMBOLS": "5", "SIM_TRADES_PER_SECOND": "100"}


def announced_gaps(client: NodeClient) -> int:
    """How many times the client was told that it missed trades."""
    return sum(packet.startswith(b'2["gap"') and TRADES.encode() in packet for packet in client.lines("packet"))


def trade_ids(client: NodeClient) -> list[int]:
    return [json.loads(payload)["t"] for payload in client.messages(TRADES)]


@pytest.mark.long
@pytest.mark.timeout(90)
def test_the_loss_of_a_node_under_load_doubles_nothing_and_hides_no_gap(tmp_path: Path) -> None:
    with NatsCluster(tmp_path) as nats, ExitStack() as running:
        cluster = running.enter_context(Cluster(tmp_path, env={**SETTINGS, "BUS_URL": nats.url}, bus="nats"))
        clients = [
            running.enter_context(
                NodeClient.collecting(tmp_path / f"{source}.out", cluster.url, source, "websocket", TRADES)
            )
            for source in SOURCES
        ]
        for client in clients:
            client.wait_for("packet")
        assert {client.lines("connected")[0] for client in clients} == {b"app1", b"app2"}
        nats.server_of("app1").kill()
        before = [len(client.messages(TRADES)) for client in clients]
        wait_until(
            lambda: all(
                len(client.messages(TRADES)) > count + 100 for client, count in zip(clients, before, strict=True)
            ),
            "trades flow on for every client",
            timeout_s=10,
        )
        for client in clients:
            ids = trade_ids(client)
            assert ids == sorted(set(ids))
            holes = sum(later - earlier > 1 for earlier, later in pairwise(ids))
            assert holes <= announced_gaps(client)
            assert client.lines("disconnect") == []
