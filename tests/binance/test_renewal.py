"""Connections that are replaced while they live: nothing is lost, on a real stand-in under load."""

import asyncio

import pytest

from binance import handover
from binance.counters import Leaving, Trouble
from binance.routes import Route
from binance.settings import stand_in
from binance.upstream import Upstream
from market.streams import StreamName
from tests.binance.consumer import Consumer, Open
from tests.binance.wire import until
from tests.exchange.client import Client

SYMBOLS = ("btcusdt", "ethusdt", "bnbusdt", "solusdt", "adausdt")
KINDS = {
    Route.SPOT: ("trade", "aggTrade", "bookTicker", "depth@100ms", "kline_1s"),
    Route.FUTURES_PUBLIC: ("trade", "bookTicker", "depth@100ms"),
    Route.FUTURES_MARKET: ("aggTrade", "markPrice@1s"),
}


def _carry_all(consumer: Consumer, upstream: Upstream) -> None:
    for route, kinds in KINDS.items():
        consumer.connect(upstream, *(f"{symbol}@{kind}" for symbol in SYMBOLS for kind in kinds), route=route)


async def test_rotation_loses_no_message_and_breaks_no_order(open_exchange: Open, consumer: Consumer) -> None:
    exchange = await open_exchange(sim_trades_per_second=150)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"), lifetime_s=0.5)
    _carry_all(consumer, upstream)
    handovers = upstream.counters.handovers
    await until(lambda: handovers[Leaving.AGE] >= 4 * len(KINDS), "four rotations of each connection", 30)
    assert consumer.holes() == {}
    assert len(consumer.cursors) == sum(len(SYMBOLS) * len(kinds) for kinds in KINDS.values())
    assert all(consumer.count(f"{market}:btcusdt@trade") > 500 for market in ("spot", "futures"))
    assert not upstream.counters.troubles.total()
    # One message is the same bytes on both connections, so that the second copies are recognised.
    assert consumer.second_copies.total() < sum(tally.messages for tally in upstream.tallies.values()) / 100
    await until(
        lambda: sum(exchange.exchange.status()["connections"].values()) <= 2 * len(KINDS), "predecessors are closed"
    )


@pytest.mark.parametrize("delay_s", [0.2, 5.0])
async def test_an_announced_shutdown_loses_no_message(exchange: Client, consumer: Consumer, delay_s: float) -> None:
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"))
    _carry_all(consumer, upstream)
    await until(lambda: all(connection.settled for connection in consumer.connections), "subscribed")
    await until(lambda: consumer.count("spot:btcusdt@trade") > 20, "messages")
    assert (await exchange.control("shutdown", delay_s=delay_s))["told"] == len(KINDS)
    await until(lambda: upstream.counters.handovers[Leaving.SHUTDOWN] == len(KINDS), "successors in charge")
    before = consumer.count("spot:btcusdt@trade")
    await until(lambda: consumer.count("spot:btcusdt@trade") > before + 20, "messages go on")
    assert consumer.holes() == {}
    assert all(connection.connected for connection in consumer.connections)
    # A server that closes before the successor is proven is met with the successor.
    assert not set(upstream.counters.troubles) - {Trouble.CLOSED, Trouble.HELD_TOO_MANY}


async def test_the_predecessor_stays_until_the_successor_delivers(open_exchange: Open, consumer: Consumer) -> None:
    exchange = await open_exchange(connection_attempts=1)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"), lifetime_s=0.5)
    connection = consumer.connect(upstream, "btcusdt@trade")
    await until(lambda: upstream.counters.troubles[Trouble.HTTP_429], "the successor is refused")
    before = consumer.count("btcusdt@trade")
    await until(lambda: consumer.count("btcusdt@trade") > before + 20, "the predecessor delivers")
    assert connection.connected
    assert connection.confirmed == {"btcusdt@trade"}
    assert consumer.holes() == {}


async def test_a_predecessor_that_ends_before_its_successor_is_open_shows(
    open_exchange: Open, consumer: Consumer
) -> None:
    exchange = await open_exchange(connection_attempts=1)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"), lifetime_s=0.5)
    connection = consumer.connect(upstream, "btcusdt@trade")
    # The exchange asks for 300 s of patience.
    await until(lambda: upstream.counters.troubles[Trouble.HTTP_429], "the successor is refused")
    assert connection.connected
    await exchange.control("drop")
    await until(lambda: not connection.connected, "the loss shows")
    assert not connection.settled
    assert connection.confirmed == frozenset()


async def test_wishes_of_the_time_of_a_handover_are_fulfilled(
    exchange: Client, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OVERLAP_S", 0.3)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"), lifetime_s=0.3)
    connection = consumer.connect(upstream, "btcusdt@trade")
    texts = [f"{symbol}@trade" for symbol in SYMBOLS]
    for text in texts:
        await asyncio.sleep(0.25)  # wishes come at any time, in a handover too
        connection.want([*connection._wanted, StreamName.parse(text)])
    await until(lambda: connection.confirmed == set(texts), "all confirmed")
    handovers = upstream.counters.handovers
    settled = handovers[Leaving.AGE]
    await until(lambda: handovers[Leaving.AGE] > settled + 1, "two more handovers", 30)
    assert connection.confirmed == set(texts)
    assert consumer.holes() == {}
