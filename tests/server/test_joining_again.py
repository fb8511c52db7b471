"""Who subscribes to what it has already: nothing is lost of events, and of state streams only what is superseded."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from websockets.asyncio.client import connect

from market.streams import StreamName
from server.access.visitors import Visitor
from server.backlog import Backlog
from server.connections import Connection
from server.encodings import Encoding
from server.first_sight import Newcomer
from server.frames import Batch
from server.groups import Pace
from tests.market.samples import sample
from tests.server.conftest import Client, Served, serving, until
from tests.server.json_client import json_client
from tests.server.test_hub import (
    BTC,
    ETH,
    EVERY,
    TICKER,
    TRADES,
    Plain,
    Reader,
    Setup,
    listed,
    setup,
)
from tests.support.processes import Process

__all__ = ["listed", "setup"]  # fixtures

EVERY_TRADE = StreamName.parse("*@trade")
ETH_TRADES = StreamName.parse("ethusdt@trade")
SAMPLE = sample("spot:btcusdt@ticker")
A_LONG_TURN_MS = 200
"""What is published is still pending when a request comes that was sent right behind it."""
ASK = {"streams": ["btcusdt@trade"]}


class Lagging(Connection):
    """A client that reads when it is told to: all that is sent to it is owed until then."""

    def __init__(self) -> None:
        super().__init__(Visitor("127.0.0.1"))
        self._backlog = Backlog()

    def send(self, batch: Batch) -> None:
        for frame in batch.frames:
            self._backlog.add(frame)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        self._backlog.forget(stream, encoding)

    def read(self) -> list[bytes]:
        """What it is owed."""
        return [frame.body for frame in self._backlog.take(1_000_000)]


async def turn() -> None:
    """Let the loop turn, at the end of which everything leaves."""
    await asyncio.sleep(0.001)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "among others"])
async def test_joining_events_again_loses_nothing_that_came_in_the_same_turn(setup: Setup, others: int) -> None:
    encoding, reader, company = Plain(), Reader(), [Reader() for _ in range(others)]
    for one in (reader, *company):
        await setup.join(one, TRADES, encoding)
    setup.hub.deliver(setup.made(TRADES, b"1"))
    channel = setup.hub.join(reader, TRADES, encoding)
    assert channel.last is not None
    assert channel.last.payload == b"1"
    setup.hub.deliver(setup.made(TRADES, b"2"))
    await turn()
    await setup.publish(TRADES, b"3")
    assert all(one.texts == [b"1", b"2", b"3"] for one in (reader, *company))
    assert setup.hub.member_counts() == {TRADES: 1 + others}


async def test_joining_again_sends_what_is_pending_before_the_answer(setup: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await setup.join(reader, TRADES, encoding)
    setup.hub.deliver(setup.made(TRADES, b"1"))
    setup.hub.join(reader, TRADES, encoding)
    assert reader.texts == [b"1"]


async def test_joining_events_again_forgets_nothing_that_a_lagging_client_is_owed(setup: Setup) -> None:
    encoding, lagging = Plain(), Lagging()
    await setup.join(lagging, TRADES, encoding)
    await setup.publish(TRADES, b"1", b"2")
    setup.hub.deliver(setup.made(TRADES, b"3"))
    setup.hub.join(lagging, TRADES, encoding)
    await setup.publish(TRADES, b"4")
    assert lagging.read() == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("kind", [Reader, Lagging])
async def test_who_is_sent_everything_since_a_cursor_gets_it_exactly_once(
    setup: Setup,
    kind: type[Reader] | type[Lagging],
) -> None:
    encoding, client, other = Plain(), kind(), Reader()
    for one in (client, other):
        await setup.join(one, TRADES, encoding)
    first, *rest = setup.made(TRADES, b"1", b"2", b"3")
    setup.hub.deliver([first, *rest])
    channel = setup.hub.channel(TRADES)
    sight = Newcomer(client, {TRADES: first.cursor}, snapshot=True).first_sight(channel, encoding)
    assert (sight.missed, sight.recovered) == (rest, True)
    setup.hub.join(client, TRADES, encoding, shown=sight.shown)
    await setup.publish(TRADES, b"4")
    assert (client.read() if isinstance(client, Lagging) else client.texts) == [b"4"], "the rest is the door's to send"
    assert other.texts == [b"1", b"2", b"3", b"4"]


async def test_a_cursor_that_leads_nowhere_takes_nothing_away(setup: Setup) -> None:
    encoding, lagging = Plain(), Lagging()
    await setup.join(lagging, TRADES, encoding)
    await setup.publish(TRADES, b"1")
    setup.hub.deliver(setup.made(TRADES, b"2"))
    sight = Newcomer(lagging, {TRADES: 99}, snapshot=True).first_sight(setup.hub.channel(TRADES), encoding)
    assert sight.recovered is False
    setup.hub.join(lagging, TRADES, encoding, shown=sight.shown)
    assert lagging.read() == [b"1", b"2"]


@pytest.mark.parametrize("kind", [Reader, Lagging])
async def test_joining_all_again_loses_nothing_and_what_is_wanted_by_name_still_comes_once(
    listed: Setup,
    kind: type[Reader] | type[Lagging],
) -> None:
    encoding, client = Plain(), kind()
    trades = (TRADES, ETH_TRADES)
    await listed.join(client, EVERY_TRADE, encoding)
    await listed.join(client, TRADES, encoding)
    for stream in trades:
        listed.hub.deliver(listed.made(stream, b"1 " + stream.symbol.encode()))
    for wish in (EVERY_TRADE, TRADES, EVERY_TRADE):
        listed.hub.join(client, wish, encoding)
    for stream in trades:
        await listed.publish(stream, b"2 " + stream.symbol.encode())
    texts = client.read() if isinstance(client, Lagging) else client.texts
    assert sorted(texts) == [b"1 btcusdt", b"1 ethusdt", b"2 btcusdt", b"2 ethusdt"]


@pytest.mark.parametrize("by_name", [False, True], ids=["all alone", "and one symbol by name"])
async def test_a_cursor_of_one_symbol_takes_nothing_away_of_the_others_in_all(listed: Setup, *, by_name: bool) -> None:
    encoding, lagging = Plain(), Lagging()
    await listed.join(lagging, EVERY_TRADE, encoding)
    if by_name:
        await listed.join(lagging, TRADES, encoding)
    first, *missed = listed.made(TRADES, b"b0", b"b1", b"b2")
    await listed.publisher.publish([first, *missed[:1]])
    await listed.publish(ETH_TRADES, b"e1")
    listed.hub.deliver([*missed[1:], *listed.made(ETH_TRADES, b"e2")])
    since = {TRADES: first.cursor}
    sight = Newcomer(lagging, since, snapshot=True).first_sight(listed.hub.channel(EVERY_TRADE), encoding)
    assert (sight.missed, sight.shown) == (missed, {TRADES})
    listed.hub.join(lagging, EVERY_TRADE, encoding, shown=sight.shown)
    assert lagging.read() == [b"e1", b"e2"]
    await listed.publish(TRADES, b"b3")
    assert lagging.read() == [b"b3"]


async def test_who_adds_a_symbol_to_all_with_a_cursor_gets_what_follows_it_exactly_once(listed: Setup) -> None:
    encoding, lagging = Plain(), Lagging()
    await listed.join(lagging, EVERY_TRADE, encoding)
    first, *missed = listed.made(TRADES, b"0", b"1", b"2")
    await listed.publisher.publish([first, *missed[:1]])
    await turn()
    await listed.hub.prepare([TRADES])
    listed.hub.deliver(missed[1:])
    sight = Newcomer(lagging, {TRADES: first.cursor}, snapshot=True).first_sight(listed.hub.channel(TRADES), encoding)
    listed.hub.join(lagging, TRADES, encoding, shown=sight.shown)
    listed.hub.release([TRADES])
    assert (sight.missed, lagging.read()) == (missed, [])


@pytest.mark.parametrize("snapshot", [False, True], ids=["without snapshot", "with snapshot"])
async def test_a_snapshot_replaces_the_pending_value_and_without_one_that_still_comes(
    setup: Setup,
    *,
    snapshot: bool,
) -> None:
    encoding, reader, lagging = Plain(), Reader(), Lagging()
    for one in (reader, lagging):
        await setup.join(one, TICKER, encoding)
    setup.hub.deliver(setup.made(TICKER, b"1"))
    for one in (reader, lagging):
        sight = Newcomer(one, {}, snapshot=snapshot).first_sight(setup.hub.channel(TICKER), encoding)
        assert len(sight.snapshots) == snapshot
        setup.hub.join(one, TICKER, encoding, shown=sight.shown)
    assert reader.texts == ([] if snapshot else [b"1"])
    # The reader's request flushed the group: the other one was owed the value before it asked.
    assert lagging.read() == ([] if snapshot else [b"1"])


@pytest.mark.parametrize("wishes", [(EVERY, BTC), (BTC, EVERY)], ids=["all first", "by name first"])
async def test_naming_all_again_and_one_of_them_shows_its_latest_value_once_in_place_of_the_pending_one(
    listed: Setup, wishes: tuple[StreamName, StreamName]
) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding)
    await listed.hub.prepare([BTC])
    listed.hub.deliver(listed.made(BTC, b"1"))
    named = {(wish, encoding) for wish in wishes}
    newcomer = Newcomer(reader, {}, snapshot=True, named=named)
    shown = {}
    for wish in wishes:
        sight = newcomer.first_sight(listed.hub.channel(wish), encoding)
        listed.hub.join(reader, wish, encoding, shown=sight.shown)
        shown[wish] = [message.payload for message in sight.snapshots]
    await turn()
    assert (shown, reader.texts) == ({EVERY: [], BTC: [b"1"]}, [])


@pytest.mark.parametrize("to", [None, Pace(500)], ids=["none", "a slower one"])
async def test_a_change_of_pace_brings_what_the_old_one_held_back(setup: Setup, to: Pace | None) -> None:
    encoding, reader = Plain(), Reader()
    await setup.join(reader, TICKER, encoding, Pace(60_000))
    await setup.publish(TICKER, b"1", b"2")
    await setup.join(reader, TICKER, encoding, to)
    assert reader.texts == [b"2"]
    await setup.publish(TICKER, b"3")
    await until(lambda: reader.texts == [b"2", b"3"], "the new pace")


async def test_a_change_of_pace_forgets_nothing_that_a_lagging_client_is_owed(setup: Setup) -> None:
    encoding, lagging = Plain(), Lagging()
    await setup.join(lagging, TICKER, encoding)
    await setup.publish(TICKER, b"1")
    await setup.join(lagging, TICKER, encoding, Pace(60_000))
    assert lagging.read() == [b"1"]


async def test_joining_again_at_the_same_pace_keeps_what_it_holds_back_for_the_beat(setup: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await setup.join(reader, TICKER, encoding, Pace(100))
    await setup.publish(TICKER, b"1")
    await setup.join(reader, TICKER, encoding, Pace(100))
    assert reader.texts == []
    await until(lambda: reader.texts == [b"1"], "the beat")


PACE = Pace(100)
EACH_BY_NAME_AND_ALL = pytest.mark.parametrize("wish", [BTC, EVERY], ids=["by name", "all"])


def join_shown(
    setup: Setup, connection: Connection, stream: StreamName, encoding: Encoding, since: Mapping[StreamName, int] = {}
) -> list[bytes]:
    """Join a prepared stream as the doors do, at a pace; what the client is shown with the answer."""
    sight = Newcomer(connection, since, snapshot=True).first_sight(setup.hub.channel(stream), encoding)
    setup.hub.join(connection, stream, encoding, PACE, shown=sight.shown)
    return [message.payload for message in (*sight.missed, *sight.snapshots)]


async def after_beats(setup: Setup, other: Reader, *texts: bytes) -> None:
    """Return when a member that misses nothing has got these, and a later message a beat behind them."""
    await until(lambda: other.texts == [*texts], "the beat")
    await setup.publish(BTC, b"later")
    await until(lambda: other.texts == [*texts, b"later"], "the next beat")


@EACH_BY_NAME_AND_ALL
@pytest.mark.parametrize(
    ("since", "shown"),
    [({}, [b"1"]), ({BTC: -1}, [b"1"]), ({BTC: 0}, [])],
    ids=["as snapshot", "as missed", "before it came here"],
)
async def test_the_beat_does_not_bring_a_newcomer_again_what_it_has(
    listed: Setup, wish: StreamName, since: dict[StreamName, int], shown: list[bytes]
) -> None:
    encoding, other, newcomer = Plain(), Reader(), Reader()
    await listed.join(other, wish, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    assert join_shown(listed, newcomer, wish, encoding, since) == shown
    await after_beats(listed, other, b"1")
    assert newcomer.texts == [b"later"]


@EACH_BY_NAME_AND_ALL
async def test_a_newcomer_without_a_snapshot_gets_what_comes_from_now_on(listed: Setup, wish: StreamName) -> None:
    encoding, other, newcomer = Plain(), Reader(), Reader()
    await listed.join(other, wish, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    listed.hub.join(newcomer, wish, encoding, PACE)
    await after_beats(listed, other, b"1")
    assert newcomer.texts == [b"later"]


@EACH_BY_NAME_AND_ALL
async def test_the_beat_does_not_bring_again_what_was_shown_to_who_joined_again(
    listed: Setup, wish: StreamName
) -> None:
    encoding, other, reader = Plain(), Reader(), Reader()
    for one in (other, reader):
        await listed.join(one, wish, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    assert join_shown(listed, reader, wish, encoding) == [b"1"]
    await after_beats(listed, other, b"1")
    assert reader.texts == [b"later"]


@EACH_BY_NAME_AND_ALL
async def test_the_beat_brings_what_took_the_place_of_what_was_shown(listed: Setup, wish: StreamName) -> None:
    encoding, other, newcomer = Plain(), Reader(), Reader()
    await listed.join(other, wish, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    assert join_shown(listed, newcomer, wish, encoding) == [b"1"]
    listed.hub.deliver(listed.made(BTC, b"2"))
    await after_beats(listed, other, b"2")
    assert newcomer.texts == [b"2", b"later"]


async def test_what_a_newcomer_of_all_was_shown_of_one_symbol_holds_back_no_other(listed: Setup) -> None:
    encoding, other, newcomer = Plain(), Reader(), Reader()
    await listed.join(other, EVERY, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    assert join_shown(listed, newcomer, EVERY, encoding) == [b"1"]
    listed.hub.deliver(listed.made(ETH, b"e"))
    await after_beats(listed, other, b"1", b"e")
    assert newcomer.texts == [b"e", b"later"]


@EACH_BY_NAME_AND_ALL
async def test_who_was_shown_a_value_and_leaves_before_the_beat_changes_nothing_for_others(
    listed: Setup, wish: StreamName
) -> None:
    encoding, other, leaver, newcomer = Plain(), Reader(), Reader(), Reader()
    await listed.join(other, wish, encoding, PACE)
    listed.hub.deliver(listed.made(BTC, b"1"))
    for one in (leaver, newcomer):
        assert join_shown(listed, one, wish, encoding) == [b"1"]
    listed.hub.leave(leaver, wish, encoding)
    await after_beats(listed, other, b"1")
    assert (leaver.texts, newcomer.texts) == ([], [b"later"])


@EACH_BY_NAME_AND_ALL
@pytest.mark.parametrize("former", [None, Pace(60_000)], ids=["from none", "from a slower one"])
async def test_a_change_to_a_pace_that_others_have_brings_the_latest_value_once(
    listed: Setup, wish: StreamName, former: Pace | None
) -> None:
    encoding, other, reader = Plain(), Reader(), Reader()
    await listed.join(other, wish, encoding, PACE)
    await listed.join(reader, wish, encoding, former)
    listed.hub.deliver(listed.made(BTC, b"1"))
    listed.hub.join(reader, wish, encoding, PACE)
    await after_beats(listed, other, b"1")
    assert reader.texts == [b"1", b"later"]


async def test_who_adds_a_symbol_to_all_at_a_pace_that_others_have_gets_its_latest_value_once(listed: Setup) -> None:
    encoding, other, reader = Plain(), Reader(), Reader()
    await listed.join(other, BTC, encoding, PACE)
    await listed.join(reader, EVERY, encoding, Pace(60_000))
    listed.hub.deliver(listed.made(BTC, b"1"))
    listed.hub.join(reader, BTC, encoding, PACE)
    await after_beats(listed, other, b"1")
    assert reader.texts == [b"1", b"later"]


async def test_who_leaves_a_symbol_and_stays_in_all_gets_its_latest_value_once(listed: Setup) -> None:
    encoding, other, reader = Plain(), Reader(), Reader()
    for one in (other, reader):
        await listed.join(one, EVERY, encoding, PACE)
    await listed.join(reader, BTC, encoding)
    listed.hub.deliver(listed.made(BTC, b"1"))
    listed.hub.leave(reader, BTC, encoding)
    await after_beats(listed, other, b"1")
    assert reader.texts == [b"1", b"later"]


async def test_who_leaves_a_symbol_it_was_shown_and_stays_in_all_gets_its_latest_value_no_more(listed: Setup) -> None:
    encoding, other, reader = Plain(), Reader(), Reader()
    for one in (other, reader):
        await listed.join(one, EVERY, encoding, PACE)
    await listed.join(other, BTC, encoding, Pace(60_000))
    await listed.hub.prepare([BTC])
    listed.hub.deliver(listed.made(BTC, b"1"))
    assert join_shown(listed, reader, BTC, encoding) == [b"1"]
    listed.hub.leave(reader, BTC, encoding)
    listed.hub.leave(other, BTC, encoding)
    await after_beats(listed, other, b"1")
    assert reader.texts == [b"later"]


async def test_a_change_of_all_s_pace_brings_what_each_symbol_s_held_back(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding, Pace(60_000))
    await listed.join(reader, ETH, encoding, Pace(60_000))
    await listed.publish(BTC, b"b")
    await listed.publish(ETH, b"e")
    await listed.join(reader, EVERY, encoding)
    assert reader.texts == [b"b"], "what comes by name keeps the name's pace"


async def test_who_wants_a_symbol_by_name_gets_what_all_s_pace_held_back(listed: Setup) -> None:
    encoding, reader = Plain(), Reader()
    await listed.join(reader, EVERY, encoding, Pace(60_000))
    await listed.publish(BTC, b"b")
    await listed.publish(ETH, b"e")
    await listed.join(reader, BTC, encoding)
    assert reader.texts == [b"b"]


@pytest.fixture
async def slow_turning(exchange: Process) -> AsyncIterator[Served]:
    """A replica whose turns are long."""
    async with serving(exchange, flush_interval_ms=A_LONG_TURN_MS) as served:
        yield served


async def test_socketio_subscribing_again_amid_messages_loses_none(slow_turning: Served) -> None:
    client = Client()
    await client.connect(slow_turning.url, "websocket")
    await client.call("subscribe", ASK)
    for _ in range(3):
        *_, last = await slow_turning.publish("btcusdt@trade", count=2)
        answer = await client.call("subscribe", ASK)
        assert answer["subscribed"][0]["cursor"] == last.cursor
        assert client.named("trade")[-1]["cursor"] == last.cursor, "all up to the answer came before it"
    assert [body["cursor"] for body in client.named("trade")] == [1, 2, 3, 4, 5, 6]
    await client.io.disconnect()


async def test_socketio_subscribing_again_with_a_cursor_brings_what_follows_it_once(slow_turning: Served) -> None:
    client = Client()
    await client.connect(slow_turning.url, "websocket")
    await client.call("subscribe", ASK)
    await slow_turning.publish("btcusdt@trade", count=3)
    answer = await client.call("subscribe", {**ASK, "since": {"btcusdt@trade": 1}})
    assert answer["subscribed"][0]["recovered"] is True
    await slow_turning.publish("btcusdt@trade")
    await until(lambda: len(client.named("trade")) >= 3, "all")
    assert [body["cursor"] for body in client.named("trade")] == [2, 3, 4]
    await client.io.disconnect()


BOTH_ORDERS = pytest.mark.parametrize(
    "streams", [["*@trade", "btcusdt@trade"], ["btcusdt@trade", "*@trade"]], ids=["all first", "by name first"]
)


@BOTH_ORDERS
async def test_socketio_naming_all_and_one_of_them_with_a_cursor_brings_what_was_missed_once(
    slow_turning: Served, streams: list[str]
) -> None:
    client, keeper = Client(), Client()
    for one in (client, keeper):
        await one.connect(slow_turning.url, "websocket")
    await keeper.call("subscribe", ASK)
    await slow_turning.publish("btcusdt@trade", count=3)
    answer = await client.call("subscribe", {"streams": streams, "since": {"btcusdt@trade": 1}})
    assert [entry["recovered"] for entry in answer["subscribed"]] == [True, True]
    await slow_turning.publish("btcusdt@trade")
    await until(lambda: len(client.named("trade")) >= 3, "all")
    assert [body["cursor"] for body in client.named("trade")] == [2, 3, 4]
    for one in (client, keeper):
        await one.io.disconnect()


@BOTH_ORDERS
async def test_json_naming_all_and_one_of_them_with_a_cursor_brings_what_was_missed_once(
    slow_turning: Served, streams: list[str]
) -> None:
    keep: dict[str, Any] = {"type": "subscribe", "rawStreams": ["btcusdt@trade"]}
    request: dict[str, Any] = {"type": "subscribe", "rawStreams": streams, "since": {"btcusdt@trade": 1}}
    async with json_client(slow_turning.url) as keeper, json_client(slow_turning.url) as client:
        await keeper.ask("subscribed", **keep)
        for number in range(3):
            await slow_turning.publish("btcusdt@trade", b'{"t":%d}' % number)
        await client.ask("subscribed", **request)
        await slow_turning.publish("btcusdt@trade", b'{"t":3}')
        await client.ask("subscribed", **keep)
        assert [message["data"]["t"] for message in client.of_stream("btcusdt@trade")] == [1, 2, 3]


ALL_AND_ONE = pytest.mark.parametrize(
    "streams", [["*@ticker", "btcusdt@ticker"], ["btcusdt@ticker", "*@ticker"]], ids=["all first", "by name first"]
)


@ALL_AND_ONE
async def test_socketio_naming_all_and_one_of_them_shows_its_latest_value_once_with_its_name(
    served: Served, streams: list[str]
) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    latest, other = [(await served.publish(f"{symbol}@ticker", SAMPLE))[0] for symbol in ("btcusdt", "ethusdt")]
    answer = await client.call("subscribe", {"streams": streams})
    assert [entry["stream"] for entry in answer["subscribed"]] == [f"spot:{stream}" for stream in streams]
    shown = {entry["stream"]: entry["snapshot"] for entry in answer["subscribed"]}
    assert shown == {"spot:*@ticker": None, "spot:btcusdt@ticker": json.loads(latest.payload)}
    (live,) = await served.publish("btcusdt@ticker", SAMPLE)
    await until(lambda: live.cursor in [body["cursor"] for body in client.named("ticker")], "live")
    assert [body["cursor"] for body in client.named("ticker")] == [other.cursor, live.cursor]
    await client.io.disconnect()


@ALL_AND_ONE
async def test_json_naming_all_and_one_of_them_shows_its_latest_value_once(served: Served, streams: list[str]) -> None:
    for symbol in ("btcusdt", "ethusdt"):
        await served.publish(f"{symbol}@ticker", SAMPLE)
    async with json_client(served.url) as client:
        await client.ask("subscribed", type="subscribe", rawStreams=streams)
        await client.settle()
        assert [len(client.of_stream(f"{symbol}@ticker")) for symbol in ("btcusdt", "ethusdt")] == [1, 1]


async def test_json_subscribing_again_amid_messages_loses_none(slow_turning: Served) -> None:
    request: dict[str, Any] = {"type": "subscribe", "rawStreams": ["btcusdt@trade"]}
    async with json_client(slow_turning.url) as client:
        await client.ask("subscribed", **request)
        for number in range(3):
            await slow_turning.publish("btcusdt@trade", b'{"t":%d}' % number)
            await client.ask("subscribed", **request)
        assert [message["data"]["t"] for message in client.of_stream("btcusdt@trade")] == [0, 1, 2]


async def test_binance_subscribing_again_amid_messages_loses_none(slow_turning: Served) -> None:
    async with connect(f"{slow_turning.url.replace('http', 'ws', 1)}/ws") as socket:
        received: list[dict[str, Any]] = []
        for number in range(4):
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": number}))
            while (message := json.loads(await socket.recv())).get("id") != number:
                received.append(message)
            await slow_turning.publish("btcusdt@trade", b'{"t":%d}' % number)
        while len(received) < 4:
            received.append(json.loads(await socket.recv()))
    assert [message["t"] for message in received] == [0, 1, 2, 3]
