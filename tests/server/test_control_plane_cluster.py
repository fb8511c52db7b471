"""The control plane on a Redis Cluster: any node carries it, and a lost one is left for another."""

import asyncio
import sys
from pathlib import Path

from bus import open_bus
from server.replica import Replica
from tests.bus.redis_cluster import Cluster, cluster_of
from tests.server.conftest import Client, replica_settings, until
from tests.server.test_control_plane import STOCK_EMIT
from tests.support.processes import Process


async def emit_over(cluster: Cluster, node: int, text: str) -> None:
    """Emit to everybody from a process of its own that knows one node only."""
    url = f"redis://127.0.0.1:{cluster.nodes[node].port}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STOCK_EMIT, url, "", text)
    assert await process.wait() == 0


async def test_requests_reach_a_replica_over_any_node_and_after_the_loss_of_its_own(
    tmp_path: Path, exchange: Process
) -> None:
    async with cluster_of(tmp_path) as cluster:
        bus = open_bus(cluster.url)
        replica = Replica(replica_settings(exchange, replica="r1", bus_url=cluster.url), bus)
        await bus.start()
        await until(lambda: bus.connected, "bus")
        client = Client()
        await client.connect(f"http://127.0.0.1:{await replica.start()}", "websocket")
        try:
            texts: list[str] = []

            async def heard(text: str, node: int) -> None:
                """Emitted again until it is heard: what is said while nobody listens is lost."""
                async with asyncio.timeout(30):
                    while text not in texts:
                        await emit_over(cluster, node, text)
                        texts.extend(body["text"] for body in client.named("notice"))

            for node in range(3):
                await heard(f"over {node}", node)
            cluster.nodes[0].kill()  # the URL's first, which the control plane is on
            await heard("after the loss", 1)
        finally:
            await client.io.disconnect()
            await replica.close()
            await bus.close()
