"""The bus on a real Redis Cluster of three nodes: sharded channels, a resharding, a node that dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from bus.redis import RedisBus
from market.streams import StreamName
from tests.bus.redis_cluster import SLOTS, Cluster, cluster_of
from tests.bus.support import Inbox, connected, end_on, message, start_again, until

STREAMS = [StreamName.parse(f"s{number}usdt@trade") for number in range(60)]


def number_of_owner(stream: StreamName, masters: int = 3) -> int:
    """Which node has the stream at first."""
    return next(n for n in range(masters) if key_slot(stream.channel.encode()) < (n + 1) * SLOTS // masters)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(tmp_path) as cluster:
        yield cluster


@asynccontextmanager
async def pair(cluster: Cluster) -> AsyncIterator[tuple[RedisBus, RedisBus, Inbox]]:
    """A sender, and a receiver that has subscribed to all STREAMS."""
    inbox = Inbox()
    async with end_on(cluster.url, "sender") as sender, end_on(cluster.url, "receiver", inbox) as receiver:
        await connected(sender)
        await connected(receiver)
        await receiver.subscribe(STREAMS)
        yield sender, receiver, inbox


async def publish_until(sender: RedisBus, inbox: Inbox, streams: list[StreamName], what: str) -> None:
    """Publish to `streams`, until each of them has been heard from since this was called."""
    seen = len(inbox.messages)
    for cursor in range(1_000, 2_000):
        await sender.publish([message(stream, cursor) for stream in streams])
        await asyncio.sleep(0.02)
        if {received.stream for received in inbox.messages[seen:]} >= set(streams):
            return
    raise AssertionError(what)


async def test_each_stream_travels_over_the_node_that_owns_its_slot(cluster: Cluster) -> None:
    async with pair(cluster) as (sender, receiver, inbox):
        sent = [message(stream, cursor) for cursor in range(3) for stream in STREAMS]
        await sender.publish(sent)
        got = await inbox.holds(len(sent))
        for stream in STREAMS:
            assert [each.cursor for each in got if each.stream == stream] == [0, 1, 2]
        for number in range(3):
            own = {stream.channel.encode() for stream in STREAMS if number_of_owner(stream) == number}
            assert own
            assert await cluster.shard_channels(number) == own
        await receiver.unsubscribe(STREAMS[1:])
        await sender.publish(sent[: len(STREAMS)])
        assert (await inbox.holds(len(sent) + 1))[-1].stream == STREAMS[0]
        assert sender.dropped_total == 0


async def test_a_slot_that_moves_takes_its_streams_along(cluster: Cluster) -> None:
    async with pair(cluster) as (sender, receiver, inbox):
        stream = next(stream for stream in STREAMS if number_of_owner(stream) == 0)
        await publish_until(sender, inbox, STREAMS, "all flow")
        await cluster.move(key_slot(stream.channel.encode()), 0, 1)
        await publish_until(sender, inbox, STREAMS, "all flow, the moved one from its new node")
        for number in range(3):
            assert (stream.channel.encode() in await cluster.shard_channels(number)) == (number == 1)
        assert receiver.connected
        await receiver.unsubscribe([stream])
        await sender.publish([message(stream, 5_000), message(STREAMS[-1], 5_000)])
        await until(lambda: inbox.messages[-1].cursor == 5_000, "the other stream")
        assert inbox.messages[-1].stream == STREAMS[-1]


async def test_a_node_that_dies_stops_its_own_streams_until_it_is_back(cluster: Cluster) -> None:
    async with pair(cluster) as (sender, receiver, inbox):
        await publish_until(sender, inbox, STREAMS, "all flow")
        cluster.nodes[2].kill()
        await until(lambda: not sender.connected and not receiver.connected, "both notice")
        await publish_until(
            sender, inbox, [stream for stream in STREAMS if number_of_owner(stream) != 2], "the others flow"
        )
        await sender.publish([message(stream) for stream in STREAMS])
        assert sender.dropped_total == sum(number_of_owner(stream) == 2 for stream in STREAMS)
        await start_again(cluster.nodes[2])
        await connected(sender)
        await connected(receiver)
        await publish_until(sender, inbox, STREAMS, "all flow again")


async def test_a_replica_that_is_promoted_takes_over(tmp_path: Path) -> None:
    async with cluster_of(tmp_path, replicas=1) as cluster, pair(cluster) as (sender, receiver, inbox):
        await publish_until(sender, inbox, STREAMS, "all flow")
        cluster.nodes[0].kill()
        await until(lambda: not receiver.connected, "the loss is noticed")
        await connected(sender, timeout_s=30)
        await connected(receiver, timeout_s=30)
        await publish_until(sender, inbox, STREAMS, "all flow again")


async def test_values_announcements_and_budgets_find_their_nodes(cluster: Cluster) -> None:
    heard: list[bytes] = []
    end = RedisBus(cluster.url, "end")
    end.listen("demand", heard.append)
    await end.start()
    try:
        await connected(end)
        await end.announce("demand", b"{}")
        await until(lambda: heard == [b"{}"], "the announcement")
        values = {stream.last_key: str(stream).encode() for stream in STREAMS}
        await end.put(values)
        assert await end.get([*values, "last:nothing"]) == [*values.values(), None]
        for admin in cluster.admins:
            assert await admin.dbsize() > 0
        assert await end.spend("weight:a", 60, 100, 60) == 60
        assert await end.spend("weight:a", 60, 100, 60) is None
        assert await end.spend("weight:b", 60, 100, 60) == 60
        assert end.spent_alone_total == 0
    finally:
        await end.close()


@pytest.mark.parametrize(
    "url", ["redis+cluster://a:1/3", "redis://a:1,b:2", "redis+sentinel://a:1/mymaster", "redis+x://a"]
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Redis|hosts|Sentinel"):
        RedisBus(url)
