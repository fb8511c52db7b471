"""One connection against the stand-in: what it carries, and what it survives."""

import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from bybit import connection as connection_module
from bybit.connection import Connection, connection_attempts
from bybit.endpoints import endpoints
from bybit.rest import RestClient
from market.book import BookBuilder, Outcome, decode_book
from market.cursors import cursor_of
from market.payloads import decode_payload
from market.streams import Market, StreamName
from market.venue import Tally
from tests.binance.wire import until
from tests.bybit.conftest import Open, StandIn
from tests.bybit.samples import body
from tests.support.processes import free_port

KINDS = ("trade", "ticker", "miniTicker", "bookTicker", "depth5", "depth10", "depth20", "depth", "book")


class Carried:
    """A connection and what it handed over, by stream."""

    def __init__(self, url: str) -> None:
        self.payloads: dict[StreamName, list[bytes]] = defaultdict(list)
        self.states: list[bool] = []
        self.rest = RestClient(url.removesuffix("/v5/public/spot").replace("ws", "http", 1))
        attempts, recent = connection_attempts(), self.rest.recent_trades
        self.connection = Connection(url, attempts, recent, self._take, self._note, tally=Tally(Market.BYBIT, "stream"))

    def of(self, name: str) -> list[Any]:
        """What was handed over of one of BTCUSDT's streams."""
        return [json.loads(payload) for payload in self.payloads[stream(name)]]

    def _take(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        assert received_us > 0
        self.payloads[stream].append(payload)

    def _note(self) -> None:
        if self.states[-1:] != [self.connection.connected]:  # otherwise it has settled, or no longer
            self.states.append(self.connection.connected)


Carry = Callable[..., Carried]


def stream(kind: str) -> StreamName:
    return StreamName.parse(f"bybit:btcusdt@{kind}")


@pytest.fixture
async def carry() -> AsyncIterator[Carry]:
    """Open a connection that wants BTCUSDT's streams of these kinds."""
    running: list[Carried] = []

    def start(url: str, *kinds: str) -> Carried:
        carried = Carried(url)
        running.append(carried)
        carried.connection.want(map(stream, kinds))
        carried.connection.start()
        return carried

    yield start
    for carried in running:
        await carried.connection.close()
        await carried.rest.close()


def follow(bodies: list[dict[str, Any]]) -> BookBuilder:
    """The book of whoever follows a book stream; fails where a change does not follow the one before."""
    builder = BookBuilder(Market.BYBIT)
    for one in bodies:
        update = decode_book(json.dumps(one).encode())
        if update.is_snapshot:
            builder.restart()
            assert builder.join(update)
        else:
            assert builder.add(update) is Outcome.APPLIED
    return builder


async def test_every_kind_is_carried_in_order_and_can_be_read(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, *KINDS, "kline_1m", "kline_1h")
    streams = [stream(kind) for kind in (*KINDS, "kline_1m", "kline_1h")]
    await until(lambda: all(len(carried.payloads[one]) > 3 for one in streams[:-2]), "several of each")
    await until(lambda: all(carried.payloads[one] for one in streams[-2:]), "klines")
    for one in streams:
        cursors = [cursor_of(one, payload) for payload in carried.payloads[one]]
        assert cursors == sorted(cursors), one
        assert decode_payload(one, carried.payloads[one][-1])
    ids = [trade["t"] for trade in carried.of("trade")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    follow(carried.of("book"))
    changes = carried.of("depth")
    assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(changes))
    assert carried.connection.malformed_total == carried.connection.gaps_total == 0


async def test_the_book_that_is_followed_is_the_exchanges(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "book", "depth20")

    def agrees() -> bool:
        """At the same moment both streams tell of the same book."""
        tops = {json.dumps(top["bids"]) for top in carried.of("depth20")}
        book = follow(carried.of("book")).book
        return book is not None and json.dumps(book.bids.top(20)) in tops

    await until(lambda: len(carried.of("book")) > 10 and agrees(), "the book's top was told, too")


async def test_a_lost_connection_comes_back_and_changes_follow_changes(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "depth", "book")
    await until(lambda: len(carried.of("depth")) > 3, "changes")
    assert (await stand_in.control("drop", market="bybit"))["dropped"] == 1
    await until(lambda: carried.states == [True, False, True], "connected again")
    count = len(carried.of("depth"))
    await until(lambda: len(carried.of("depth")) > count + 3, "changes again")
    changes = carried.of("depth")
    assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(changes))
    assert [one["e"] for one in carried.of("book")].count("bookSnapshot") == 2
    follow(carried.of("book"))


