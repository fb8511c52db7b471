"""What the NATS bus does when its server dies, hangs or is cut off: on a real server."""

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest

from bus import nats_link
from tests.bus.support import (
    BTC,
    ETH,
    Inbox,
    connected,
    disconnected,
    flows_again,
    message,
    nats_end,
    paused,
    publishing,
    start_again,
    until,
)
from tests.support.processes import Process, free_port, nats_server


async def test_data_flows_again_when_a_killed_server_is_back_without_a_restart_of_anything(nats: Process) -> None:
    inbox = Inbox()
    async with nats_end(nats, "sender") as sender, nats_end(nats, "receiver", inbox) as receiver:
        await connected(sender)
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
            for times in (1, 2):
                nats.kill()
                await disconnected(sender)
                await disconnected(receiver)
                await until(lambda: sender.dropped_total > 0, "drops are counted")
                await start_again(nats)
                await flows_again(inbox)
                assert receiver.connected
                assert receiver.connects_total == times + 1
        cursors = [received.cursor for received in inbox.messages]
        assert cursors == sorted(set(cursors))
        assert receiver.handler_errors_total == receiver.malformed_total == 0


async def test_nothing_published_while_the_server_is_away_comes_later(nats: Process) -> None:
    inbox = Inbox()
    async with nats_end(nats) as sender, nats_end(nats, inbox=inbox) as receiver:
        await connected(sender)
        await connected(receiver)
        await receiver.subscribe([BTC])
        nats.kill()
        await disconnected(sender)
        await sender.publish([message(cursor=1), message(cursor=2)])
        await sender.announce("demand", b"{}")
        assert sender.dropped_total == 3
        await start_again(nats)
        await connected(sender)
        await connected(receiver)
        await sender.publish([message(cursor=3)])
        assert [received.cursor for received in await inbox.holds(1)] == [3]


@pytest.mark.parametrize("kind", ["nats", "core_nats"])
async def test_values_of_a_server_that_was_away_are_gone_and_new_ones_kept(
    request: pytest.FixtureRequest, kind: str
) -> None:
    server: Process = request.getfixturevalue(kind)
    async with nats_end(server) as one, nats_end(server) as other:
        await connected(one)
        await connected(other)
        await one.put({"last:a": b"1"})
        assert await other.get(["last:a"]) == [b"1"]
        server.kill()
        await disconnected(one)
        await disconnected(other)
        assert await other.get(["last:a"]) == [None]
        await start_again(server)
        await connected(one)
        await connected(other)
        assert await other.get(["last:a"]) == [None]
        await one.put({"last:a": b"2"})
        assert await other.get(["last:a"]) == [b"2"]


async def test_budgets_are_shared_again_when_the_server_is_back(nats: Process) -> None:
    async with nats_end(nats) as one, nats_end(nats) as other:
        await connected(one)
        await connected(other)
        assert await one.spend("weight:a", 90, 100, 60) == 90
        nats.kill()
        await disconnected(one)
        await disconnected(other)
        for end in (one, other):
            assert await end.spend("weight:a", 25, 100, 60) == 25
            assert await end.spend("weight:a", 1, 100, 60) is None
        await start_again(nats)
        await connected(one)
        await connected(other)
        assert await one.spend("weight:a", 60, 100, 60) == 60
        assert await other.spend("weight:a", 60, 100, 60) is None


async def test_what_was_subscribed_and_unsubscribed_while_the_server_was_away_holds(nats: Process) -> None:
    inbox = Inbox()
    heard: list[bytes] = []
    async with nats_end(nats) as sender, nats_end(nats, inbox=inbox, demand=heard.append) as receiver:
        await connected(receiver)
        await receiver.subscribe([BTC])
        nats.kill()
        await disconnected(receiver)
        await receiver.subscribe([ETH])
        await receiver.unsubscribe([BTC])
        await start_again(nats)
        await connected(receiver)
        await connected(sender)
        await sender.publish([message(BTC), message(ETH)])
        await sender.announce("demand", b"{}")
        assert await inbox.holds(1) == [message(ETH)]
        await until(lambda: heard == [b"{}"], "the topic is restored")


