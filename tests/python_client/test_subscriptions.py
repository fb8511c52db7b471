"""What a subscription begins with, who may have it, and what becomes of a program that is slow."""

import asyncio
import contextlib
import json

import pytest

from clients.python.tickcast_client import (
    ClosedError,
    Disconnected,
    Gap,
    Message,
    OrderBook,
    RefusedError,
    Rejected,
    TickcastError,
    UnreachableError,
    connect,
)
from tests.python_client.collecting import at_once, cursors, is_asked, next_of, of, read_until, subscribed
from tests.python_client.conftest import Line
from tests.server.access.minting import SECRET, mint
from tests.server.conftest import Served, serving, until
from tests.support.processes import Process, free_port

TRADES = "spot:btcusdt@trade"
TICKER = "spot:btcusdt@ticker"
BOOK = "spot:btcusdt@book"


async def test_the_latest_value_comes_first_unless_it_is_not_wanted(served: Served) -> None:
    async with connect(served.url) as client, connect(served.url) as later:
        first = await client.subscribe(TICKER)
        await served.publish(TICKER, b'{"c":"7"}', 2)
        await read_until(first, lambda events: len(cursors(events)) == 2)
        shown = await next_of(Message, await later.subscribe("btcusdt@ticker"))
        assert (shown.stream, shown.cursor, shown.data) == (TICKER, 2, {"c": "7"})
    async with connect(served.url.replace("http", "ws")) as client:
        unshown = await client.subscribe(TICKER, snapshot=False)
        await served.publish(TICKER)
        assert (await next_of(Message, unshown)).cursor == 3


async def test_a_throttled_stream_brings_the_latest_of_each_interval(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TICKER, throttle_ms=250)
        await served.publish(TICKER, count=1)
        await next_of(Message, subscription)
        await served.publish(TICKER, count=50)
        assert cursors(await read_until(subscription, cursors)) == [51]


async def test_what_is_refused_is_told_by_name_with_a_suggestion(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TRADES, "btcusd@trade")
        (rejected,) = subscription.rejected
        assert (rejected.stream, rejected.code) == ("btcusd@trade", "unknown_symbol")
        assert rejected.suggestion
        assert subscription.streams == (TRADES,)
        with pytest.raises(RefusedError) as refused:
            await client.subscribe("btcusd@trade")
        assert (refused.value.code, refused.value.suggestion) == ("unknown_symbol", rejected.suggestion)
        with pytest.raises(RefusedError, match="invalid_stream"):
            await subscription.add("nonsense")
        with pytest.raises(RefusedError, match="already_subscribed"):
            await client.subscribe("btcusdt@trade")
        with pytest.raises(RefusedError, match="bad_request"):
            await client.subscribe(TICKER, throttle_ms=7)
        with pytest.raises(RefusedError, match="bad_request"):
            await client.history("BTCUSDT", "7m")


async def test_who_has_a_stream_keeps_its_pace_when_another_one_wants_it(served: Served) -> None:
    async with connect(served.url) as client:
        first = await client.subscribe(TICKER)
        for name in (TICKER, "BTCUSDT@ticker"):
            with pytest.raises(RefusedError, match="already_subscribed"):
                await client.subscribe(name, throttle_ms=1000)
        second = await client.subscribe("btcusdt@ticker", TRADES, throttle_ms=1000)
        assert [(rejected.stream, rejected.code) for rejected in second.rejected] == [
            ("btcusdt@ticker", "already_subscribed")
        ]
        assert second.streams == (TRADES,)
        for _ in range(5):
            await served.publish(TICKER)
        assert cursors(await read_until(first, lambda events: cursors(events)[-1:] == [5])) == [1, 2, 3, 4, 5]


async def test_what_is_asked_for_and_given_up_is_left(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TICKER)
        for ask in (client.subscribe, subscription.add):
            asking: asyncio.Future[object] = asyncio.ensure_future(ask("btcusdt@trade"))
            await is_asked(client, is_connected=True)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await subscribed(client) == [TICKER]
            assert subscription.streams == (TICKER,)
        adding = asyncio.ensure_future(subscription.add(BOOK))
        await is_asked(client, is_connected=True)
        await subscription.close()
        await adding
        assert await subscribed(client) == []
        assert (await client.subscribe(TRADES, TICKER, BOOK)).streams == (TRADES, TICKER, BOOK)


async def test_leaving_ends_the_messages_and_closing_the_iteration(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TRADES, TICKER)
        assert await subscription.remove("btcusdt@trade") == (TRADES,)
        await served.publish(TRADES)
        await served.publish(TICKER)
        assert (await next_of(Message, subscription)).stream == TICKER
        await subscription.close()
        assert [event async for event in subscription] == []
        assert await subscribed(client) == []
        other = await client.subscribe(TRADES)
    assert [event async for event in other] == []
    with pytest.raises(ClosedError):
        await client.subscribe(TRADES)


async def test_a_program_that_is_slow_gets_the_latest_prices_and_is_told_of_lost_trades(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TRADES, TICKER, max_waiting=20)
        await served.publish(TRADES, count=100)
        await served.publish(TICKER, count=100)
        await until(lambda: subscription.conflated_total >= 99, "all has come")
        assert subscription.waiting <= 22
        assert subscription.dropped_total == 80
        events = await read_until(subscription, lambda events: cursors(events)[-1:] == [100])
        assert [m.cursor for m in of(Message, events) if m.stream == TRADES] == list(range(1, 21))
        assert of(Gap, events) == [Gap(TRADES, 80, 100, "unread")]
        await served.publish(TRADES, count=2)
        assert cursors(await read_until(subscription, lambda events: len(events) == 2)) == [101, 102]


