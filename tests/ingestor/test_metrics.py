"""What an ingestor counts, on a port of its own: as documented, and as it happens."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from ingestor.health import HealthDoor
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, Demand, encode
from telemetry import latency as latency_module
from tests.binance.wire import WireServer, until
from tests.support.metrics import differences, documented, value


@dataclass
class Running:
    """An ingestor with its own port, and a replica's end of its bus."""

    url: str
    ingestor: Ingestor
    replica: MemoryBus

    async def scrape(self) -> str:
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as answer:
            return await answer.text()

    async def want(self, *streams: str) -> None:
        await self.replica.announce(DEMAND_TOPIC, encode(Demand("r1", list(streams))))


@pytest.fixture
async def running(wire: WireServer, bus: MemoryBus, broker: MemoryBroker) -> AsyncIterator[Running]:
    settings = IngestorSettings.model_validate({"default_symbols": ["ADAUSDT"], "instance": "one", "host": "127.0.0.1"})
    ingestor = Ingestor(settings, bus, stand_in(f"http://127.0.0.1:{wire.port}"))
    replica = MemoryBus(broker)
    await bus.start()
    await replica.start()
    await ingestor.start()
    door = HealthDoor(settings, ingestor)
    yield Running(f"http://127.0.0.1:{await door.start()}", ingestor, replica)
    await door.close()
    await ingestor.close()
    await replica.close()


async def carrying(running: Running, wire: WireServer, *streams: str) -> None:
    await running.want(*streams)
    await until(lambda: len(wire.names) == 1 + len(streams), "all subscribed")
    await until(lambda: running.ingestor.feed.connected, "connected")


async def test_an_ingestor_shows_exactly_what_is_documented(running: Running, wire: WireServer) -> None:
    await carrying(running, wire, "btcusdt@trade")
    wire.send("btcusdt@trade", b'{"E":1714000000123,"t":7}')
    await until(lambda: running.ingestor.publisher.published_total, "published")
    assert list(differences(await running.scrape(), documented("Every process", "Ingestor"))) == []


async def test_promtool_finds_nothing_to_complain_of(running: Running, wire: WireServer) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    await carrying(running, wire, "btcusdt@trade")
    text = await running.scrape()
    check = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics", stdin=asyncio.subprocess.PIPE, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await check.communicate(text.encode())
    assert (check.returncode, said) == (0, b"")


async def test_connections_and_messages_are_told_by_market_and_route(running: Running, wire: WireServer) -> None:
    await carrying(running, wire, "btcusdt@trade", "futures:btcusdt@depth", "btcusdt@markPrice")
    wire.send("btcusdt@trade", b'{"t":7}')
    wire.send("btcusdt@depth", b'{"u":7}')
    wire.send("btcusdt@depth", b'{"u":8}')
    await until(lambda: running.ingestor.publisher.published_total == 3, "published")
    text = await running.scrape()
    for market, route in (("spot", "stream"), ("futures", "public"), ("futures", "market")):
        assert value(text, "upstream_connections", market=market, route=route, state="connected") == 1
    assert value(text, "upstream_messages_total", market="spot", route="stream") == 1
    assert value(text, "upstream_messages_total", market="futures", route="public") == 2
    assert value(text, "upstream_connections_opened_total") == 3
    assert value(text, "upstream_attempts_total") == 3
    assert value(text, "ingestor_streams", market="futures", kind="markPrice") == 1
    assert value(text, "ingestor_wanted_streams") == 4
    assert value(text, "ingestor_replicas") == 1
    assert value(text, "ingestor_phase", phase="live") == 1
    assert value(text, "ready") == 1


async def test_what_the_exchange_and_the_bus_take_is_timed(
    running: Running, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_module, "SAMPLE_EVERY", 1)
    await carrying(running, wire, "btcusdt@trade", "btcusdt@bookTicker")
    now_ms = time.time_ns() // 1_000_000
    payloads = {
        "btcusdt@trade": [b'{"E":%d,"t":7}' % (now_ms - 3_000), b'{"E":%d,"t":8}' % (now_ms + 60_000)],
        "btcusdt@bookTicker": [b'{"u":1,"s":"BTCUSDT"}'],
    }
    sent = 0
    for name, several in payloads.items():
        for payload in several:
            wire.send(name, payload)
            sent += 1
            await until(lambda sent=sent: running.ingestor.publisher.published_total == sent, "published")  # type: ignore[misc] # the loop's value
    text = await running.scrape()
    buckets = [value(text, "hop_latency_seconds_bucket", hop="exchange", kind="trade", le=le) for le in ("2.5", "+Inf")]
    assert buckets == [0, 1]
    assert value(text, "hop_negative_latencies_total", hop="exchange") == 1
    assert value(text, "hop_latency_seconds_count", hop="exchange", kind="bookTicker") is None
    assert value(text, "hop_latency_seconds_count", hop="publish", kind="bookTicker") == 1


async def test_a_lost_exchange_is_seen(running: Running, wire: WireServer) -> None:
    await carrying(running, wire)
    await wire.stop()
    await until(lambda: not running.ingestor.feed.connected, "lost")
    text = await running.scrape()
    assert value(text, "upstream_connections", market="spot", route="stream", state="lost") == 1
    assert value(text, "upstream_connections", market="spot", route="stream", state="connected") is None
    assert any(value(text, "upstream_troubles_total", trouble=trouble) for trouble in ("closed", "lost", "unreachable"))
