"""From the exchange's port to the bus: the stand-in for Binance, a whole ingestor, a replica's end of the bus."""

import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from binance.frames import slice_frame
from binance.rest import RestClient
from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor import demand as demand_module
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, Demand, encode
from market.messages import Message
from market.payloads import decode_payload
from market.streams import ARRAY, BINANCE_MARKETS, StreamName
from market.symbols import Catalog
from tests.binance.wire import until

Open = Callable[..., Awaitable[str]]


class _Line(msgspec.Struct):
    conn: str
    raw: msgspec.Raw


@pytest.fixture(autouse=True)
def _demand_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is demanded here is demanded once."""
    monkeypatch.setattr(demand_module, "LEASE_S", 60.0)


@pytest.fixture
async def open_exchange() -> AsyncIterator[Open]:
    """Start an exchange with these settings; returns its URL."""
    running: list[Exchange] = []

    async def start(**settings: object) -> str:
        exchange = Exchange(ExchangeServerSettings.model_validate({"port": 0, **settings}))
        running.append(exchange)
        return f"http://127.0.0.1:{await exchange.start()}"

    yield start
    for exchange in running:
        await exchange.close()


@pytest.fixture
def received() -> dict[StreamName, list[Message]]:
    """What the replica's end of the bus received, by stream."""
    return defaultdict(list)


async def _start(url: str, bus: MemoryBus, **settings: object) -> Ingestor:
    made = Ingestor(IngestorSettings.model_validate(settings), bus, stand_in(url))
    await bus.start()
    await made.start()
    return made


async def _replica(
    broker: MemoryBroker, received: dict[StreamName, list[Message]], streams: list[StreamName]
) -> MemoryBus:
    """An end that demands and receives `streams`."""
    end = MemoryBus(broker)

    def keep(messages: object) -> None:
        assert isinstance(messages, list)
        for message in messages:
            received[message.stream].append(message)

    end.on_messages(keep)
    await end.start()
    await end.subscribe(streams)
    await end.announce(DEMAND_TOPIC, encode(Demand("replica", [str(stream) for stream in streams])))
    return end


async def test_every_kind_of_stream_travels_from_a_simulated_exchange_to_the_bus(
    open_exchange: Open, broker: MemoryBroker, bus: MemoryBus, received: dict[StreamName, list[Message]]
) -> None:
    url = await open_exchange(sim_symbols=2, sim_trades_per_second=50)
    texts = [
        f"{market}:btcusdt@{kind}"
        for market in BINANCE_MARKETS
        for kind in ("trade", "aggTrade", "bookTicker", "ticker")
    ]
    texts += ["btcusdt@depth20@100ms", "btcusdt@kline_1s", "btcusdt@miniTicker", "spot:!miniTicker@arr"]
    texts += [
        "futures:btcusdt@depth@100ms",
        "futures:btcusdt@depth5@100ms",
        "btcusdt@markPrice@1s",
        "!markPrice@arr@1s",
    ]
    streams = [StreamName.parse(text) for text in texts]
    ingestor = await _start(url, bus)
    end = await _replica(broker, received, streams)
    try:
        await until(lambda: {stream for stream in streams if len(received[stream]) > 1} == set(streams), "every stream")
        for stream in streams:
            cursors = [message.cursor for message in received[stream]]
            assert cursors == sorted(cursors), stream
            assert stream.symbol == ARRAY or decode_payload(stream, received[stream][-1].payload)
        assert ingestor.publisher.malformed_total == 0
        assert ingestor.feed.connected
        await until(lambda: broker.values.get("prices:BTCUSDT"), "document 002's price")
    finally:
        await ingestor.close()
        await end.close()


async def test_after_the_exchange_drops_all_connections_messages_flow_again(
    open_exchange: Open, broker: MemoryBroker, bus: MemoryBus, received: dict[StreamName, list[Message]]
) -> None:
    url = await open_exchange(sim_symbols=1, sim_trades_per_second=50)
    trade = StreamName.parse("btcusdt@trade")
    ingestor = await _start(url, bus, default_symbols="BTCUSDT")
    end = await _replica(broker, received, [trade])
    try:
        await until(lambda: received[trade], "messages")
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.post(f"{url}/control/drop", json={})).raise_for_status()
        await until(lambda: not ingestor.feed.connected, "connections lost")
        count = len(received[trade])
        await until(lambda: len(received[trade]) > count + 5, "messages again")
    finally:
        await ingestor.close()
        await end.close()


async def test_a_replayed_recording_arrives_byte_for_byte_once_and_in_order(
    recordings: Path,
    open_exchange: Open,
    broker: MemoryBroker,
    bus: MemoryBus,
    received: dict[StreamName, list[Message]],
) -> None:
    path = recordings / "ws" / "spot-btc-eth-20240808.ndjson.gz"
    streams = [StreamName.parse(text) for text in ("btcusdt@trade", "btcusdt@bookTicker", "ethusdt@depth@100ms")]
    url = await open_exchange(exchange=f"replay:{path}", replay_speed=20)
    ingestor = await _start(url, bus)
    end = await _replica(broker, received, streams)
    try:
        await until(lambda: min(len(received[stream]) for stream in streams) > 200, "messages of each stream")
    finally:
        await ingestor.close()
        await end.close()
    recorded = _recorded(path, streams)
    for stream in streams:
        payloads = [message.payload for message in received[stream]]
        first = recorded[stream].index(payloads[0])
        assert payloads == recorded[stream][first : first + len(payloads)], stream


def _recorded(path: Path, streams: list[StreamName]) -> dict[StreamName, list[bytes]]:
    """The payloads of these streams in the recording."""
    by_name = {stream.binance_name.encode(): stream for stream in streams}
    decode = msgspec.json.Decoder(_Line).decode
    payloads: dict[StreamName, list[bytes]] = defaultdict(list)
    with gzip.open(path, "rb") as lines:
        for text in lines:
            sliced = slice_frame(bytes(decode(text).raw))
            if sliced is not None and sliced[0] in by_name:
                payloads[by_name[sliced[0]]].append(sliced[1])
    return payloads


async def test_the_rest_client_reads_the_exchange_on_both_markets(open_exchange: Open) -> None:
    url = await open_exchange(sim_symbols=2)
    async with RestClient(stand_in(url)) as client:
        for market in BINANCE_MARKETS:
            catalog = Catalog.from_exchange_info(market, await client.exchange_info(market))
            assert "BTCUSDT" in catalog
            rows = msgspec.json.decode(await client.klines(market, "btcusdt", "1m", 5))
            assert [len(row) for row in rows] == [12] * 5
            assert client.budgets[market].used > 0
