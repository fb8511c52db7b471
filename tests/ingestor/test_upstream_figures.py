import msgspec
import pytest

from binance import watchdog
from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import FEED_TOPIC, FeedStatus
from market.streams import Kind
from tests.binance.wire import until
from tests.exchange.client import Client


async def test_an_ingestor_announces_what_befell_its_connections_and_which_streams_are_silent(
    broker: MemoryBroker, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(watchdog.TOLERANCE_S, Kind.TICKER, 1.5)
    exchange = Exchange(ExchangeServerSettings.model_validate({"port": 0, "sim_symbols": 5}))
    port = await exchange.start()
    statuses: list[FeedStatus] = []
    far_end = MemoryBus(broker)
    far_end.listen(FEED_TOPIC, lambda body: statuses.append(msgspec.json.decode(body, type=FeedStatus)))
    await far_end.start()
    settings = {"default_symbols": ["BTCUSDT"], "instance": "one"}
    ingestor = Ingestor(IngestorSettings.model_validate(settings), bus, stand_in(f"http://127.0.0.1:{port}"))
    await bus.start()
    await ingestor.start()
    try:
        await until(lambda: statuses and statuses[-1].upstream.opened == 1, "the connection is told")
        async with Client(exchange, port) as client:
            await client.control("silence", streams="btcusdt@ticker")
            await until(lambda: statuses[-1].stalled == ["spot:btcusdt@ticker"], "the silent stream is told")
            assert statuses[-1].upstream.troubles == {"silent": 1, "stalled": 1}
            assert statuses[-1].upstream.handovers == {"silence": 1}
            await client.control("reset")
            await until(lambda: not statuses[-1].stalled, "and that it speaks again")
    finally:
        await ingestor.close()
        await far_end.close()
        await exchange.close()
