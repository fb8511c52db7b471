"""The bus behind real Sentinels: the master dies, or is replaced without dying."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis

from bus.redis import RedisBus
from tests.bus.support import BTC, Inbox, connected, end_on, eventually, flows_again, publishing, until
from tests.support.processes import Process, free_port, redis_server


class Watched(NamedTuple):
    """A master, its replica and two Sentinels."""

    master: Process
    replica: Process
    sentinels: list[Process]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/0/feed"


def sentinel_of(master: Process, directory: Path) -> Process:
    port = free_port()
    path = directory / f"sentinel-{port}.conf"
    path.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
        f"sentinel monitor feed 127.0.0.1 {master.port} 2\n"
        "sentinel down-after-milliseconds feed 500\nsentinel failover-timeout feed 3000\n"
    )
    return Process(["redis-server", str(path), "--sentinel"], port, directory / f"sentinel-{port}.log")


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[Watched]:
    with ExitStack() as running:
        master, replica = (running.enter_context(redis_server(directory)) for _ in range(2))
        async with Redis(port=replica.port) as admin:
            await admin.slaveof("127.0.0.1", master.port)
        sentinels = [running.enter_context(sentinel_of(master, directory)) for _ in range(2)]

        async def all_know() -> bool:
            known = []
            for sentinel in sentinels:
                async with Redis(port=sentinel.port) as client:
                    state = await client.sentinel_master("feed")
                    assert isinstance(state, dict)
                    known.append((int(state["num-slaves"]), int(state["num-other-sentinels"])))
            return known == [(1, 1)] * 2

        await eventually(all_know, "the Sentinels know of the replica and of each other", timeout_s=30)
        yield Watched(master, replica, sentinels)


@asynccontextmanager
async def flowing(place: Watched) -> AsyncIterator[tuple[RedisBus, Inbox]]:
    """A receiver that hears what a sender publishes all the time."""
    inbox = Inbox()
    async with end_on(place.url, "sender") as sender, end_on(place.url, "receiver", inbox) as receiver:
        await connected(sender)
        await connected(receiver)
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
            yield receiver, inbox


async def test_data_flows_again_over_the_replica_that_took_over_from_a_dead_master(tmp_path: Path) -> None:
    async with watched(tmp_path) as place, flowing(place) as (receiver, inbox):
        place.master.kill()
        await until(lambda: receiver.connects_total == 2, "the bus is at the new master", timeout_s=30)
        await flows_again(inbox)
        async with Redis(port=place.replica.port) as admin:
            assert {client["name"] for client in await admin.client_list()} >= {"sender", "receiver"}


async def test_a_master_that_was_demoted_is_left(tmp_path: Path) -> None:
    async with watched(tmp_path) as place, flowing(place) as (receiver, inbox):
        async with Redis(port=place.sentinels[0].port) as sentinel:
            await sentinel.execute_command("SENTINEL", "FAILOVER", "feed")  # type: ignore[no-untyped-call] # redis-py
        await until(lambda: receiver.connects_total >= 2, "the bus follows", timeout_s=30)
        async with Redis(port=place.replica.port) as admin:

            async def both_there() -> bool:
                return {client["name"] for client in await admin.client_list()} >= {"sender", "receiver"}

            await eventually(both_there, "both ends are at the new master", timeout_s=30)
        await flows_again(inbox)


async def test_a_sentinel_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    async with watched(tmp_path) as place:
        place.sentinels[0].kill()
        async with flowing(place) as (receiver, _inbox):
            await asyncio.sleep(0)
            assert receiver.connected
