"""Silent streams are polled: the real stand-in, a real ingestor, a replica's end of the bus."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from binance.rest import RestClient
from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor import poller as poller_module
from ingestor.poller import Poller
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, REPEAT_S, Demand, encode
from market.cursors import cursor_of
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until
from tests.exchange.client import Client

STATES = [
    *(f"spot:btcusdt@{kind}" for kind in ("ticker", "miniTicker", "bookTicker", "kline_1m", "depth5@100ms", "depth20")),
    *(f"futures:btcusdt@{kind}" for kind in ("ticker", "bookTicker", "kline_1m", "depth10", "markPrice@1s")),
]


@pytest.fixture
async def exchange() -> AsyncIterator[Client]:
    values = {"port": 0, "sim_symbols": 2, "sim_trades_per_second": 40.0}
    running = Exchange(ExchangeServerSettings.model_validate(values))
    port = await running.start()
    async with Client(running, port) as tools:
        yield tools
    await running.close()


class Replica:
    """The far end of the bus."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(broker)
        self.messages: dict[str, list[Message]] = {}
        self.bus.on_messages(self._keep)
        self._wanting: asyncio.Task[None] | None = None

    def _keep(self, messages: Any) -> None:
        for message in messages:
            self.messages.setdefault(str(message.stream), []).append(message)

    async def want(self, *texts: str) -> None:
        """Want these streams for good."""
        await self.bus.subscribe([StreamName.parse(text) for text in texts])
        self._wanting = asyncio.create_task(self._renew(encode(Demand("replica", list(texts)))))

    async def _renew(self, demand: bytes) -> None:
        while True:
            await self.bus.announce(DEMAND_TOPIC, demand)
            await asyncio.sleep(REPEAT_S)

    async def close(self) -> None:
        if self._wanting is not None:
            self._wanting.cancel()
        await self.bus.close()

    def bodies(self, text: str) -> list[Any]:
        return [json.loads(message.payload) for message in self.messages.get(text, [])]

    def polled(self, text: str) -> list[Any]:
        return [body for body in self.bodies(text) if body.get("source") == "poll"]

    def streamed(self, text: str) -> list[Any]:
        return [body for body in self.bodies(text) if "source" not in body]


@pytest.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    made = Replica(broker)
    await made.bus.start()
    yield made
    await made.close()


@pytest.fixture
async def ingestor(exchange: Client, bus: MemoryBus, replica: Replica) -> AsyncIterator[Ingestor]:
    settings = IngestorSettings.model_validate({"default_symbols": ["ETHUSDT"], "instance": "one"})
    made = Ingestor(settings, bus, stand_in(f"http://127.0.0.1:{exchange.port}"))
    await bus.start()
    await made.start()
    yield made
    await made.close()