async def test_a_server_that_hangs_is_noticed_and_used_again_when_it_goes_on(nats: Process) -> None:
    inbox = Inbox()
    async with nats_end(nats) as sender, nats_end(nats, inbox=inbox) as receiver:
        await connected(sender)
        await receiver.subscribe([BTC])
        async with publishing(sender):
            await flows_again(inbox)
            with paused(nats):
                async with asyncio.timeout(5):
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
    nats: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_link, "PING_INTERVAL_S", 0.1)
    async with nats_end(nats) as end:
        await connected(end)
        await end.put({"last:a": b"1"})
        with paused(nats):
            _, _, _, values, _, spent = await asyncio.gather(
                end.publish([message(), message()]),
                end.announce("demand", b"{}"),
                end.put({"last:a": b"1"}),
                end.get(["last:a", "last:b"]),
                end.subscribe([BTC]),
                end.spend("weight:a", 25, 100, 60),
            )
            assert values == [None, None]
            assert spent == 25
            assert end.dropped_total == 3
            await disconnected(end)


async def test_a_process_that_stood_still_itself_keeps_its_connection(
    nats: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_link, "PING_INTERVAL_S", 0.2)
    async with nats_end(nats) as end:
        await connected(end)
        time.sleep(0.2 * nats_link.SILENT_PINGS_MAX * 3)  # noqa: ASYNC251 # this is the standstill
        await asyncio.sleep(0.2 * nats_link.SILENT_PINGS_MAX * 3)  # as many beats again
        assert end.connected
        assert end.connects_total == 1


async def test_a_server_s_own_pings_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text('ping_interval: "100ms"\nping_max: 10\n')
    with nats_server(tmp_path, None, "-c", str(path), jetstream=False) as server:
        async with nats_end(server) as end:
            await connected(end)
            await asyncio.sleep(2.5)  # 25 pings; without an answer the eleventh is the last
            assert end.connects_total == 1


async def test_a_bus_starts_without_a_server_and_connects_when_there_is_one(tmp_path: Path) -> None:
    port = free_port()
    inbox = Inbox()
    async with nats_end(f"nats://127.0.0.1:{port}", inbox=inbox) as end:
        await end.subscribe([BTC])
        await end.publish([message()])
        await end.put({"last:a": b"1"})
        assert await end.get(["last:a"]) == [None]
        assert not end.connected
        assert end.dropped_total == 1
        with nats_server(tmp_path, port):
            await connected(end)
            await end.publish([message(cursor=2)])
            assert await inbox.holds(1) == [message(cursor=2)]


async def test_a_server_that_speaks_something_else_is_left_and_tried_again(tmp_path: Path) -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await _reader.read()
        writer.close()

    stranger = await asyncio.start_server(speak, "127.0.0.1")
    port = stranger.sockets[0].getsockname()[1]
    async with nats_end(f"nats://127.0.0.1:{port}") as end:
        await until(lambda: end._attempts >= 2, "another attempt")
        assert not end.connected
        stranger.close()
        await stranger.wait_closed()
        with nats_server(tmp_path, port):
            await connected(end)


async def test_a_receiver_that_is_too_slow_is_cut_off_by_the_server_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text('max_payload: 200000\nmax_pending: 1000000\nwrite_deadline: "500ms"\n')
    inbox = Inbox()
    with nats_server(tmp_path, None, "-c", str(path), jetstream=False) as server:
        async with nats_end(server) as sender, nats_end(server, inbox=inbox) as receiver:
            await connected(sender)
            await receiver.subscribe([BTC])
            assert receiver._link is not None
            transport = cast("asyncio.Transport", receiver._link._transport)
            transport.pause_reading()
            payload = b"x" * 100_000
            for cursor in range(300):
                await sender.publish([message(cursor=cursor, payload=payload)])
            await until(lambda: "Slow Consumer" in server.log.read_text(), "the server cuts it off")
            transport.resume_reading()
            await until(lambda: receiver.connects_total == 2, "it comes back")
            await connected(receiver)
            async with publishing(sender):
                await flows_again(inbox)
            assert sender.connects_total == 1


@pytest.mark.parametrize("turns", range(4))
async def test_closing_while_the_bus_tidies_up_leaves_nothing_open(nats: Process, turns: int) -> None:
    async with nats_end(nats) as end:
        await connected(end)
        await end.subscribe([BTC])
        assert await end.get(["last:a"]) == [None]
        nats.kill()
        async with asyncio.timeout(10):
            while end.connected:  # noqa: ASYNC110 # the very turn in which the bus notices is what is wanted
                await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await end.close()
        assert end._link is None
        assert end._keeper is None
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("bus")] == []