SNAPSHOT = json.dumps(
    {"e": "bookSnapshot", "E": 1, "s": "BTCUSDT", "u": 1, "b": [["1", "1"]], "a": [["100", "1"]]}
).encode()


def change(update_id: int, price: str) -> bytes:
    body = {"e": "depthUpdate", "E": update_id, "s": "BTCUSDT", "U": update_id, "u": update_id}
    return json.dumps({**body, "b": [[price, "1"]], "a": []}).encode()


async def test_a_book_that_lost_a_change_begins_anew_by_itself(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(BOOK, max_waiting=5)
        await served.publish(BOOK, SNAPSHOT)
        for number in range(2, 41):
            await served.publish(BOOK, change(number, str(number)))
        await until(lambda: subscription.dropped_total == 35, "what did not fit")
        book, seen = OrderBook(BOOK), []
        async with asyncio.timeout(10):
            async for event in subscription:
                seen.append(event)
                book.apply(event)
                if book.update_id == 40:
                    break
        assert of(Gap, seen) == [Gap(BOOK, 35, 40, "unread")]
        assert [level.price for level in book.bids(2)] == [40, 39]
        assert len(book.bids()) == 40
        await served.publish(BOOK, change(41, "41"))
        assert book.apply(await next_of(Message, subscription))
        assert book.bids(1)[0].price == 41


async def test_a_book_that_lost_a_change_while_the_connection_returned_begins_anew(served: Served, line: Line) -> None:
    async with connect(line.url) as client:
        subscription = await client.subscribe(BOOK, max_waiting=5)
        await client.subscribe(TRADES)  # its resume is a request of its own
        await served.publish(BOOK, SNAPSHOT)
        await next_of(Message, subscription)
        await line.cut()
        await next_of(Disconnected, subscription)
        for number in range(2, 41):
            await served.publish(BOOK, change(number, str(number)))
        await line.mend()
        await at_once(lambda: subscription.dropped_total)
        await next_of(Gap, subscription)
        assert not client.is_connected
        assert (await next_of(Message, subscription)).data["e"] == "bookSnapshot"


@pytest.mark.parametrize("served", [{"commands_per_second": 2}], indirect=True)
async def test_a_book_that_may_not_begin_anew_yet_is_unknown_until_it_may(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(BOOK, max_waiting=5)
        await served.publish(BOOK, SNAPSHOT)
        for number in range(2, 41):
            await served.publish(BOOK, change(number, str(number)))
        await until(lambda: subscription.dropped_total == 35, "what did not fit")
        with contextlib.suppress(RefusedError):
            while True:
                await subscribed(client)
        book = OrderBook(BOOK)
        for event in await read_until(subscription, lambda events: of(Gap, events)):
            book.apply(event)
        assert not book.is_known
        book.apply(await next_of(Message, subscription))
        assert book.update_id == 40


async def test_where_nobody_listens_the_first_attempt_fails() -> None:
    with pytest.raises(UnreachableError) as unreachable:
        async with connect(f"http://127.0.0.1:{free_port()}"):
            raise AssertionError("connected to nothing")
    assert unreachable.value.code == "unreachable"
    with pytest.raises(UnreachableError, match="expected http"):
        async with connect("localhost:8080"):
            raise AssertionError("connected to nothing")


async def test_credentials_are_asked_for_at_each_connection_and_their_ends_told(exchange: Process) -> None:
    async with serving(
        exchange, {"Authorization": f"Bearer {mint()}"}, auth="required", auth_jwt_secret=SECRET
    ) as served:
        for token in (None, "wrong"):
            with pytest.raises(RefusedError) as refused:
                async with connect(served.url, token):
                    raise AssertionError("let in")
            assert refused.value.code == "unauthorized"

        tokens = [mint(tickcast={"streams": ["spot:btc*"]}), mint()]
        async with connect(served.url, tokens.pop) as client:
            subscription = await client.subscribe(TRADES, "ethusdt@trade")
            client._session._link._socket.transport.abort()  # type: ignore[union-attr] # it is there
            rejected = await next_of(Rejected, subscription)
            assert (rejected.stream, rejected.code) == ("spot:ethusdt@trade", "forbidden")
            assert subscription.streams == (TRADES,)

        async with connect(served.url, mint()) as client:
            subscription = await client.subscribe(TRADES, TICKER)
            await client.authenticate(mint(tickcast={"streams": ["*:*@ticker"]}))
            rejected = await next_of(Rejected, subscription)
            assert (rejected.stream, rejected.code) == (TRADES, "forbidden")
            assert subscription.streams == (TICKER,)
            client._session._link._socket.transport.abort()  # type: ignore[union-attr] # it is there
            with pytest.raises(RefusedError, match="forbidden"):
                await client.subscribe(TRADES)


async def test_a_client_that_the_server_dismisses_stays_away_and_says_why(served: Served) -> None:
    async with connect(served.url) as client:
        subscription = await client.subscribe(TRADES)
        (sid,) = served.replica._door.connections
        await served.replica._door.server.disconnect(sid)
        with pytest.raises(TickcastError) as ended:
            await anext(subscription)
        assert ended.value.code == "disconnected"
        with pytest.raises(TickcastError, match="disconnected"):
            await client.subscribe(TICKER)
