"""What the Redis bus does beyond the contract, and what it does with a server that refuses or speaks nonsense."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from redis.asyncio import Connection
from structlog.testing import capture_logs

from bus import redis_link
from bus.base import VALUE_TTL_S
from bus.redis import RedisBus
from bus.tls import BusTls
from market.messages import Message
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
    message,
    start_again,
    until,
)
from tests.support.processes import Process, free_port, redis_server


async def test_subscribe_returns_when_the_server_has_it(redis: Process) -> None:
    streams = [StreamName.parse(f"s{number}usdt@trade") for number in range(5_000)]
    inbox = Inbox()
    async with end_on(redis, inbox=inbox) as receiver, admin_of(redis) as admin:
        await connected(receiver)
        await receiver.subscribe(streams)
        assert len(await admin.pubsub_channels()) == 5_000
        await receiver.publish([message(stream) for stream in streams])
        assert [received.stream for received in await inbox.holds(5_000)] == streams
        await receiver.unsubscribe(streams[1:])
        assert await admin.pubsub_channels() == [streams[0].channel.encode()]


async def test_anybody_can_read_and_write_the_bus_with_redis_cli(redis: Process) -> None:
    inbox = Inbox()
    async with end_on(redis, inbox=inbox) as end, admin_of(redis) as admin, admin.pubsub() as watcher:
        await connected(end)
        await end.subscribe([BTC])
        await watcher.subscribe("md:spot:btcusdt@trade", "ctl:demand")
        await end.publish([message(cursor=7, payload=b'{"t":7}')])
        await end.announce("demand", b"{}")
        seen: list[tuple[bytes, bytes]] = []
        while len(seen) < 2:
            if (found := await watcher.get_message(ignore_subscribe_messages=True, timeout=5)) is not None:
                seen.append((found["channel"], found["data"]))
        assert seen == [
            (b"md:spot:btcusdt@trade", b'7 1700000000000000 {"t":7}'),
            (b"ctl:demand", b"{}"),
        ]
        await admin.publish("md:spot:btcusdt@trade", b"8 9 {}")
        assert (await inbox.holds(2))[1] == Message(BTC, 8, 9, b"{}")


async def test_what_is_no_message_is_counted_logged_once_and_harms_nothing(redis: Process) -> None:
    inbox = Inbox()
    with capture_logs() as logs:
        async with end_on(redis, inbox=inbox) as end, admin_of(redis) as admin:
            await connected(end)
            await end.subscribe([BTC])
            for nonsense in (b"", b"12", b"1 2", b"one 2 {}", b"\xff\xfe \x00 {}", b"1.5 2 {}"):
                await admin.publish(BTC.channel, nonsense)
            await end.publish([message()])
            assert await inbox.holds(1) == [message()]
            assert end.malformed_total == 6
            assert end.connects_total == 1
    assert sum(line["event"] == "no message in what the bus brought" for line in logs) == 1


async def test_values_expire(redis: Process) -> None:
    async with end_on(redis) as end, admin_of(redis) as admin:
        await connected(end)
        await end.put({BTC.last_key: b"1", ETH.last_key: b"2"})
        for key in (BTC.last_key, ETH.last_key):
            assert 0 < await admin.ttl(key) <= VALUE_TTL_S
        await admin.pexpire(BTC.last_key, 1)

        async def expired() -> bool:
            return not await admin.exists(BTC.last_key)

        await eventually(expired, "the value expires")
        assert await end.get([BTC.last_key, ETH.last_key]) == [None, b"2"]


async def test_a_total_expires_and_does_not_live_longer_for_growing(redis: Process) -> None:
    async with end_on(redis) as end, admin_of(redis) as admin:
        await connected(end)
        await end.spend("weight:a", 1, 100, 60)
        await end.spend("weight:a", 1, 100, 3600)
        assert await admin.get("weight:a") == b"2"
        assert 0 < await admin.ttl("weight:a") <= 60


async def test_an_end_that_the_server_refuses_spends_alone(redis: Process) -> None:
    async with end_on(redis) as end, admin_of(redis) as admin:
        await connected(end)
        await admin.set("weight:a", "no number")
        with capture_logs() as logs:
            assert await end.spend("weight:a", 20, 100, 60) == 20
            assert await end.spend("weight:a", 20, 100, 60) is None
        assert end.spent_alone_total == 2
        assert "redis refused a command" in [line["event"] for line in logs]


async def test_what_the_server_refuses_is_logged_and_counted_as_dropped(redis: Process) -> None:
    inbox = Inbox()
    async with end_on(redis, inbox=inbox) as end, admin_of(redis) as admin:
        await connected(end)
        await end.subscribe([BTC])
        await admin.acl_setuser("default", commands=["-publish", "-set", "-mget"], enabled=True, nopass=True)
        with capture_logs() as logs:
            await end.publish([message(), message()])
            await end.put({"last:a": b"1"})
            assert await end.get(["last:a"]) == [None]
        assert end.dropped_total == 2
        assert "redis refused a command" in [line["event"] for line in logs]
        await admin.acl_setuser("default", commands=["+publish"], enabled=True, nopass=True)
        await end.publish([message(cursor=2)])
        assert await inbox.holds(1) == [message(cursor=2)]


async def test_a_cancelled_request_leaves_the_replies_of_the_others_in_place(redis: Process) -> None:
    async with end_on(redis) as end:
        await connected(end)
        await end.put({"last:a": b"1", "last:b": b"2"})
        cancelled = asyncio.create_task(end.get(["last:a"]))
        await asyncio.sleep(0)
        kept = asyncio.create_task(end.get(["last:b"]))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await kept == [b"2"]
        assert cancelled.cancelled()


async def test_requests_past_the_limit_are_dropped_and_counted(redis: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "IN_FLIGHT_MAX", 10)
    async with end_on(redis) as end:
        await connected(end)
        await asyncio.gather(*(end.publish([message()]) for _ in range(15)))
        assert end.dropped_total >= 5
        assert end.connected
        assert end.connects_total == 1


async def test_the_server_shows_who_is_connected(redis: Process) -> None:
    async with end_on(redis, "replica-1") as end, admin_of(redis) as admin:
        await connected(end)
        assert [client["name"] for client in await admin.client_list()].count("replica-1") == 2


def test_a_name_that_the_server_would_refuse_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no spaces"):
        RedisBus("redis://127.0.0.1", "replica 1")


async def test_a_wrong_password_is_logged_without_the_password_and_retried(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with admin_of(server) as admin:
            await admin.config_set("requirepass", "open-sesame")
            with capture_logs() as logs:
                async with end_on(f"redis://:not-sesame@127.0.0.1:{server.port}/0") as end:
                    await until(lambda: bool(logs), "the refusal is logged")
                    assert not end.connected
            assert "sesame" not in repr(logs)
            async with end_on(f"redis://:open-sesame@127.0.0.1:{server.port}/0") as end:
                await connected(end)


def redis_server_with_tls(directory: Path) -> tuple[Process, Path]:
    """A Redis that speaks only TLS, and the certificate to trust."""
    key, certificate, port = directory / "key.pem", directory / "cert.pem", free_port()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    command = [
        *("redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"),
    ]
    return Process(command, port, directory / "redis-tls.log"), certificate


async def test_an_encrypted_connection_carries_the_same(tmp_path: Path) -> None:
    server, certificate = redis_server_with_tls(tmp_path)
    inbox = Inbox()
    with server:
        async with end_on(f"rediss://localhost:{server.port}/0", inbox=inbox, tls=BusTls(certificate)) as end:
            await connected(end)
            await end.subscribe([BTC])
            await end.publish([message(cursor=number, payload=b"x" * 5_000) for number in range(500)])
            assert [received.cursor for received in await inbox.holds(500)] == list(range(500))
            server.kill()
            await disconnected(end)
            await start_again(server)
            await connected(end)


async def test_redis_py_still_hands_out_its_transport(redis: Process) -> None:
    connection = Connection(port=redis.port)
    await connection.connect()  # type: ignore[no-untyped-call] # redis-py
    assert connection._writer is not None, "bus/redis.py takes the transport from here"
    assert connection._reader is not None
    assert connection._reader._buffer == b"", "the handshake left bytes that the link would never see"  # type: ignore[attr-defined] # asyncio's own
    assert hasattr(connection._writer.transport, "set_protocol")
    await connection.disconnect()