def _has(carried: Carried, count: int) -> bool:
    return len(carried.of("trade")) > count


async def test_the_trades_of_a_lost_connections_time_are_brought_in_their_place(
    open_stand_in: Open, carry: Carry
) -> None:
    stand_in = await open_stand_in(sim_trades_per_second=10.0)
    carried = carry(endpoints(stand_in.url).ws, "trade")
    await until(lambda: len(carried.of("trade")) > 3, "trades")
    for wanted in (20, 40):
        await stand_in.control("drop", market="bybit")
        await until(partial(_has, carried, wanted), "trades again")
    assert carried.connection.reconnects_total >= 2
    ids = [trade["t"] for trade in carried.of("trade")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert carried.connection.unmended_total == 0


async def test_trades_go_on_where_the_missed_ones_are_not_to_be_had(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "trade")
    await until(lambda: carried.of("trade"), "trades")
    await carried.rest.close()
    carried.connection._recent_trades = RestClient(f"http://127.0.0.1:{free_port()}").recent_trades
    await stand_in.control("drop", market="bybit")
    await until(lambda: carried.connection.unmended_total == 1, "it is known that some may be missing")
    count = len(carried.of("trade"))
    await until(lambda: len(carried.of("trade")) > count + 3, "trades again")
    ids = [trade["t"] for trade in carried.of("trade")]
    assert ids == sorted(set(ids))


async def test_a_server_that_is_away_is_called_until_it_is_there(open_stand_in: Open, carry: Carry) -> None:
    port = free_port()
    carried = carry(endpoints(f"http://127.0.0.1:{port}/bybit").ws, "trade")
    await until(lambda: carried.connection.reconnects_total > 0, "a first attempt")
    await open_stand_in(port=port)
    await until(lambda: carried.of("trade"), "trades")


async def test_a_missed_change_has_the_book_subscribed_to_anew(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "book", "depth")
    await until(lambda: len(carried.of("book")) > 3, "changes")
    await stand_in.control("skip", market="bybit", stream="orderbook.200.BTCUSDT", count=2)
    await until(lambda: carried.connection.gaps_total == 1, "the gap is seen")
    await until(lambda: [one["e"] for one in carried.of("book")].count("bookSnapshot") == 2, "a new snapshot")
    count = len(carried.of("book"))
    await until(lambda: len(carried.of("book")) > count + 3, "changes again")
    follow(carried.of("book"))
    changes = carried.of("depth")
    assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(changes))
    assert carried.states == [True]


async def test_wishes_change_while_it_is_connected(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "trade", "depth")
    await until(lambda: carried.connection.confirmed == {"publicTrade.BTCUSDT", "orderbook.200.BTCUSDT"}, "first ones")
    carried.connection.want(map(stream, ("depth", "book", "ticker")))
    await until(lambda: carried.connection.confirmed == {"orderbook.200.BTCUSDT", "tickers.BTCUSDT"}, "others")
    await until(lambda: carried.of("book") and carried.of("ticker"), "what is new")
    assert carried.of("book")[0]["e"] == "bookSnapshot"
    follow(carried.of("book"))
    carried.connection.want(())
    await until(lambda: not stand_in.exchange.status()["streams"], "nothing is subscribed to")


async def test_a_topic_given_up_and_wanted_again_at_once_still_gets_its_book(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "book")
    await until(lambda: carried.of("book"), "the book")
    carried.payloads.clear()
    carried.connection.want(())
    carried.connection.want([stream("book")])
    await until(lambda: len(carried.of("book")) > 2, "the book again")
    follow(carried.of("book"))


async def test_an_unknown_symbol_is_set_aside_and_costs_the_others_nothing(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws, "trade")
    carried.connection.want([stream("trade"), StreamName.parse("bybit:nosuchusdt@trade")])
    await until(lambda: carried.connection.refused == {"publicTrade.NOSUCHUSDT"}, "refused")
    await until(lambda: carried.of("trade"), "trades")


