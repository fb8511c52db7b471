"""Repairs from REST: the real stand-in, asked over the bus as replicas ask."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from binance.rest import RestClient
from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor.memory import Memory
from ingestor.repair import Repair
from market.announcements import REPAIR_TOPIC, REPAIRED_TOPIC, RepairAsk, Repaired, encode
from market.intervals import SECOND_MS
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until
from tests.exchange.client import Client, receive


@pytest.fixture
async def exchange() -> AsyncIterator[Client]:
    values = {"port": 0, "sim_symbols": 1, "sim_trades_per_second": 60.0}
    running = Exchange(ExchangeServerSettings.model_validate(values))
    port = await running.start()
    async with Client(running, port) as tools:
        yield tools
    await running.close()


class Replica:
    """The far end of the bus: asks, and keeps the answers."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(broker)
        self.answers: list[Repaired] = []
        self.bus.listen(REPAIRED_TOPIC, lambda body: self.answers.append(msgspec.json.decode(body, type=Repaired)))

    async def ask(self, stream: str, first: int, last: int, after: int = 0) -> Repaired:
        before = len(self.answers)
        await self.bus.announce(REPAIR_TOPIC, encode(RepairAsk(stream, first, last, after)))
        await until(lambda: len(self.answers) > before, "an answer")
        return self.answers[-1]


@pytest.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    made = Replica(broker)
    await made.bus.start()
    yield made
    await made.bus.close()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def repair(exchange: Client, bus: MemoryBus, memory: Memory, replica: Replica) -> AsyncIterator[Repair]:
    rest = RestClient(stand_in(f"http://127.0.0.1:{exchange.port}"))
    made = Repair(rest, bus, memory, lambda _market, symbol: symbol == "btcusdt")
    await bus.start()
    yield made
    await made.close()
    await rest.close()


async def streamed(exchange: Client, path: str, count: int) -> list[Any]:
    socket = await exchange.socket(path)
    return [await receive(socket) for _ in range(count)]


@pytest.mark.parametrize(
    ("stream", "path"),
    [
        ("spot:btcusdt@trade", "/ws/btcusdt@trade"),
        ("spot:btcusdt@aggTrade", "/ws/btcusdt@aggTrade"),
        ("futures:btcusdt@trade", "/public/ws/btcusdt@trade"),
        ("futures:btcusdt@aggTrade", "/market/ws/btcusdt@aggTrade"),
    ],
)
async def test_trades_that_were_missed_are_fetched_by_their_ids(
    exchange: Client, repair: Repair, replica: Replica, stream: str, path: str
) -> None:
    messages = await streamed(exchange, path, 30)
    key = "t" if stream.endswith("@trade") else "a"
    ids = [message[key] for message in messages]
    answer = await replica.ask(stream, ids[5], ids[24], ids[4])
    assert answer.complete
    assert [kept.cursor for kept in answer.messages] == ids[5:25]
    for kept, message in zip(answer.messages, messages[5:25], strict=True):
        body = json.loads(bytes(kept.payload))
        assert (body["source"], body["p"], body["q"], body["T"]) == ("poll", message["p"], message["q"], message["T"])
    assert repair.repaired_total == 20


async def test_candles_that_were_not_seen_closed_are_fetched_closed(
    exchange: Client, repair: Repair, replica: Replica
) -> None:
    (message,) = await streamed(exchange, "/ws/btcusdt@kline_1s", 1)
    last = message["k"]["t"] - SECOND_MS
    answer = await replica.ask("spot:btcusdt@kline_1s", last - 4 * SECOND_MS, last, last - 3_500)
    assert answer.complete
    bodies = [json.loads(bytes(kept.payload)) for kept in answer.messages]
    assert [body["k"]["t"] for body in bodies] == [last - n * SECOND_MS for n in (4, 3, 2, 1, 0)]
    assert all(body["k"]["x"] and body["source"] == "poll" for body in bodies)
    assert [kept.cursor for kept in answer.messages] == [body["E"] for body in bodies]
    assert bodies[0]["E"] == last - 3_000, "the candle's end"
    (late,) = (await replica.ask("spot:btcusdt@kline_1s", last, last, last + 1_700)).messages
    assert late.cursor == last + 1_700, "not before what was handed on already"


