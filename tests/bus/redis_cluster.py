"""A real Redis Cluster for tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.bus.support import eventually
from tests.support.processes import Process, redis_cluster_node

SLOTS = 16_384


class Cluster:
    """Nodes, and what redis-cli would do with them."""

    def __init__(self, nodes: list[Process], admins: list[Redis]) -> None:
        self.nodes = nodes
        self.admins = admins
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"

    async def form(self, masters: int) -> None:
        """Make the first `masters` nodes own all slots, and the others replicas of the first."""
        for number in range(masters):
            first, last = number * SLOTS // masters, (number + 1) * SLOTS // masters - 1
            await self.run(number, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for number in range(len(self.nodes)):
            await self.run(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            bus_port = node.command[node.command.index("--cluster-port") + 1]
            await self.run(0, "CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        await eventually(self._knows_all, "the nodes know each other", timeout_s=20)
        master = await self.id_of(0)
        for number in range(masters, len(self.nodes)):
            await self.run(number, "CLUSTER", "REPLICATE", master)
        await eventually(self._is_up, "the cluster is up", timeout_s=20)

    async def id_of(self, number: int) -> bytes:
        return bytes(await self.run(number, "CLUSTER", "MYID"))

    async def move(self, slot: int, source: int, target: int) -> None:
        """Move an empty slot, in the steps of the Redis Cluster specification."""
        ids = [await self.id_of(number) for number in (source, target)]
        await self.run(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        await self.run(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        for number in (target, source):
            await self.run(number, "CLUSTER", "SETSLOT", slot, "NODE", ids[1])

    async def run(self, number: int, *words: object) -> Any:
        """The answer of one node to one command."""
        return await self.admins[number].execute_command(*words)  # type: ignore[no-untyped-call] # redis-py

    async def shard_channels(self, number: int) -> set[bytes]:
        return set(await self.run(number, "PUBSUB", "SHARDCHANNELS"))

    async def _knows_all(self) -> bool:
        nodes = [await self.run(number, "CLUSTER", "NODES") for number in range(len(self.nodes))]
        return all(text.count(b" connected") == len(self.nodes) for text in nodes)

    async def _is_up(self) -> bool:
        infos = [await self.run(number, "CLUSTER", "INFO") for number in range(len(self.nodes))]
        roles = [await self.run(number, "ROLE") for number in range(3, len(self.nodes))]
        return all(b"cluster_state:ok" in info for info in infos) and all(role[3] == b"connected" for role in roles)


@asynccontextmanager
async def cluster_of(directory: Path, *, replicas: int = 0) -> AsyncIterator[Cluster]:
    with ExitStack() as running:
        nodes = [running.enter_context(redis_cluster_node(directory)) for _ in range(3 + replicas)]
        async with AsyncExitStack() as admins:
            clients = [await admins.enter_async_context(Redis(port=node.port)) for node in nodes]
            cluster = Cluster(nodes, clients)
            await cluster.form(3)
            yield cluster
