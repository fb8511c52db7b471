"""The bus on several servers: what is on which, and what the loss of one means."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from bus import open_bus
from bus.sharded import server_of
from market.streams import StreamName
from tests.bus.support import Inbox, connected, message, start_again, until
from tests.support.processes import redis_server

STREAMS = [StreamName.parse(f"s{number}usdt@trade") for number in range(200)]


async def channels_of(port: int) -> set[str]:
    async with Redis(port=port, decode_responses=True) as admin:
        return {str(channel) for channel in await admin.pubsub_channels("md:*")}


async def test_streams_are_spread_evenly_and_alike_whatever_the_order_of_the_urls(tmp_path: Path) -> None:
    with redis_server(tmp_path) as one, redis_server(tmp_path) as other, redis_server(tmp_path) as third:
        urls = [f"redis://127.0.0.1:{server.port}/0" for server in (one, other, third)]
        inbox = Inbox()
        sender, receiver = open_bus(",".join(urls)), open_bus(",".join(reversed(urls)))
        receiver.on_messages(inbox.take)
        for end in (sender, receiver):
            await end.start()
            await connected(end)
        await receiver.subscribe(STREAMS)
        parts = [await channels_of(server.port) for server in (one, other, third)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(STREAMS)
        assert min(map(len, parts)) > len(STREAMS) / 6
        await sender.publish([message(stream) for stream in STREAMS])
        assert {received.stream for received in await inbox.holds(len(STREAMS))} == set(STREAMS)
        for end in (sender, receiver):
            await end.close()


async def test_a_lost_server_stops_what_is_on_it_and_nothing_else(tmp_path: Path) -> None:
    with redis_server(tmp_path) as one, redis_server(tmp_path) as other:
        inbox = Inbox()
        end = open_bus(f"redis://127.0.0.1:{one.port},redis://127.0.0.1:{other.port}")
        end.on_messages(inbox.take)
        await end.start()
        await connected(end)
        await end.subscribe(STREAMS)
        kept = await channels_of(other.port)
        one.kill()
        await until(lambda: not end.connected, "the loss is noticed")
        await end.publish([message(stream) for stream in STREAMS])
        assert {received.stream.channel for received in await inbox.holds(len(kept))} == kept
        assert end.dropped_total == len(STREAMS) - len(kept)
        await start_again(one)
        await connected(end)
        await end.publish([message(stream, 2) for stream in STREAMS])
        assert len(await inbox.holds(len(kept) + len(STREAMS))) == len(kept) + len(STREAMS)
        await end.close()


def test_credentials_do_not_change_the_place_of_a_stream() -> None:
    mine = ["rediss://me:secret@a:1/0", "rediss://me:secret@b:1/0"]
    theirs = ["rediss://b:1/0", "rediss://a:1/0"]
    for stream in STREAMS:
        assert server_of(stream.channel, mine).replace("me:secret@", "") == server_of(stream.channel, theirs)


def test_a_server_that_is_added_takes_its_share_and_moves_nothing_else() -> None:
    before, after = ["redis://a:1", "redis://b:1"], ["redis://a:1", "redis://b:1", "redis://c:1"]
    moved = [stream for stream in STREAMS if server_of(stream.channel, before) != server_of(stream.channel, after)]
    assert {server_of(stream.channel, after) for stream in moved} == {"redis://c:1"}
    assert len(STREAMS) / 6 < len(moved) < len(STREAMS) / 2


def test_the_same_server_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two different servers"):
        open_bus("redis://a:1,redis://a:1")
