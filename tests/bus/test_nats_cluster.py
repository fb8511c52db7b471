"""What the NATS bus does on a cluster of three servers that loses one."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bus.support import BTC, Inbox, connected, eventually, flows_again, message, nats_end, publishing, until
from tests.support.nats_cluster import NatsCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path) as running:
        yield running


async def soon(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Await what needs JetStream, which elects leaders first: until then values and budgets are away."""
    await eventually(holds, what, timeout_s=60)


@pytest.mark.long
async def test_the_loss_of_a_node_costs_neither_the_flow_nor_values_nor_budgets(cluster: NatsCluster) -> None:
    inbox = Inbox()
    await soon(cluster.is_complete, "the servers have found each other")
    async with nats_end(cluster.url) as sender, nats_end(cluster.url, inbox=inbox) as receiver:
        await connected(sender)
        await receiver.subscribe([BTC])

        async def put() -> bool:
            await sender.put({"last:a": b"1"}, ttl_s=600)
            return await receiver.get(["last:a"]) == [b"1"]

        async def spent() -> bool:
            before = sender.spent_alone_total
            await sender.spend("weight:a", 10, 100, 600)
            return sender.spent_alone_total == before

        await soon(put, "the buckets stand")
        await soon(spent, "the budget is shared")
        total = await sender.spend("weight:a", 0, 100, 600)
        async with publishing(sender):
            await flows_again(inbox)
            assert receiver._link is not None
            cluster.at(receiver._link.server.port).kill()
            await until(lambda: receiver.connects_total == 2, "the receiver goes to another node")
            await flows_again(inbox)

        async def still_there() -> bool:
            return await receiver.get(["last:a"]) == [b"1"]

        async def still_counted() -> bool:
            before = receiver.spent_alone_total
            now = await receiver.spend("weight:a", 0, 100, 600)
            return receiver.spent_alone_total == before and now == total

        await soon(still_there, "the value is still there")
        await soon(still_counted, "the total is still counted")


async def test_under_load_the_loss_of_a_node_costs_its_own_ends_one_stretch_and_the_others_nothing(
    cluster: NatsCluster,
) -> None:
    staying, moving = Inbox(), Inbox()
    await soon(cluster.is_complete, "the servers have found each other")
    async with nats_end(cluster.url, "moving", moving) as moves, AsyncExitStack() as others:
        await connected(moves)
        lost = cluster.server_of("moving")
        one, other = (server for server in cluster.servers if server is not lost)
        sender = await others.enter_async_context(nats_end(one, "sender"))
        stays = await others.enter_async_context(nats_end(other, "staying", staying))
        for end in (sender, stays, moves):
            await connected(end)
            await end.subscribe([BTC])
        published = 0

        async def publish_until(enough: Callable[[], bool]) -> None:
            nonlocal published
            while not enough():
                await sender.publish([message(cursor=published + number) for number in range(1, 51)])
                published += 50
                await asyncio.sleep(0.005)

        await publish_until(lambda: min(len(staying.messages), len(moving.messages)) > 2_000)
        lost.kill()
        await publish_until(lambda: not moves.connected)
        await publish_until(lambda: moves.connected)
        before = len(moving.messages)
        await publish_until(lambda: len(moving.messages) > before + 2_000)
        await until(lambda: staying.messages[-1].cursor == moving.messages[-1].cursor == published, "the last one")
    # Before the cluster's routes knew of a subscription, what was published elsewhere did not come.
    first = staying.messages[0].cursor
    assert [received.cursor for received in staying.messages] == list(range(first, published + 1))
    cursors = [received.cursor for received in moving.messages]
    holes = [later - earlier for earlier, later in pairwise(cursors) if later - earlier != 1]
    assert len(holes) <= 1
    assert all(hole > 0 for hole in holes)
    assert (sender.dropped_total, stays.connects_total, moves.connects_total) == (0, 1, 2)


async def test_a_bus_is_not_held_up_by_values_that_are_away(cluster: NatsCluster) -> None:
    inbox = Inbox()
    async with nats_end(cluster.url) as sender, nats_end(cluster.url, inbox=inbox) as receiver:
        await connected(sender)
        await connected(receiver)
        # Alone among three, the last one elects no leader.
        assert receiver._link is not None
        last = receiver._link.server.port
        for server in cluster.servers:
            if server.port != last:
                server.kill()

        def is_with_the_last() -> bool:
            return sender.connected and sender._link is not None and sender._link.server.port == last

        await until(is_with_the_last, "the sender finds the last one")
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
        assert await receiver.get(["last:a"]) == [None]
        assert await receiver.spend("weight:a", 25, 100, 60) == 25


async def test_a_server_that_is_about_to_leave_is_left_for_another_one_at_once(cluster: NatsCluster) -> None:
    async with nats_end(cluster.url) as end:
        await connected(end)
        assert end._link is not None
        left = end._link.server.port
        os.kill(cluster.at(left).pid, signal.SIGUSR2)  # lame duck mode
        async with asyncio.timeout(5):
            await until(lambda: end.connects_total == 2, "it goes")
        assert end._link.server.port != left
