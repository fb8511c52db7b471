"""Two ingestors carry every stream: what clients of a replica see while either dies, and while the exchange fails."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import Client, until
from tests.server.json_client import JsonClient, json_client
from tests.support.processes import free_port, redis_server, tickcast

TRADES = "spot:btcusdt@trade"
AGGREGATES = "futures:btcusdt@aggTrade"
DEPTH = "spot:btcusdt@depth@100ms"
TICKER = "spot:btcusdt@ticker"
STREAMS = (TRADES, AGGREGATES, DEPTH, TICKER)


class Feed:
    """Redis, an exchange, two ingestors and a replica, each a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.exchange_port = free_port()
        self.replica_port = free_port()
        self.redis = redis_server(directory)
        shared = {
            "BUS_URL": f"redis://127.0.0.1:{self.redis.port}",
            "EXCHANGE": "simulate",
            "EXCHANGE_URL": f"http://127.0.0.1:{self.exchange_port}",
        }
        market = {**shared, "SIM_SYMBOLS": "3", "SIM_TRADES_PER_SECOND": "60"}
        self.ingestors = [
            tickcast("ingestor", free_port(), directory, {**shared, "INSTANCE": name, "FEED_COPIES": "2"})
            for name in ("one", "two")
        ]
        self.processes = [
            self.redis,
            tickcast("exchange", self.exchange_port, directory, market),
            *self.ingestors,
            tickcast("replica", self.replica_port, directory, shared),
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.replica_port}"

    async def control(self, action: str, **body: Any) -> None:
        """Ask the exchange to misbehave."""
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{self.exchange_port}/control/{action}"
            (await http.post(url, json=body)).raise_for_status()

    async def metric(self, name: str) -> float:
        """One counter of the replica's."""
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{self.url}/metrics")).text
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"tickcast_{name}_total ")))

    async def both_copies_come(self) -> None:
        """Return once the replica drops second copies as fast as it hands on first ones."""
        while True:
            before = await self.metric("messages_received"), await self.metric("duplicates_dropped")
            await asyncio.sleep(0.5)
            received = await self.metric("messages_received") - before[0]
            dropped = await self.metric("duplicates_dropped") - before[1]
            if dropped > received / 3:
                return


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    made = Feed(tmp_path_factory.mktemp("two-copies"))
    with ExitStack() as running:
        for process in made.processes:
            running.enter_context(process)
        yield made


class Watcher:
    """A Socket.IO and a JSON client of the same streams, and what each saw."""

    def __init__(self, io: Client, plain: JsonClient) -> None:
        self.io = io
        self.plain = plain

    def of_io(self, text: str) -> list[Any]:
        return [
            body["data"]
            for name, body in tuple(self.io.events)
            if name not in ("gap", "status", "connected") and body["stream"] == text
        ]

    def of_plain(self, text: str) -> list[Any]:
        return [message["data"]["data"] for message in self.plain.of_stream(text)]

    def gaps(self) -> list[Any]:
        return self.io.named("gap") + self.plain.of_type("gap")

    def assert_complete(self) -> None:
        """Each id came once, in order, and none is missing."""
        for seen in (self.of_io, self.of_plain):
            for text, key in ((TRADES, "t"), (AGGREGATES, "a")):
                ids = [body[key] for body in seen(text)]
                assert ids == list(range(ids[0], ids[0] + len(ids))), text
            depth = seen(DEPTH)
            firsts, lasts = [body["U"] for body in depth[1:]], [body["u"] for body in depth[:-1]]
            assert firsts == [last + 1 for last in lasts]
        assert self.gaps() == []

    async def hear_more(self, count: int = 20) -> None:
        """Return once both clients have seen `count` more trades."""
        before = len(self.of_io(TRADES)), len(self.of_plain(TRADES))
        await until(
            lambda: len(self.of_io(TRADES)) >= before[0] + count and len(self.of_plain(TRADES)) >= before[1] + count,
            f"{count} more trades",
            timeout_s=20,
        )


