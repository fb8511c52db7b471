"""The maintainer of books, between a wire server that sends changes and a REST server that says what tests tell it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from binance.rest import RestClient
from binance.settings import Endpoints
from bus.memory import MemoryBroker, MemoryBus
from ingestor import books as books_module
from ingestor.books import Books, upstream_of
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import (
    DEMAND_TOPIC,
    REFUSALS_TOPIC,
    RESUME_TOPIC,
    Demand,
    Refusals,
    ResumeAnswer,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import WireServer, until
from tests.support.processes import free_port

BOOK = StreamName.parse("btcusdt@book")
OTHER = StreamName.parse("ethusdt@book")
FUTURES = StreamName.parse("futures:btcusdt@book")


class RestServer:
    """Depth as the test has it: `books` by path and symbol, refusals in `statuses`, answered once `gate` is open."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[tuple[str, str, int]] = []
        self.books: dict[str, dict[str, Any]] = {}
        self.statuses: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.busiest = 0
        self._busy = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        self.asked.append((request.path, symbol, int(request.query["limit"])))
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        await self.gate.wait()
        self._busy -= 1
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"Retry-After": "1"} if status == 429 else {}
        body = self.books.get(symbol, {}) if status == 200 else {"code": -1003, "msg": "Too much"}
        return web.json_response(body, status=status, headers=headers)


