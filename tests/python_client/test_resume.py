"""A subscription across lost connections, at a real replica."""

import asyncio
from functools import partial

import pytest

from clients.python.tickcast_client import (
    Disconnected,
    Draining,
    Event,
    Gap,
    Message,
    Recovered,
    Status,
    Subscription,
    connect,
)
from market.announcements import Source
from tests.python_client.collecting import cursors, is_asked, next_of, of, read_until, subscribed
from tests.python_client.conftest import Line
from tests.server.conftest import Served, serving
from tests.support.processes import Process

TRADES = "spot:btcusdt@trade"
TICKER = "spot:btcusdt@ticker"
TRADE = b'{"e":"trade","p":"1.5"}'


def ends_with(cursor: int, events: list[Event]) -> bool:
    return cursors(events)[-1:] == [cursor]


async def cut_and_wait(line: Line, subscription: Subscription) -> None:
    await line.cut()
    await next_of(Disconnected, subscription)


async def test_what_was_missed_comes_once_and_in_order(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe("btcusdt@trade")
        assert subscription.streams == (TRADES,)
        await served.publish(TRADES, TRADE, 3)
        seen = await read_until(subscription, lambda events: len(cursors(events)) == 3)
        for round_ in range(1, 4):
            await cut_and_wait(line, subscription)
            assert not client.is_connected
            await served.publish(TRADES, TRADE, 5)
            await line.mend()
            seen += await read_until(subscription, lambda events: of(Recovered, events))
            await served.publish(TRADES, TRADE, 2)
            last = 3 + 7 * round_
            if cursors(seen)[-1] < last:
                seen += await read_until(subscription, partial(ends_with, last))
        assert cursors(seen) == list(range(1, 25))
        assert not of(Gap, seen)
        assert all(recovered.lost == () and recovered.replica == "r1" for recovered in of(Recovered, seen))
        assert {message.data["p"] for message in of(Message, seen)} == {"1.5"}


async def test_of_a_state_stream_the_latest_value_comes_if_it_is_newer(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe(TICKER)
        await served.publish(TICKER, b'{"c":"1"}')
        await read_until(subscription, cursors)
        await cut_and_wait(line, subscription)
        await line.mend()
        assert cursors(await read_until(subscription, lambda events: of(Recovered, events))) == []
        await cut_and_wait(line, subscription)
        await served.publish(TICKER, b'{"c":"2"}', 4)
        await line.mend()
        assert (await next_of(Message, subscription)).cursor == 5


async def test_what_nobody_has_any_more_is_a_gap_and_is_named(served: Served, line: Line, exchange: Process) -> None:
    async with connect(line.url) as client, serving(exchange, replica="r2") as other:
        subscription = await client.subscribe(TRADES, TICKER)
        await served.publish(TRADES, TRADE, 2)
        await read_until(subscription, lambda events: len(cursors(events)) == 2)
        line.lead_to(other.url)  # on a bus of its own, where nothing ever came
        await line.cut()
        await line.mend()
        events = await read_until(subscription, lambda events: of(Recovered, events))
        assert of(Gap, events) == [Gap(TRADES, None, None, "away")]
        (recovered,) = of(Recovered, events)
        assert (recovered.lost, recovered.replica) == ((TRADES,), "r2")
        await other.publish(TRADES, TRADE)
        assert (await next_of(Message, subscription)).cursor == 1


async def test_all_symbols_are_resumed_each_from_its_own_cursor(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        everything = await client.subscribe("spot:*@trade")
        named = await client.subscribe(TRADES)
        await served.publish(TRADES, TRADE, 2)
        await served.publish("spot:ethusdt@trade", TRADE, 3)
        before = await read_until(everything, lambda events: len(cursors(events)) == 5)
        assert cursors(await read_until(named, lambda events: len(cursors(events)) == 2)) == [1, 2]
        await cut_and_wait(line, everything)
        await served.publish(TRADES, TRADE, 2)
        await served.publish("spot:ethusdt@trade", TRADE, 2)
        await line.mend()
        after = await read_until(everything, lambda events: of(Recovered, events))
        await served.publish("spot:bnbusdt@trade", TRADE)
        after += await read_until(everything, lambda events: getattr(events[-1], "stream", "") == "spot:bnbusdt@trade")
        by_stream: dict[str, list[int]] = {}
        for message in of(Message, before + after):
            by_stream.setdefault(message.stream, []).append(message.cursor)
        assert by_stream == {TRADES: [1, 2, 3, 4], "spot:ethusdt@trade": [1, 2, 3, 4, 5], "spot:bnbusdt@trade": [1]}
        assert cursors(await read_until(named, lambda events: len(cursors(events)) == 2)) == [3, 4]


async def test_who_subscribes_and_leaves_while_away_is_served_afterwards(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe(TRADES, TICKER)
        other = await client.subscribe("ethusdt@trade")
        await cut_and_wait(line, subscription)
        asking = asyncio.create_task(client.subscribe("bnbusdt@trade"))
        await other.close()
        await line.mend()
        late = await asyncio.wait_for(asking, 10)
        assert late.streams == ("spot:bnbusdt@trade",)
        assert await subscription.remove("btcusdt@ticker") == (TICKER,)
        assert await subscribed(client) == ["spot:bnbusdt@trade", TRADES]


async def test_what_is_closed_while_the_connection_returns_is_left(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe(TRADES)
        other = await client.subscribe("ethusdt@trade", TICKER)
        await cut_and_wait(line, subscription)
        await line.mend()
        await is_asked(client, is_connected=False)
        await other.close()
        await next_of(Recovered, subscription)
        assert await subscribed(client) == [TRADES]


@pytest.mark.parametrize("served", [{"drain_seconds": 0.3}], indirect=True)
async def test_a_replica_that_ends_says_so_and_the_client_is_let_go(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe(TRADES)
        draining = asyncio.create_task(served.replica.drain())
        notice = await next_of(Draining, subscription)
        assert notice.replica == "r1"
        assert 0 <= notice.delay_ms <= 300
        await next_of(Disconnected, subscription)
        await draining


async def test_how_the_exchange_stands_is_told(served: Served) -> None:
    async with connect(served.url) as client:
        await client.subscribe(TRADES)
        assert (client.replica, client.source) == ("r1", "simulated")
        subscription = await client.subscribe(TICKER)
        served.replica._door.set_status("connected", Source.REPLAY)
        # The replica itself says once that no ingestor has its feed.
        while await next_of(Status, subscription) != Status("connected", "replay", "r1"):
            pass
        assert (client.exchange, client.source) == ("connected", "replay")