@pytest.fixture
async def watcher(feed: Feed) -> AsyncIterator[Watcher]:
    await feed.control("reset")
    io = Client()
    await io.connect(feed.url, "websocket")
    async with json_client(feed.url) as plain:
        made = Watcher(io, plain)
        assert (await io.call("subscribe", {"streams": STREAMS}))["rejected"] == []
        await plain.ask("subscribed", type="subscribe", rawStreams=list(STREAMS))
        async with asyncio.timeout(30):
            await feed.both_copies_come()
        await made.hear_more()
        # What comes while ingestors and subscriptions are still starting is not the matter here.
        io.events.clear()
        plain.messages.clear()
        yield made
    await io.io.disconnect()


@pytest.mark.timeout(120)
async def test_neither_ingestors_death_is_noticed_by_any_client(feed: Feed, watcher: Watcher) -> None:
    for process in feed.ingestors:
        await watcher.hear_more()
        process.kill()
        await watcher.hear_more(60)
        await asyncio.to_thread(process.start)
        async with asyncio.timeout(30):
            await feed.both_copies_come()
    await watcher.hear_more()
    watcher.assert_complete()


@pytest.mark.timeout(90)
async def test_what_the_exchange_sends_to_neither_copy_is_repaired_or_announced(feed: Feed, watcher: Watcher) -> None:
    await watcher.hear_more()
    for market, stream in (("spot", "btcusdt@trade"), ("futures", "btcusdt@aggTrade")):
        await feed.control("skip", market=market, stream=stream, count=3)
    await until(lambda: any(body.get("source") for body in watcher.of_io(TRADES)), "trades repaired")
    await until(lambda: any(body.get("source") for body in watcher.of_io(AGGREGATES)), "aggregates repaired")
    await watcher.hear_more(60)
    watcher.assert_complete()
    for seen in (watcher.of_io, watcher.of_plain):
        for text in (TRADES, AGGREGATES):
            assert [body.get("source") for body in seen(text)].count("poll") == 3, json.dumps(seen(text)[-100:])

    await feed.control("skip", market="spot", stream="btcusdt@depth@100ms", count=2)
    await until(lambda: len(watcher.gaps()) == 2, "each client is told of the changes that nobody has")
    await watcher.hear_more()
    (told,) = watcher.io.named("gap")
    depth = watcher.of_io(DEPTH)
    ((before, after),) = [
        (one["u"], other["U"]) for one, other in itertools.pairwise(depth) if other["U"] != one["u"] + 1
    ]
    assert told == {"stream": DEPTH, "missed": after - before - 1, "until": after - 1, "reason": "upstream"}


@pytest.mark.timeout(90)
async def test_a_silent_stream_is_polled_until_it_speaks_again(feed: Feed, watcher: Watcher) -> None:
    def sources(after: int) -> list[str | None]:
        return [body.get("source") for body in watcher.of_io(TICKER)[after:]]

    await watcher.hear_more()
    assert "poll" not in sources(0)
    await feed.control("silence", market="spot", streams="btcusdt@ticker")
    await until(lambda: sources(0).count("poll") >= 3, "polled values", timeout_s=15)
    await feed.control("reset")
    polled = len(watcher.of_io(TICKER))
    await until(lambda: sources(polled).count(None) >= 4, "streamed values")
    # One may have been under way when the stream came back.
    first_streamed = sources(polled).index(None)
    assert "poll" not in sources(polled)[first_streamed + 1 :]
    times = [body["E"] for body in watcher.of_io(TICKER)]
    assert times == sorted(set(times))


@pytest.mark.timeout(90)
async def test_what_was_sent_while_the_bus_was_away_comes_when_it_is_back(feed: Feed, watcher: Watcher) -> None:
    await watcher.hear_more()
    feed.redis.kill()
    before = len(watcher.of_io(TRADES))
    await asyncio.sleep(1.0)  # what the ingestors receive meanwhile never reaches the bus
    await asyncio.to_thread(feed.redis.start)
    await watcher.hear_more(60)
    watcher.assert_complete()
    assert len(watcher.of_io(TRADES)) > before + 60