class Replica:
    """The far end of the bus: wants books, keeps what comes."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(broker)
        self.messages: list[Message] = []
        self.answers: list[ResumeAnswer] = []
        self.refusals: list[Refusals] = []
        self.bus.on_messages(self.messages.extend)
        self.bus.listen(resume_answers("r"), self._keep)
        self.bus.listen(REFUSALS_TOPIC, lambda body: self.refusals.append(msgspec.json.decode(body, type=Refusals)))

    def _keep(self, body: bytes) -> None:
        self.answers.append(msgspec.json.decode(body, type=ResumeAnswer))

    async def want(self, *streams: StreamName) -> None:
        await self.bus.subscribe(streams)
        await self.bus.announce(DEMAND_TOPIC, encode(Demand("r", [str(stream) for stream in streams])))

    def bodies(self, stream: StreamName = BOOK) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.messages if message.stream == stream]


@pytest.fixture
async def rest() -> AsyncIterator[RestServer]:
    server = RestServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    made = Replica(broker)
    await made.bus.start()
    yield made
    await made.bus.close()


@pytest.fixture
async def ingestor(wire: WireServer, rest: RestServer, bus: MemoryBus, replica: Replica) -> AsyncIterator[Ingestor]:
    settings = IngestorSettings.model_validate({"default_symbols": ["ADAUSDT"], "instance": "one"})
    sockets, base = f"ws://127.0.0.1:{wire.port}", f"http://127.0.0.1:{rest.port}"
    made = Ingestor(settings, bus, Endpoints(sockets, sockets, base, base))
    await bus.start()
    await made.start()
    yield made
    await made.close()


def depth(first: int, last: int, bids: list[list[str]], symbol: str = "BTCUSDT", previous: int | None = None) -> bytes:
    body: dict[str, Any] = {"e": "depthUpdate", "E": last, "s": symbol, "U": first, "u": last, "b": bids, "a": []}
    return json.dumps(body | ({} if previous is None else {"pu": previous})).encode()


def book(update_id: int, *bids: list[str]) -> dict[str, Any]:
    return {"lastUpdateId": update_id, "bids": list(bids), "asks": [["99", "1"]]}


async def subscribed(wire: WireServer, *names: str) -> None:
    await until(lambda: set(names) <= wire.names, "the changes are subscribed to")


async def test_a_wanted_book_begins_with_a_snapshot_and_goes_on_with_the_exchanges_own_bytes(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5, ["9", "1"])
    rest.gate.clear()
    wire.send("btcusdt@depth@100ms", depth(4, 5, [["8", "8"]]))
    await until(lambda: rest.asked, "the snapshot is asked for")
    wire.send("btcusdt@depth@100ms", depth(6, 7, [["9.5", "2.0"]]))
    rest.gate.set()
    await until(lambda: replica.messages, "the snapshot")
    live = depth(8, 8, [["9", "0"]])
    wire.send("btcusdt@depth@100ms", live)
    await until(lambda: len(replica.messages) == 2, "the change")
    assert [message.cursor for message in replica.messages] == [7, 8]
    assert replica.bodies()[0] == {
        "e": "bookSnapshot",
        "E": 7,
        "s": "BTCUSDT",
        "u": 7,
        "b": [["9.5", "2.0"], ["9", "1"]],
        "a": [["99", "1"]],
    }
    assert replica.messages[1].payload == live
    assert {message.stream for message in replica.messages} == {BOOK}  # nobody wanted the changes by themselves
    assert rest.asked == [("/api/v3/depth", "BTCUSDT", 5_000)]


async def test_a_futures_book_is_made_of_the_public_routes_changes_and_a_thousand_levels(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(FUTURES, upstream_of(FUTURES))
    await subscribed(wire, "btcusdt@depth@100ms")
    assert {client.path for client in wire.live if client.names & {"btcusdt@depth@100ms"}} == {"/public/stream"}
    rest.books["BTCUSDT"] = book(5)
    wire.send("btcusdt@depth@100ms", depth(3, 5, [["8", "8"]], previous=2))
    await until(lambda: replica.bodies(FUTURES), "the snapshot")
    wire.send("btcusdt@depth@100ms", depth(9, 11, [["7", "1"]], previous=5))
    await until(lambda: len(replica.bodies(FUTURES)) == 2, "the change")
    assert replica.bodies(FUTURES)[0]["b"] == [["8", "8"]]
    assert [body["u"] for body in replica.bodies(upstream_of(FUTURES))] == [5, 11]  # these were wanted, too
    assert rest.asked == [("/fapi/v1/depth", "BTCUSDT", 1_000)]


async def test_after_a_gap_the_book_is_silent_until_it_was_fetched_again(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5)
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: replica.messages, "in sync")
    rest.books["BTCUSDT"] = book(5)  # older than the gap: has to be asked for again
    wire.send("btcusdt@depth@100ms", depth(9, 9, [["9", "9"]]))
    await until(lambda: len(rest.asked) == 2, "fetched again")
    rest.books["BTCUSDT"] = book(9, ["9", "9"])
    await until(lambda: len(replica.messages) == 2, "in sync again")
    assert [(body["e"], body["u"]) for body in replica.bodies()] == [("bookSnapshot", 5), ("bookSnapshot", 9)]
    assert (ingestor.books.gaps_total, ingestor.books.synced_total) == (1, 2)


async def test_a_crossed_book_is_fetched_again(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5)
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: replica.messages, "in sync")
    rest.books["BTCUSDT"] = book(6)
    wire.send("btcusdt@depth@100ms", depth(6, 6, [["99.0", "1"]]))
    await until(lambda: len(replica.messages) == 2, "in sync again")
    assert replica.bodies()[1] == {"e": "bookSnapshot", "E": 6, "s": "BTCUSDT", "u": 6, "b": [], "a": [["99", "1"]]}


async def test_a_refusing_exchange_is_asked_again_when_it_allows(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.statuses = [503, 429]
    rest.books["BTCUSDT"] = book(5)
    began = asyncio.get_running_loop().time()
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: replica.messages, "in sync")
    assert len(rest.asked) == 3
    assert asyncio.get_running_loop().time() - began > 1.0  # Retry-After


async def test_snapshots_are_fetched_one_after_the_other(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    symbols = [f"S{i}USDT" for i in range(5)]
    await replica.want(*(StreamName.parse(f"{symbol}@book") for symbol in symbols))
    await subscribed(wire, *(f"{symbol.lower()}@depth@100ms" for symbol in symbols))
    for symbol in symbols:
        rest.books[symbol] = book(5)
        wire.send(f"{symbol.lower()}@depth@100ms", depth(5, 5, [], symbol))
    await until(lambda: len(replica.messages) == 5, "all in sync")
    assert (rest.busiest, len(rest.asked)) == (1, 5)


async def test_replicas_are_given_the_books_that_are_maintained(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK, OTHER)
    await subscribed(wire, "btcusdt@depth@100ms", "ethusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5)
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: replica.messages, "in sync")
    wire.send("btcusdt@depth@100ms", depth(6, 6, [["9", "1"]]))
    await until(lambda: len(replica.messages) == 2, "a change")
    names = [str(BOOK), str(OTHER), str(FUTURES), str(upstream_of(BOOK)), "no stream"]
    await replica.bus.announce(RESUME_TOPIC, encode(ResumeAsk("r", 3, {str(BOOK): 6}, names)))
    await until(lambda: replica.answers, "an answer")
    (answer,) = replica.answers
    assert (answer.ask, [kept.cursor for kept in answer.streams[str(BOOK)]]) == (3, [6])
    (kept,) = answer.books.values()
    assert (kept.cursor, kept.received_us) == (6, replica.messages[1].received_us)
    assert json.loads(bytes(kept.payload))["b"] == [["9", "1"]]


async def test_what_is_given_to_one_replica_is_bounded(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await replica.want(BOOK, OTHER)
    await subscribed(wire, "btcusdt@depth@100ms", "ethusdt@depth@100ms")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        rest.books[symbol] = book(5)
        wire.send(f"{symbol.lower()}@depth@100ms", depth(5, 5, [], symbol))
    await until(lambda: len(replica.messages) == 2, "in sync")
    monkeypatch.setattr(books_module, "MAX_ANSWER_BYTES", 100)
    assert list(ingestor.books.answer([str(BOOK), str(OTHER)])) == [str(BOOK)]


async def test_a_book_that_nobody_wants_any_more_is_dropped_while_it_is_being_fetched(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5)
    rest.gate.clear()
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: rest.asked, "asked for")
    await replica.want()
    await until(lambda: not len(ingestor.books), "dropped")
    await replica.want(BOOK)
    await until(lambda: len(ingestor.books) == 1, "wanted again")
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.gate.set()
    wire.send("btcusdt@depth@100ms", depth(6, 6, []))
    await until(lambda: replica.messages, "in sync")
    assert [body["u"] for body in replica.bodies()] == [6]


async def test_malformed_changes_are_counted_and_the_book_is_fetched_again(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica
) -> None:
    await replica.want(BOOK)
    await subscribed(wire, "btcusdt@depth@100ms")
    rest.books["BTCUSDT"] = book(5)
    wire.send("btcusdt@depth@100ms", depth(5, 5, []))
    await until(lambda: replica.messages, "in sync")
    wire.send("btcusdt@depth@100ms", depth(6, 6, [["x", "1"]]))
    wire.send("btcusdt@depth@100ms", b'{"u":7}')
    rest.books["BTCUSDT"] = book(7, ["9", "1"])
    wire.send("btcusdt@depth@100ms", depth(8, 8, [["9", "2"]]))
    await until(lambda: len(replica.messages) == 2, "in sync again")
    assert ingestor.books.malformed_total == 2
    assert replica.bodies()[1]["b"] == [["9", "2"]]


async def test_books_beyond_the_limit_are_left_out_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "MAX_BOOKS", 2)
    endpoints = Endpoints("ws://127.0.0.1:1", "ws://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1")
    async with RestClient(endpoints) as client:
        books = Books(client, lambda _message: None)
        books.carry([FUTURES])
        books.carry([BOOK, OTHER, FUTURES])
        assert (len(books), books.refused) == (2, (OTHER,))
        books.carry([OTHER, FUTURES])
        assert (len(books), books.refused) == (2, ())
        await books.close()


async def test_replicas_are_told_of_a_book_without_room_again_and_again_and_it_begins_when_there_is_room(
    wire: WireServer, rest: RestServer, ingestor: Ingestor, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books_module, "MAX_BOOKS", 1)
    rest.books["ETHUSDT"] = {"lastUpdateId": 10, "bids": [["9", "1"]], "asks": [["11", "1"]]}
    await replica.want(BOOK, OTHER)
    await until(lambda: len(replica.refusals) >= 2, "refused, and said again")
    assert {tuple(refusals.streams) for refusals in replica.refusals} == {(str(OTHER),)}
    assert (ingestor.status.books, ingestor.status.books_refused) == (1, 1)
    await replica.want(OTHER)
    await until(lambda: ingestor.status.books_refused == 0, "room")
    await until(lambda: wire.names >= {"ethusdt@depth@100ms"}, "subscribed")
    wire.send("ethusdt@depth@100ms", depth(9, 11, [["9", "2"]], "ETHUSDT"))
    await until(lambda: replica.bodies(OTHER), "the book")
    assert replica.bodies(OTHER)[0]["e"] == "bookSnapshot"
