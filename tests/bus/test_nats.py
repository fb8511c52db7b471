"""What the NATS bus does beyond the contract, and what it does with a server that refuses."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats as stock
import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from bus import nats_link
from bus.nats_values import MAX_AGE_S, VALUES_MAX_BYTES
from bus.tls import BusTls
from market.messages import Message
from market.streams import StreamName, price_key
from tests.bus.support import BTC, ETH, Inbox, connected, disconnected, message, nats_end, start_again, until
from tests.bus.test_nats_wire import every_name
from tests.support.processes import Process, free_port, nats_server


@asynccontextmanager
async def stock_client(server: Process) -> AsyncIterator[Client]:
    """The stock client, to look at the server from the side."""
    client = await stock.connect(f"nats://127.0.0.1:{server.port}")
    try:
        yield client
    finally:
        await client.close()


async def worked_off(client: Client) -> None:
    """Return once the server has everything that `client` sent: its `flush` may overtake what is still to be sent."""
    own = await client.subscribe("own")
    await client.publish("own", b"")
    await own.next_msg(timeout=10)


def configured(directory: Path, text: str) -> Process:
    """A server with a configuration file of its own."""
    path = directory / "nats.conf"
    path.write_text(text)
    return nats_server(directory, None, "-c", str(path))


def watched(directory: Path) -> tuple[Process, str]:
    """A server, and the address of its monitoring."""
    port = free_port()
    return nats_server(directory, None, "-m", str(port)), f"http://127.0.0.1:{port}"


async def connections(url: str) -> list[dict[str, Any]]:
    """Whom the server is connected to, with all their subscriptions."""
    async with httpx.AsyncClient() as http:
        found: list[dict[str, Any]] = (await http.get(f"{url}/connz?subs=1")).json()["connections"]
        return found


async def test_subscribe_returns_when_the_server_has_it(tmp_path: Path) -> None:
    streams = [StreamName.parse(f"s{number}usdt@trade") for number in range(5_000)]
    inbox = Inbox()
    server, monitoring = watched(tmp_path)
    with server:
        async with nats_end(server, "replica 1", inbox) as receiver:
            await connected(receiver)
            await receiver.subscribe(streams)
            (connection,) = await connections(monitoring)
            assert connection["name"] == "replica 1"
            assert {stream.subject for stream in streams} < set(connection["subscriptions_list"])
            await receiver.publish([message(stream) for stream in streams])
            assert [received.stream for received in await inbox.holds(5_000)] == streams
            await receiver.unsubscribe(streams[1:])
            (connection,) = await connections(monitoring)
            assert [name for name in connection["subscriptions_list"] if name[:3] == "md."] == [streams[0].subject]


async def test_every_stream_that_there_can_be_goes_its_own_way(nats: Process) -> None:
    names = every_name("btcusdt", "币安人生usdt", "all", "*", "!")
    inbox = Inbox()
    async with nats_end(nats, inbox=inbox) as end:
        await connected(end)
        await end.subscribe(names)
        await end.publish([message(name) for name in names])
        assert [received.stream for received in await inbox.holds(len(names))] == names


async def test_anybody_can_read_and_write_the_bus_with_a_stock_client(nats: Process) -> None:
    inbox = Inbox()
    heard: list[tuple[str, bytes]] = []

    async def hear(found: Any) -> None:
        heard.append((found.subject, found.data))

    async with nats_end(nats, inbox=inbox) as end, stock_client(nats) as client:
        await connected(end)
        await end.subscribe([BTC])
        await client.subscribe("md.>", cb=hear)
        await client.subscribe("ctl.demand", cb=hear)
        await worked_off(client)
        await end.publish([message(cursor=7, payload=b'{"t":7}')])
        await end.announce("demand", b"{}")
        await until(lambda: len(heard) == 2, "both")
        assert sorted(heard) == [("ctl.demand", b"{}"), ("md.spot.btcusdt.trade", b'7 1700000000000000 {"t":7}')]
        await client.publish("md.spot.btcusdt.trade", b"8 9 {}", headers={"Trace-Id": "1"})
        assert (await inbox.holds(2))[1] == Message(BTC, 8, 9, b"{}")


async def test_values_stand_in_a_bounded_bucket_that_stock_clients_read(nats: Process) -> None:
    async with nats_end(nats) as end, stock_client(nats) as client:
        await connected(end)
        await end.put({price_key("BTCUSDT"): b"1.5", BTC.last_key: b"2"}, ttl_s=60)
        bucket = await client.jetstream().key_value("tickcast")
        until_ms, body = (await bucket.get("prices=3ABTCUSDT")).value.split(b" ")  # type: ignore[union-attr] # it is there
        assert body == b"1.5"
        assert 0 < int(until_ms) - time.time() * 1000 <= 60_000
        config = (await client.jetstream().stream_info("KV_tickcast")).config
        assert (config.max_bytes, config.max_age, config.storage) == (VALUES_MAX_BYTES, MAX_AGE_S, "memory")
        assert (config.max_msgs_per_subject, config.discard) == (1, "old")


async def test_a_bucket_that_somebody_made_otherwise_is_used_as_it_is(nats: Process) -> None:
    async with stock_client(nats) as client:
        await client.jetstream().create_key_value(bucket="tickcast", history=3, direct=True)
        async with nats_end(nats) as end:
            await connected(end)
            await end.put({"last:a": b"1"})
            assert await end.get(["last:a"]) == [b"1"]
        assert (await client.jetstream().stream_info("KV_tickcast")).config.max_msgs_per_subject == 3


async def test_an_end_whose_clock_is_wrong_shares_values_and_budgets_all_the_same(
    nats: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    async with nats_end(nats) as one, nats_end(nats) as other:
        await connected(one)
        await one.put({"last:a": b"1"}, ttl_s=60)
        assert await one.spend("weight:a", 60, 100, 60) == 60
        monkeypatch.setattr(time, "time", lambda: right() + 3600)
        await connected(other)
        assert await other.get(["last:a"]) == [b"1"]
        assert await other.spend("weight:a", 60, 100, 60) is None


async def test_an_end_that_the_server_refuses_spends_alone(nats: Process) -> None:
    async with nats_end(nats) as end, stock_client(nats) as client:
        await connected(end)
        assert await end.spend("weight:a", 90, 100, 60) == 90
        bucket = await client.jetstream().key_value("tickcast_budgets")
        await bucket.put("weight=3Aa", b"no number")
        with capture_logs() as logs:
            assert await end.spend("weight:a", 20, 100, 60) == 20
            assert await end.spend("weight:a", 20, 100, 60) is None
        assert end.spent_alone_total == 2
        assert "the bus's values are away" in [line["event"] for line in logs]


async def test_without_jetstream_an_end_has_the_values_that_it_saw_and_spends_alone(core_nats: Process) -> None:
    async with nats_end(core_nats) as writer, nats_end(core_nats) as reader:
        await connected(writer)
        await connected(reader)
        await writer.put({BTC.last_key: b"1"})
        assert await reader.get([BTC.last_key]) == [b"1"]
        assert await reader.spend("weight:a", 25, 100, 60) == 25
        assert await writer.spend("weight:a", 25, 100, 60) == 25
        assert await writer.spend("weight:a", 1, 100, 60) is None
        assert writer.spent_alone_total == 2
        async with nats_end(core_nats) as late:
            await connected(late)
            assert await late.get([BTC.last_key]) == [None]
            await writer.put({BTC.last_key: b"2"})
            assert await late.get([BTC.last_key]) == [b"2"]


async def test_an_account_without_jetstream_is_a_server_without_it(tmp_path: Path) -> None:
    text = "accounts { a { users: [{user: a, password: a}] } }"
    with configured(tmp_path, text) as server:
        url = f"nats://a:a@127.0.0.1:{server.port}"
        async with nats_end(url) as writer, nats_end(url) as reader:
            await connected(writer)
            await connected(reader)
            await writer.put({"last:a": b"1"})
            assert await reader.get(["last:a"]) == [b"1"]
            assert await writer.spend("weight:a", 26, 100, 60) is None


async def test_what_is_no_message_is_counted_logged_once_and_harms_nothing(core_nats: Process) -> None:
    inbox = Inbox()
    with capture_logs() as logs:
        async with nats_end(core_nats, inbox=inbox) as end, stock_client(core_nats) as client:
            await connected(end)
            await end.subscribe([BTC])
            for nonsense in (b"", b"12", b"1 2", b"one 2 {}", b"\xff\xfe \x00 {}", b"1.5 2 {}"):
                await client.publish(BTC.subject, nonsense)
            await client.publish("val.a", b"no value")
            await until(lambda: end.malformed_total == 7, "all of it is counted")
            await end.publish([message()])
            assert await inbox.holds(1) == [message()]
            assert end.connects_total == 1
    assert sum(line["event"] == "no message in what the bus brought" for line in logs) == 1


async def test_what_the_server_refuses_is_logged_and_counted_as_dropped(tmp_path: Path) -> None:
    rules = (
        f'authorization {{ users: [{{user: a, password: a, permissions: {{publish: {{deny: "{BTC.subject}"}}}}}}] }}'
    )
    inbox = Inbox()
    with configured(tmp_path, rules) as server:
        async with nats_end(f"nats://a:a@127.0.0.1:{server.port}", inbox=inbox) as end:
            await connected(end)
            await end.subscribe([BTC, ETH])
            with capture_logs() as logs:
                await end.publish([message(BTC), message(ETH), message(BTC)])
            assert end.dropped_total == 2
            assert await inbox.holds(1) == [message(ETH)]
            assert "nats refused" in [line["event"] for line in logs]
            assert end.connects_total == 1


async def test_what_is_longer_than_the_server_takes_is_dropped_and_the_connection_stays(tmp_path: Path) -> None:
    inbox = Inbox()
    with configured(tmp_path, "max_payload: 2000") as server:
        async with nats_end(server, inbox=inbox) as end:
            await connected(end)
            await end.subscribe([BTC])
            await end.publish([message(cursor=1), message(cursor=2, payload=b"x" * 2_000), message(cursor=3)])
            assert [received.cursor for received in await inbox.holds(2)] == [1, 3]
            assert end.dropped_total == 1
            await end.put({"last:a": b"x" * 2_000, "last:b": b"y"})
            assert await end.get(["last:a", "last:b"]) == [None, b"y"]
            assert end.connects_total == 1


async def test_a_cancelled_caller_leaves_the_answers_of_the_others_in_place(nats: Process) -> None:
    async with nats_end(nats) as end:
        await connected(end)
        await end.put({"last:a": b"1", "last:b": b"2"})
        cancelled = [asyncio.create_task(end.get(["last:a"])), asyncio.create_task(end.publish([message()]))]
        await asyncio.sleep(0)
        kept = asyncio.create_task(end.get(["last:b"]))
        published = asyncio.create_task(end.publish([message()]))
        await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        assert await kept == [b"2"]
        await published
        assert end.dropped_total == 0
        assert await end.get(["last:a"]) == [b"1"]


async def test_callers_past_the_limit_are_dropped_and_counted(nats: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_link, "IN_FLIGHT_MAX", 10)
    async with nats_end(nats) as end:
        await connected(end)
        await asyncio.gather(*(end.publish([message()]) for _ in range(15)))
        assert end.dropped_total >= 5
        assert end.connected
        assert end.connects_total == 1


@pytest.mark.parametrize(
    ("rules", "wrong", "right"),
    [
        ("user: me, password: open-sesame", "me:not-sesame", "me:open-sesame"),
        ("token: open-sesame", "not-sesame", "open-sesame"),
    ],
)
async def test_wrong_credentials_are_logged_without_them_and_retried(
    tmp_path: Path, rules: str, wrong: str, right: str
) -> None:
    with configured(tmp_path, f"authorization {{ {rules} }}") as server:
        with capture_logs() as logs:
            async with nats_end(f"nats://{wrong}@127.0.0.1:{server.port}") as end:
                await until(lambda: "the bus cannot connect" in [line["event"] for line in logs], "it is logged")
                assert not end.connected
        assert "sesame" not in repr(logs)
        assert "Authorization Violation" in repr(logs)
        async with nats_end(f"nats://{right}@127.0.0.1:{server.port}") as end:
            await connected(end)


def nats_server_with_tls(directory: Path) -> tuple[Process, Path]:
    """A server that speaks only TLS, and the certificate to trust."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return configured(directory, f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'), certificate


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_an_encrypted_connection_carries_the_same(tmp_path: Path, scheme: str) -> None:
    server, certificate = nats_server_with_tls(tmp_path)
    inbox = Inbox()
    with server:
        async with nats_end(f"{scheme}://localhost:{server.port}", inbox=inbox, tls=BusTls(certificate)) as end:
            await connected(end)
            await end.subscribe([BTC])
            await end.publish([message(cursor=number, payload=b"x" * 5_000) for number in range(500)])
            assert [received.cursor for received in await inbox.holds(500)] == list(range(500))
            server.kill()
            await disconnected(end)
            await start_again(server)
            await connected(end)


async def test_a_server_that_cannot_be_trusted_or_does_not_encrypt_gets_no_credentials(
    tmp_path: Path, core_nats: Process
) -> None:
    server, _ = nats_server_with_tls(tmp_path)
    with server, capture_logs() as logs:
        async with (
            nats_end(f"tls://me:secret@localhost:{server.port}") as stranger,
            nats_end(f"tls://me:secret@127.0.0.1:{core_nats.port}") as plain,
        ):
            await until(lambda: len([1 for line in logs if line["event"] == "the bus cannot connect"]) == 2, "both")
            assert not stranger.connected
            assert not plain.connected
    assert "CERTIFICATE_VERIFY_FAILED" in repr(logs)
    assert "does not encrypt" in repr(logs)
