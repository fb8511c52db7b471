"""What the Redis bus does when its server dies, hangs or is cut off: on a real server."""

import asyncio
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bus import redis_link
from bus.redis import RedisBus
from bus.redis_node import RedisNode
from market.streams import StreamName
from tests.bus.support import (
    BTC,
    ETH,
    Inbox,
    admin_of,
    connected,
    disconnected,
    end_on,
    eventually,
    flows_again,
    message,
    paused,
    publishing,
    start_again,
    until,
)
from tests.support.processes import Process, free_port, redis_server


async def pings_of(admin: Redis) -> int:
    """How many pings the server has answered."""
    return int((await admin.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"])


async def test_data_flows_again_when_a_killed_server_is_back_without_a_restart_of_anything(redis: Process) -> None:
    inbox = Inbox()
    async with end_on(redis, "sender") as sender, end_on(redis, "receiver", inbox) as receiver:
        await connected(sender)
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
            for times in (1, 2):
                redis.kill()
                await disconnected(sender)
                await disconnected(receiver)
                await until(lambda: sender.dropped_total > 0, "drops are counted")
                await start_again(redis)
                await flows_again(inbox)
                assert receiver.connected
                assert receiver.connects_total == times + 1
        cursors = [received.cursor for received in inbox.messages]
        assert cursors == sorted(set(cursors))
        assert receiver.handler_errors_total == receiver.malformed_total == 0


async def test_nothing_published_while_the_server_is_away_comes_later(redis: Process) -> None:
    inbox = Inbox()
    async with end_on(redis) as sender, end_on(redis, inbox=inbox) as receiver:
        await connected(sender)
        await connected(receiver)
        await receiver.subscribe([BTC])
        redis.kill()
        await disconnected(sender)
        await sender.publish([message(cursor=1), message(cursor=2)])
        await sender.announce("demand", b"{}")
        assert sender.dropped_total == 3
        await start_again(redis)
        await connected(sender)
        await connected(receiver)
        await sender.publish([message(cursor=3)])
        assert [received.cursor for received in await inbox.holds(1)] == [3]


async def test_budgets_are_shared_again_when_the_server_is_back(redis: Process) -> None:
    async with end_on(redis) as one, end_on(redis) as other:
        await connected(one)
        await connected(other)
        assert await one.spend("weight:a", 90, 100, 60) == 90
        redis.kill()
        await disconnected(one)
        await disconnected(other)
        for end in (one, other):
            assert await end.spend("weight:a", 25, 100, 60) == 25
            assert await end.spend("weight:a", 1, 100, 60) is None
        await start_again(redis)
        await connected(one)
        await connected(other)
        assert await one.spend("weight:a", 60, 100, 60) == 60
        assert await other.spend("weight:a", 60, 100, 60) is None


async def test_what_was_subscribed_and_unsubscribed_while_the_server_was_away_holds(redis: Process) -> None:
    inbox = Inbox()
    heard: list[bytes] = []
    receiver = RedisBus(f"redis://127.0.0.1:{redis.port}")
    receiver.on_messages(inbox.take)
    receiver.listen("demand", heard.append)
    await receiver.start()
    async with end_on(redis) as sender:
        await connected(receiver)
        await receiver.subscribe([BTC])
        redis.kill()
        await disconnected(receiver)
        await receiver.subscribe([ETH])
        await receiver.unsubscribe([BTC])
        await start_again(redis)
        await connected(receiver)
        await connected(sender)
        await sender.publish([message(BTC), message(ETH)])
        await sender.announce("demand", b"{}")
        assert await inbox.holds(1) == [message(ETH)]
        await until(lambda: heard == [b"{}"], "the topic is restored")
    await receiver.close()


async def test_subscriptions_stand_before_connected_turns_true_again(redis: Process) -> None:
    streams = [StreamName.parse(f"s{number}usdt@trade") for number in range(2_000)]
    async with end_on(redis) as receiver:
        await receiver.subscribe(streams)
        await connected(receiver)
        redis.kill()
        await disconnected(receiver)
        await start_again(redis)
        await connected(receiver)
        async with admin_of(redis) as admin:
            assert len(await admin.pubsub_channels()) == 2_000


async def test_a_server_that_hangs_is_noticed_and_used_again_when_it_goes_on(redis: Process) -> None:
    inbox = Inbox()
    async with end_on(redis) as sender, end_on(redis, inbox=inbox) as receiver:
        await connected(sender)
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
            with paused(redis):
                await disconnected(receiver)
                await disconnected(sender)
                dropped = sender.dropped_total
                await until(lambda: sender.dropped_total > dropped, "drops are counted")
                assert await sender.get(["last:a"]) == [None]
                await receiver.subscribe([ETH])
            await flows_again(inbox)
            await sender.publish([message(ETH)])
            await until(lambda: message(ETH) in inbox.messages, "what was subscribed meanwhile")


async def test_a_verb_under_way_when_the_server_hangs_ends_without_an_error(
    redis: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "PING_INTERVAL_S", 0.1)
    async with end_on(redis) as end:
        await connected(end)
        with paused(redis):
            _, _, _, values, _ = await asyncio.gather(
                end.publish([message(), message()]),
                end.announce("demand", b"{}"),
                end.put({"last:a": b"1"}),
                end.get(["last:a", "last:b"]),
                end.subscribe([BTC]),
            )
            assert values == [None, None]
            assert end.dropped_total == 3
            await disconnected(end)


async def test_a_process_that_stood_still_itself_keeps_its_connection(
    redis: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "PING_INTERVAL_S", 0.2)
    async with end_on(redis) as end:
        await connected(end)
        time.sleep(0.2 * redis_link.SILENT_PINGS_MAX * 3)  # noqa: ASYNC251 # this is the standstill
        async with admin_of(redis) as admin:
            before = await pings_of(admin)

            async def pinged_on() -> bool:
                return await pings_of(admin) > before + 4 * redis_link.SILENT_PINGS_MAX

            await eventually(pinged_on, "the heartbeat goes on")
        assert end.connected
        assert end.connects_total == 1


async def test_a_bus_starts_without_a_server_and_connects_when_there_is_one(tmp_path: Path) -> None:
    port = free_port()
    inbox = Inbox()
    async with end_on(f"redis://127.0.0.1:{port}", inbox=inbox) as end:
        await end.subscribe([BTC])
        await end.publish([message()])
        await end.put({"last:a": b"1"})
        assert await end.get(["last:a"]) == [None]
        assert not end.connected
        assert end.dropped_total == 1
        with redis_server(tmp_path, port):
            await connected(end)
            await end.publish([message(cursor=2)])
            assert await inbox.holds(1) == [message(cursor=2)]


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
async def test_either_connection_may_be_cut(redis: Process, kind: str) -> None:
    inbox = Inbox()
    async with end_on(redis) as sender, end_on(redis, inbox=inbox) as receiver, admin_of(redis) as admin:
        await connected(sender)
        await connected(receiver)
        await receiver.subscribe([BTC])
        assert await admin.client_kill_filter(_type=kind, skipme=True) > 0
        await until(lambda: receiver.connects_total == 2, "the receiver connects again")
        await connected(sender)
        async with publishing(sender):
            await flows_again(inbox)


@pytest.mark.parametrize("turns", range(4))
async def test_closing_while_the_bus_tidies_up_leaves_nothing_open(redis: Process, turns: int) -> None:
    async with end_on(redis) as end, admin_of(redis) as admin:
        await connected(end)
        await end.subscribe([BTC])
        cut = asyncio.ensure_future(admin.client_kill_filter(_type="pubsub"))
        async with asyncio.timeout(10):
            while end.connected:  # noqa: ASYNC110 # the very turn in which the bus notices is what is wanted
                await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await end.close()
        assert isinstance(end._servers, RedisNode)
        assert end._servers._open_connections == []
        assert await cut == 1