async def test_silent_states_are_polled_and_handed_back_when_the_stream_lives(
    exchange: Client, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(*STATES, "spot:btcusdt@trade")
    await until(lambda: all(replica.streamed(text) for text in STATES), "everything is streamed")
    assert not any(replica.polled(text) for text in STATES)
    await exchange.control("silence", streams="btcusdt@*")
    began = time.monotonic()
    await until(lambda: all(len(replica.polled(text)) >= 2 for text in STATES), "everything is polled")
    assert time.monotonic() - began < 12
    assert ingestor.poller.silent == len(STATES)
    assert replica.polled("spot:btcusdt@trade") == []
    await exchange.control("reset")
    streamed = {text: len(replica.streamed(text)) for text in STATES}
    await until(lambda: all(len(replica.streamed(text)) > streamed[text] for text in STATES), "everything is streamed")
    await until(lambda: not ingestor.poller.silent, "nothing is silent any more")
    polled = {text: len(replica.polled(text)) for text in STATES}
    streamed = {text: len(replica.streamed(text)) for text in STATES}
    await until(lambda: all(len(replica.streamed(text)) > streamed[text] + 1 for text in STATES), "and goes on so")
    assert polled == {text: len(replica.polled(text)) for text in STATES}
    for text in STATES:
        stream, messages = StreamName.parse(text), replica.messages[text]
        assert [message.cursor for message in messages] == [cursor_of(stream, message.payload) for message in messages]


async def test_states_are_polled_while_the_exchange_takes_no_connection(
    exchange: Client, bus: MemoryBus, replica: Replica
) -> None:
    endpoints = stand_in(f"http://127.0.0.1:{exchange.port}")
    rest, published = RestClient(endpoints), list[Message]()
    poller = Poller(rest, bus, published.append)
    await bus.start()
    poller.start()
    streams = [StreamName.parse(text) for text in STATES]
    poller.carry(streams)
    await until(lambda: {message.stream for message in published} == set(streams), "each once")
    poller.carry([])
    await until(lambda: not poller.silent, "nothing is looked after")
    await poller.close()
    await rest.close()


async def test_a_stream_that_another_ingestor_brings_is_not_polled(
    exchange: Client, bus: MemoryBus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SILENT_AFTER_S", 0.5)
    rest, published = RestClient(stand_in(f"http://127.0.0.1:{exchange.port}")), list[Message]()
    poller = Poller(rest, bus, published.append)
    await bus.start()
    poller.start()
    stream = StreamName.parse("btcusdt@miniTicker")
    poller.carry([stream])
    await until(lambda: published, "polled while nobody brings it")
    await until(lambda: bool(poller.silent), "silent")

    async def bring() -> None:
        for number in range(200):
            await replica.bus.publish([Message(stream, number, 1, b'{"E":%d}' % number)])
            await asyncio.sleep(0.02)

    other = asyncio.create_task(bring())
    await until(lambda: not poller.silent, "the other's is heard")
    before = len(published)
    await asyncio.sleep(0.4)  # shorter than the silence after which its own ear is asked again
    assert len(published) == before
    other.cancel()
    await until(lambda: len(published) > before, "polled again when the other one is gone")
    await poller.close()
    await rest.close()


async def test_a_quiet_market_is_polled_ever_less_and_nothing_is_repeated(
    bus: MemoryBus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SILENT_AFTER_S", 0.1)
    monkeypatch.setattr(poller_module, "EVERY_S", 0.1)
    setting = {"port": 0, "sim_symbols": 1, "sim_trades_per_second": 0.01}
    quiet = Exchange(ExchangeServerSettings.model_validate(setting))
    port = await quiet.start()
    rest, published = RestClient(stand_in(f"http://127.0.0.1:{port}")), list[Message]()
    poller = Poller(rest, bus, published.append)
    await bus.start()
    poller.start()
    poller.carry([StreamName.parse("btcusdt@miniTicker")])
    await until(lambda: poller.polls_total >= 5, "polled again and again")
    values = [
        {name: value for name, value in msgspec.json.decode(each.payload).items() if name != "E"} for each in published
    ]
    assert all(value != before for before, value in pairwise(values))
    await poller.close()
    await rest.close()
    await quiet.close()


async def test_a_refusal_pauses_polling_for_as_long_as_binance_asks(
    exchange: Client, bus: MemoryBus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SILENT_AFTER_S", 0.1)
    await exchange.control("refuse", status=429, retry_after=2, requests=1)
    rest, published = RestClient(stand_in(f"http://127.0.0.1:{exchange.port}")), list[Message]()
    poller = Poller(rest, bus, published.append)
    await bus.start()
    poller.start()
    before = time.monotonic()
    poller.carry([StreamName.parse("btcusdt@ticker")])
    await until(lambda: poller.failed_total, "refused")
    await until(lambda: published, "polled after all")
    assert time.monotonic() - before > 1.9
    assert poller.failed_total == 1
    await poller.close()
    await rest.close()


async def test_polling_stays_within_its_part_of_the_weight(
    exchange: Client, bus: MemoryBus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SILENT_AFTER_S", 0.1)
    monkeypatch.setattr(poller_module, "PART", 0.1)  # of 50 a second: 5, and 20 to begin with
    rest = RestClient(stand_in(f"http://127.0.0.1:{exchange.port}"))
    poller = Poller(rest, bus, lambda _: None)
    await bus.start()
    poller.start()
    kinds = [f"kline_{i}{zone}" for i in ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h") for zone in ("", "@+08:00")]
    poller.carry([StreamName.parse(f"{symbol}@{kind}") for symbol in ("btcusdt", "ethusdt") for kind in kinds])
    began = time.monotonic()
    await until(lambda: poller.polls_total >= 15, "some polls of weight 2")
    assert 2 * poller.polls_total <= 20 + 5 * (time.monotonic() - began) + 2
    await poller.close()
    await rest.close()


async def test_a_symbol_that_is_not_listed_keeps_no_other_from_being_polled(
    exchange: Client, bus: MemoryBus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SILENT_AFTER_S", 0.1)
    rest, published = RestClient(stand_in(f"http://127.0.0.1:{exchange.port}")), list[Message]()
    poller = Poller(rest, bus, published.append)
    await bus.start()
    poller.start()
    listed, unlisted = (StreamName.parse(f"{symbol}usdt@ticker") for symbol in ("btc", "nope"))
    poller.carry([listed, unlisted])
    await until(lambda: published, "polled after all")
    assert {message.stream for message in published} == {listed}
    assert poller.failed_total >= 1
    await poller.close()
    await rest.close()
