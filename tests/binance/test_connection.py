import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from binance import dialogue, handover
from binance.connection import Connection
from binance.counters import Trouble
from binance.routes import Route
from binance.settings import stand_in
from binance.upstream import Upstream
from market.streams import StreamName
from tests.binance.wire import MAX_CLIENT_FRAME, WireServer, most_within, until

TRADE = StreamName.parse("btcusdt@trade")
BOOK = StreamName.parse("btcusdt@bookTicker")


class Feed:
    """Makes connections to the wire and keeps what they hand over."""

    def __init__(self, wire: WireServer) -> None:
        self.received: list[tuple[StreamName, bytes]] = []
        self.states: list[bool] = []
        self.open: list[Connection] = []
        self.on_message: Callable[[], None] = lambda: None
        self.upstream = Upstream(stand_in(wire.url))
        self.troubles = self.upstream.counters.troubles

    def connect(self, *streams: StreamName, route: Route = Route.SPOT) -> Connection:
        connection = Connection(route, self.upstream, self._take, self._note_state)
        self.open.append(connection)
        connection.want(streams)
        connection.start()
        return connection

    def _take(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        assert received_us > 1_700_000_000_000_000
        self.received.append((stream, payload))
        self.on_message()

    def _note_state(self) -> None:
        if self.states[-1:] != [self.open[-1].connected]:
            self.states.append(self.open[-1].connected)


@pytest.fixture
async def feed(wire: WireServer) -> AsyncIterator[Feed]:
    made = Feed(wire)
    yield made
    await asyncio.gather(*(connection.close() for connection in made.open))


async def test_payloads_arrive_byte_for_byte_with_their_streams(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE, BOOK)
    await until(lambda: len(connection.confirmed) == 2, "both confirmed")
    wire.send("btcusdt@trade", b'{"t": 1,  "odd":"spacing"}')
    wire.send("btcusdt@bookTicker", b'{"u":2}')
    await until(lambda: len(feed.received) == 2, "two messages")
    assert feed.received == [(TRADE, b'{"t": 1,  "odd":"spacing"}'), (BOOK, b'{"u":2}')]
    assert connection.tally.messages == 2
    assert connection.last_message_ms > 0
    assert [client.path for client in wire.clients] == ["/stream"]


async def test_frames_that_arrive_together_are_handed_over_in_one_turn_of_the_loop(
    wire: WireServer, feed: Feed
) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    turns: list[int] = []

    def count_once_a_turn() -> None:
        if len(feed.received) == 1:
            asyncio.get_running_loop().call_soon(lambda: turns.append(len(feed.received)))

    feed.on_message = count_once_a_turn
    frames = [b'{"stream":"btcusdt@trade","data":{"t":%d}}' % i for i in range(100)]
    wire.send_raw(wire.live[0], *frames)
    await until(lambda: len(feed.received) == 100, "all messages")
    assert turns == [100]


async def test_a_thousand_streams_are_subscribed_within_the_servers_limits(wire: WireServer, feed: Feed) -> None:
    streams = [StreamName.parse(f"s{i}usdt@kline_15m") for i in range(1_000)]
    connection = feed.connect(*streams)
    await until(lambda: len(connection.confirmed) == 1_000, "all confirmed")
    (client,) = wire.clients
    assert client.names == {stream.binance_name for stream in streams}
    assert len(client.times) > 5
    assert most_within(client.times, 1.0) <= 5
    assert client.longest <= MAX_CLIENT_FRAME


async def test_many_changes_stay_within_the_limit_of_client_messages(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE, route=Route.FUTURES_MARKET)
    for i in range(40):
        connection.want([StreamName.parse(f"futures:s{i}usdt@aggTrade")])
        await asyncio.sleep(0.05)
    await until(lambda: connection.confirmed == {"s39usdt@aggTrade"}, "the last wish fulfilled")
    (client,) = wire.clients
    assert client.names == {"s39usdt@aggTrade"}
    assert len(client.times) > 10
    assert most_within(client.times, 1.0) <= 10


async def test_a_stream_no_longer_wanted_is_unsubscribed_and_silent(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE, BOOK)
    await until(lambda: len(connection.confirmed) == 2, "both confirmed")
    connection.want([BOOK])
    wire.send("btcusdt@trade", b'{"t":1}')
    wire.send("btcusdt@bookTicker", b'{"u":1}')
    await until(lambda: wire.names == {"btcusdt@bookTicker"}, "unsubscribed")
    assert wire.clients[0].requests[-1]["method"] == "UNSUBSCRIBE"
    assert feed.received == [(BOOK, b'{"u":1}')]
    assert feed.troubles == {Trouble.UNWANTED: 1}


async def test_a_lost_connection_is_opened_again_and_subscribed_again(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    wire.drop()
    await until(lambda: feed.states == [True, False, True], "lost and back")
    await until(lambda: wire.send("btcusdt@trade", b'{"t":1}') and feed.received, "messages again")
    assert feed.troubles == {Trouble.LOST: 1}


async def test_an_exchange_that_is_away_is_retried_until_it_comes(wire: WireServer, feed: Feed) -> None:
    await wire.stop()
    connection = feed.connect(TRADE)
    await until(lambda: feed.troubles, "a failed attempt")
    assert not connection.connected
    await wire.start()
    await until(lambda: wire.names == {"btcusdt@trade"}, "subscribed")


async def test_an_exchange_that_refuses_the_handshake_is_retried(wire: WireServer, feed: Feed) -> None:
    wire.admits = False
    connection = feed.connect(TRADE)
    await until(lambda: feed.troubles, "a failed attempt")
    wire.admits = True
    await until(lambda: connection.connected, "connected")


@pytest.mark.parametrize(
    "notice",
    [b'{"e":"serverShutdown","E":1}', b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'],
)
async def test_an_announced_shutdown_is_followed_at_once_by_a_new_connection(
    wire: WireServer, feed: Feed, notice: bytes
) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    wire.send_raw(wire.live[0], notice)
    await until(lambda: len(wire.clients) == 2 and wire.names == {"btcusdt@trade"}, "subscribed anew")
    assert not feed.troubles


async def test_a_predecessor_that_lags_behind_is_read_to_the_end_before_it_is_closed(
    wire: WireServer, feed: Feed
) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    (old,) = wire.live
    # As if what the exchange sent before were still on its way: no answer to a ping comes by.
    old.socket.transport.pause_reading()
    wire.send_raw(old, b'{"e":"serverShutdown","E":1}')
    await until(lambda: len(wire.live) == 2 and wire.live[1].names, "a successor")
    new = wire.live[1]
    wire.send_raw(new, b'{"stream":"btcusdt@trade","data":{"t":3}}')
    await asyncio.sleep(handover.OVERLAP_S + 0.3)  # the time after which it would else be closed
    wire.send_raw(old, *(b'{"stream":"btcusdt@trade","data":{"t":%d}}' % number for number in (1, 2, 3)))
    old.socket.transport.resume_reading()
    await until(lambda: len(wire.live) == 1, "the predecessor is closed")
    assert [payload for _, payload in feed.received] == [b'{"t":1}', b'{"t":2}', b'{"t":3}']


async def test_garbage_is_counted_and_harms_nothing(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    wire.send_raw(wire.live[0], b"{", b"[]", b'{"stream":"other@trade","data":{}}', b'{"result":null,"id":99}')
    wire.send("btcusdt@trade", b'{"t":1}')
    await until(lambda: feed.received, "the message after the garbage")
    assert feed.troubles == {Trouble.GARBAGE: 2, Trouble.UNWANTED: 1, Trouble.STRAY_REPLY: 1}
    assert len(wire.clients) == 1


async def test_a_refused_stream_is_set_aside_and_the_others_flow(wire: WireServer, feed: Feed) -> None:
    wire.refuses = {"bad@trade"}
    connection = feed.connect(TRADE, BOOK, StreamName.parse("bad@trade"))
    await until(lambda: len(connection.confirmed) == 2, "the good ones confirmed")
    await until(lambda: connection.refused == {"bad@trade"}, "the bad one known")
    assert wire.names == {"btcusdt@trade", "btcusdt@bookTicker"}


async def test_an_exchange_that_answers_nothing_is_left_for_a_new_connection(
    wire: WireServer, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "REPLY_TIMEOUT_S", 0.05)
    wire.answers = False
    connection = feed.connect(TRADE)
    await until(lambda: len(wire.clients) == 2, "a second connection")
    assert feed.troubles[Trouble.REPLY_TIMEOUT] >= 2
    assert feed.troubles[Trouble.UNANSWERED] >= 1
    wire.answers = True
    await until(lambda: connection.confirmed == {"btcusdt@trade"}, "confirmed")


async def test_void_futures_trades_are_dropped(wire: WireServer, feed: Feed) -> None:
    stream = StreamName.parse("futures:btcusdt@trade")
    connection = feed.connect(stream, route=Route.FUTURES_PUBLIC)
    await until(lambda: connection.confirmed, "confirmed")
    wire.send("btcusdt@trade", b'{"e":"trade","t":1,"p":"0","q":"0","X":"NA","m":true}')
    wire.send("btcusdt@trade", b'{"e":"trade","t":2,"p":"1","q":"1","X":"MARKET","m":true}')
    await until(lambda: feed.received, "the real trade")
    assert feed.received == [(stream, b'{"e":"trade","t":2,"p":"1","q":"1","X":"MARKET","m":true}')]
    assert feed.upstream.counters.void_trades == 1


async def test_a_callback_that_fails_does_not_end_the_feed(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")

    def fail() -> None:
        feed.on_message = lambda: None
        raise ZeroDivisionError

    feed.on_message = fail
    wire.send("btcusdt@trade", b'{"t":1}')
    await until(lambda: len(wire.clients) == 2 and connection.confirmed, "connected anew")
    wire.send("btcusdt@trade", b'{"t":2}')
    await until(lambda: (TRADE, b'{"t":2}') in feed.received, "messages again")


async def test_a_closed_connection_hands_nothing_over_and_leaves_the_server(wire: WireServer, feed: Feed) -> None:
    connection = feed.connect(TRADE)
    await until(lambda: connection.confirmed, "confirmed")
    await connection.close()
    await until(lambda: not wire.live, "the server alone")
    assert not connection.connected
    await connection.close()