async def test_what_the_exchange_keeps_no_more_is_said_to_be_incomplete(
    exchange: Client, repair: Repair, replica: Replica
) -> None:
    (message,) = await streamed(exchange, "/ws/btcusdt@trade", 1)
    answer = await replica.ask("spot:btcusdt@trade", message["t"] - 100_000, message["t"])
    assert not answer.complete
    assert answer.messages[-1].cursor == message["t"]
    (message,) = await streamed(exchange, "/ws/btcusdt@aggTrade", 1)
    answer = await replica.ask("spot:btcusdt@aggTrade", message["a"] - 100_000, message["a"])
    assert not answer.complete
    assert repair.failed_total == 2


async def test_a_refused_request_is_an_incomplete_repair(exchange: Client, repair: Repair, replica: Replica) -> None:
    await exchange.control("refuse", status=429, retry_after=5, requests=10)
    answer = await replica.ask("spot:btcusdt@trade", 1, 2)
    assert (answer.messages, answer.complete) == ([], False)


async def test_only_who_maintains_the_symbol_answers_and_each_hole_once(
    exchange: Client, repair: Repair, replica: Replica
) -> None:
    (message,) = await streamed(exchange, "/ws/btcusdt@trade", 1)
    asks = [
        RepairAsk("spot:ethusdt@trade", 1, 2, 0),
        *[RepairAsk("spot:btcusdt@trade", message["t"], message["t"], 0)] * 3,
    ]
    await asyncio.gather(*(replica.bus.announce(REPAIR_TOPIC, encode(ask)) for ask in asks))
    await until(lambda: replica.answers, "an answer")
    await replica.ask("spot:btcusdt@trade", message["t"] - 1, message["t"])
    assert [(answer.stream, answer.first) for answer in replica.answers] == [
        ("spot:btcusdt@trade", message["t"]),
        ("spot:btcusdt@trade", message["t"] - 1),
    ]
    assert repair.asked_total == 2


async def test_what_an_ingestor_remembers_it_gives_without_asking_whether_it_maintains_the_symbol_or_not(
    exchange: Client, repair: Repair, memory: Memory, replica: Replica
) -> None:
    await exchange.control("refuse", status=429, retry_after=5, requests=10)
    trades, depth = StreamName.parse("ethusdt@trade"), StreamName.parse("btcusdt@depth")
    for n in (1, 2, 3, 4, 6, 7):
        memory.keep(Message(trades, n, n, b'{"t":%d}' % n))
        memory.keep(Message(depth, 10 * n, n, b'{"U":%d,"u":%d}' % (10 * n - 9, 10 * n)))
    answer = await replica.ask(str(trades), 2, 3, 1)
    assert [(kept.cursor, bytes(kept.payload)) for kept in answer.messages] == [(2, b'{"t":2}'), (3, b'{"t":3}')]
    assert answer.complete
    answer = await replica.ask(str(depth), 11, 40, 10)
    assert ([kept.cursor for kept in answer.messages], answer.complete) == ([20, 30, 40], True)
    answer = await replica.ask(str(depth), 31, 60, 30)  # its own past has a hole
    assert (answer.messages, answer.complete) == ([], False)
    assert repair.remembered_total == 5


async def test_malformed_questions_are_counted_and_harm_nothing(repair: Repair, replica: Replica) -> None:
    for body in (b"{", b"[]", b'{"stream":"nonsense","first":1,"last":2,"after":0}'):
        await replica.bus.announce(REPAIR_TOPIC, body)
    await until(lambda: repair.malformed_total == 3, "counted")
    assert (await replica.ask("spot:btcusdt@trade", 1, 1)).complete is False
