"""What a replica counts: as documented, and as it happens."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bus.memory import MemoryBroker, MemoryBus
from market.announcements import FEED_TOPIC, FeedStatus, Source, encode
from market.messages import Message
from market.streams import StreamName
from server import resume as resume_module
from server.resume import Resume
from telemetry import latency as latency_module
from tests.server.conftest import Client, Served, until
from tests.support.metrics import differences, documented, value

TRADES = StreamName.parse("btcusdt@trade")


async def scrape(served: Served) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as answer:
        return await answer.text()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    connected = Client()
    await connected.connect(served.url, "websocket")
    yield connected
    await connected.io.disconnect()


async def subscribe(client: Client, *streams: str, **more: Any) -> None:
    answer = await client.call("subscribe", {"streams": list(streams), **more})
    assert answer["ok"], answer


async def test_a_replica_shows_exactly_what_is_documented(served: Served, client: Client) -> None:
    await subscribe(client, "btcusdt@trade")
    await served.publish("btcusdt@trade", b'{"E":1714000000123}')
    await until(lambda: client.named("trade"), "a message")
    assert list(differences(await scrape(served), documented("Every process", "Replica"))) == []


async def test_promtool_finds_nothing_to_complain_of(served: Served, client: Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    await subscribe(client, "btcusdt@trade")
    await served.publish("btcusdt@trade", b'{"E":1714000000123}')
    await until(lambda: client.named("trade"), "a message")
    text = await scrape(served)
    check = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics", stdin=asyncio.subprocess.PIPE, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await check.communicate(text.encode())
    assert (check.returncode, said) == (0, b"")


async def test_connections_and_subscriptions_are_told_by_door_kind_and_market(served: Served, client: Client) -> None:
    await subscribe(client, "btcusdt@trade", "ethusdt@trade", "futures:btcusdt@markPrice")
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{served.url}/ws/btcusdt@depth") as _:
        text = await scrape(served)
        while value(text, "subscriptions", market="spot", kind="depth") is None:
            text = await scrape(served)
    assert value(text, "connections", door="socketio", transport="websocket") == 1
    assert value(text, "connections", door="binance", transport="websocket") == 1
    assert value(text, "connections_opened_total", door="socketio") == 1
    assert value(text, "connections_opened_total", door="json") == 0
    assert value(text, "subscriptions", market="spot", kind="trade") == 2
    assert value(text, "subscriptions", market="futures", kind="markPrice") == 1
    assert value(text, "streams", market="spot", kind="trade") == 2
    assert value(text, "streams", market="spot", kind="ticker") == 5, "the default symbols"


async def test_a_frame_counts_once_and_its_delivery_once_for_each_client(served: Served, client: Client) -> None:
    other = Client()
    await other.connect(served.url, "websocket")
    for one in (client, other):
        await subscribe(one, "btcusdt@trade")
    await served.publish("btcusdt@trade", count=3)
    await until(lambda: len(client.named("trade")) == len(other.named("trade")) == 3, "all messages at both")
    text = await scrape(served)
    assert value(text, "frames_encoded_total") == 3
    assert value(text, "messages_delivered_total") == 6
    await other.io.disconnect()


async def test_the_way_of_a_message_is_timed_hop_by_hop(served: Served, client: Client) -> None:
    await subscribe(client, "btcusdt@trade")
    now_us = time.time_ns() // 1_000
    event_ms, received_us = now_us // 1_000 - 300, now_us - 100_000
    # The first message of all is sampled.
    await served.publisher.publish([Message(TRADES, 1, received_us, b'{"e":"trade","E":%d,"t":1}' % event_ms)])
    await until(lambda: client.named("trade"), "the message")
    text = await scrape(served)

    def longer(name: str, than_s: str, **labels: str) -> float:
        found = [value(text, f"{name}_bucket", le=le, **labels) for le in (than_s, "+Inf")]
        assert found[0] is not None
        assert found[1] is not None
        return found[1] - found[0]

    assert longer("hop_latency_seconds", "0.05", hop="bus", kind="trade") == 1
    assert longer("end_to_end_latency_seconds", "0.25", kind="trade") == 1
    assert value(text, "hop_latency_seconds_count", hop="socket", kind="trade") == 1
    assert value(text, "hop_negative_latencies_total", hop="bus") == 0


async def test_a_clock_that_is_ahead_is_counted_and_shortens_nothing(served: Served, client: Client) -> None:
    await subscribe(client, "btcusdt@trade")
    ahead_us = time.time_ns() // 1_000 + 60_000_000
    await served.publisher.publish([Message(TRADES, 1, ahead_us, b'{"E":%d}' % (ahead_us // 1_000))])
    await until(lambda: client.named("trade"), "the message")
    text = await scrape(served)
    assert value(text, "hop_negative_latencies_total", hop="bus") == 1
    assert value(text, "hop_latency_seconds_count", hop="bus", kind="trade") is None
    assert value(text, "end_to_end_latency_seconds_count", kind="trade") is None
    assert value(text, "hop_latency_seconds_count", hop="socket", kind="trade") == 1


@pytest.mark.parametrize(
    ("stream", "wish", "written"),
    [("btcusdt@trade", {}, 1), ("btcusdt@ticker", {"throttle": 100}, None), ("", {}, None)],
)
async def test_what_does_not_leave_at_once_is_timed_to_here_and_no_further(
    served: Served,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: str,
    wish: dict[str, Any],
    written: int | None,
) -> None:
    monkeypatch.setattr(latency_module, "SAMPLE_EVERY", 1)
    if stream:
        await subscribe(client, stream, **wish)
    name = StreamName.parse(stream or "ethusdt@ticker")  # a default symbol's, which nobody is subscribed to
    for _copy in range(2):
        await served.publisher.publish([Message(name, 7, time.time_ns() // 1_000, b'{"E":1714000000123}')])
    await until(lambda: not stream or client.named(name.kind), "the message")
    text = await scrape(served)
    assert value(text, "hop_latency_seconds_count", hop="bus", kind=name.kind) == 2
    assert value(text, "hop_latency_seconds_count", hop="socket", kind=name.kind) == written


async def test_replicas_tell_how_many_ingestors_have_their_feed(served: Served) -> None:
    for name, is_connected in (("a", True), ("b", False), ("c", True)):
        status = FeedStatus(name, Source.SIMULATED, connected=is_connected, streams=1, last_message_ms=1)
        await served.publisher.announce(FEED_TOPIC, encode(status))
    await served.publisher.announce(FEED_TOPIC, b"{")
    text = await scrape(served)
    assert value(text, "feed_ingestors", state="connected") == 2
    assert value(text, "feed_ingestors", state="disconnected") == 1
    assert value(text, "feed_malformed_total") == 1
    assert value(text, "exchange_connected") == 1
    assert "ingestor=" not in text


async def test_a_question_too_many_is_not_asked_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_module, "MAX_ASKS", 0)
    bus = MemoryBus(MemoryBroker())
    resume = Resume(bus, "r1")
    await bus.start()
    assert await resume.ask({TRADES: 1}) == {}
    assert await resume.books([StreamName.parse("btcusdt@book")]) == {}
    assert (resume.asked_total, resume.unasked_total, resume.unanswered_total) == (0, 2, 0)
    await bus.close()
