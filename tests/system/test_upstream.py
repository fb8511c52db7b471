"""What clients notice of connections to the exchange that are replaced, refused or lost in part: nothing."""

from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient, ingestor_metric
from tests.system.test_faults import STREAM, TRADES, assert_complete


def _handovers(cluster: Cluster, reason: str) -> float:
    """How often the ingestors have replaced a connection for this reason."""
    return sum(ingestor_metric(cluster, f'upstream_handovers_total{{reason="{reason}"}}'))


@pytest.mark.timeout(90)
def test_clients_miss_nothing_while_connections_are_rotated_and_shut_down(tmp_path: Path) -> None:
    env = {"SIM_SYMBOLS": "5", "SIM_TRADES_PER_SECOND": "50", "CONNECTION_LIFETIME_S": "3"}
    with (
        Cluster(tmp_path, env=env) as cluster,
        NodeClient.collecting(tmp_path / "client.out", cluster.url, "127.0.1.1", "websocket", STREAM, TRADES) as client,
    ):
        client.wait_for("packet")
        wait_until(lambda: _handovers(cluster, "age") >= 3, "three rotations", timeout_s=40)
        cluster.control("shutdown", {"delay_s": 0.5})
        wait_until(lambda: _handovers(cluster, "shutdown") >= 1, "a successor after the shutdown", timeout_s=20)
        before = len(client.messages(TRADES))
        wait_until(lambda: len(client.messages(TRADES)) > before + 50, "trades go on")
        assert_complete(client)