async def test_more_than_ten_topics_are_asked_for_within_bybits_limit(stand_in: StandIn, carry: Carry) -> None:
    carried = carry(endpoints(stand_in.url).ws)
    kinds = (*KINDS, "kline_1m", "kline_5m", "kline_1h", "kline_1d")
    wanted = [StreamName.parse(f"bybit:{symbol}usdt@{kind}") for symbol in ("btc", "eth", "bnb") for kind in kinds]
    carried.connection.want(wanted)
    await until(lambda: len(carried.connection.confirmed) == 3 * 9, "all topics")
    assert not carried.connection.refused


async def test_it_pings_as_bybit_wants_it(stand_in: StandIn, carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PING_S", 0.05)
    monkeypatch.setattr(connection_module, "_CHECK_S", 0.02)
    carried = carry(endpoints(stand_in.url).ws, "trade")
    await until(lambda: stand_in.bybit["pings_total"] > 2, "pings")
    assert carried.states == [True]


async def test_best_bid_and_ask_that_fall_silent_are_subscribed_to_anew(
    stand_in: StandIn, carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "TOP_SILENCE_S", 0.6)
    monkeypatch.setattr(connection_module, "_CHECK_S", 0.05)
    carried = carry(endpoints(stand_in.url).ws, "bookTicker")
    carried.connection.want([stream("bookTicker"), StreamName.parse("bybit:ethusdt@bookTicker")])
    await until(lambda: carried.of("bookTicker"), "prices")
    await stand_in.control("silence", market="bybit", streams="*.BTCUSDT")
    await until(lambda: carried.connection.silences_total > 0, "the silence is noticed")
    await stand_in.control("reset")
    count = len(carried.of("bookTicker"))
    await until(lambda: len(carried.of("bookTicker")) > count, "prices again")
    assert carried.states == [True]


async def test_a_connection_on_which_all_prices_fall_silent_is_made_anew(
    stand_in: StandIn, carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "TOP_SILENCE_S", 0.6)
    monkeypatch.setattr(connection_module, "_CHECK_S", 0.05)
    carried = carry(endpoints(stand_in.url).ws)
    carried.connection.want(StreamName.parse(f"bybit:{symbol}usdt@bookTicker") for symbol in ("btc", "eth"))
    await until(lambda: carried.of("bookTicker"), "prices")
    await stand_in.control("silence", market="bybit", streams="orderbook.*")
    await until(lambda: stand_in.bybit["connections_total"] > 1, "a new connection")
    await stand_in.control("reset")
    count = len(carried.of("bookTicker"))
    await until(lambda: len(carried.of("bookTicker")) > count, "prices again")


Answer = Callable[[ServerConnection], Awaitable[None]]


async def _serve(answer: Answer) -> Server:
    return await serve(answer, "127.0.0.1", 0)


def _url(server: Server) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"ws://127.0.0.1:{port}"


async def test_garbage_is_counted_and_passed_over(carry: Carry) -> None:
    async def answer(socket: ServerConnection) -> None:
        request = json.loads(await socket.recv())
        await socket.send(json.dumps({"success": True, "op": "subscribe", "req_id": request["req_id"]}))
        for frame in (
            "garbage",
            '{"topic":"publicTrade.BTCUSDT","data":[{"i":"x"}]}',
            '{"topic":"publicTrade.BTCUSDT"}',
        ):
            await socket.send(frame)
        await socket.send(body("publicTrade"))
        await socket.wait_closed()

    async with await _serve(answer) as server:
        carried = carry(_url(server), "trade")
        await until(lambda: carried.of("trade"), "the trade after the garbage")
        assert carried.connection.malformed_total == 3
        await carried.connection.close()


async def test_a_server_that_answers_no_request_is_left(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REPLY_TIMEOUT_S", 0.05)
    asked: list[str] = []

    async def answer(socket: ServerConnection) -> None:
        asked.extend([json.loads(request)["op"] async for request in socket])

    async with await _serve(answer) as server:
        carried = carry(_url(server), "trade")
        await until(lambda: carried.connection.reconnects_total > 0, "it gives up")
        assert asked[:3] == ["subscribe"] * 3
        await carried.connection.close()


async def test_a_server_that_says_nothing_at_all_is_left(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PING_S", 0.1)
    monkeypatch.setattr(connection_module, "PONG_S", 0.1)
    monkeypatch.setattr(connection_module, "_CHECK_S", 0.02)

    async def answer(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with await _serve(answer) as server:
        carried = carry(_url(server), "trade")
        await until(lambda: carried.states[:2] == [True, False], "it is left")
        await carried.connection.close()
