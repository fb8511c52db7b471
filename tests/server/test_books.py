"""Books on a replica: a test plays the maintainer at the other end of the bus."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from bus import open_bus
from bus.base import Bus
from market.announcements import (
    REFUSALS_TOPIC,
    KeptMessage,
    Refusals,
    ResumeAnswer,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.messages import Message
from market.streams import StreamName
from server.access.visitors import Visitor
from server.connections import Connection
from server.delivery import HIGH_WATER_BYTES, Delivery, Outbox
from server.doors.socketio_encodings import KIND_EVENTS
from server.encodings import Encoding
from server.frames import Batch
from server.hub import Hub
from tests.market.offline_book import client_book
from tests.server.conftest import Client, Served, until
from tests.server.json_client import json_client

BOOK = StreamName.parse("btcusdt@book")
NAME = str(BOOK)
_urls = itertools.count()


def snapshot(update_id: int, *bids: list[str]) -> dict[str, Any]:
    return {"e": "bookSnapshot", "E": 1, "s": "BTCUSDT", "u": update_id, "b": list(bids), "a": [["99.0", "1"]]}


def change(first: int, last: int, *bids: list[str]) -> dict[str, Any]:
    return {"e": "depthUpdate", "E": last, "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": []}


def messages(*bodies: dict[str, Any]) -> list[Message]:
    return [Message(BOOK, body["u"], time.time_ns() // 1_000, json.dumps(body).encode()) for body in bodies]


class Maintainer:
    """Publishes what a test says, and gives its `book` to replicas that ask."""

    def __init__(self, served: Served) -> None:
        self.bus = served.publisher
        self.book: dict[str, Any] | None = None
        self.asks: list[ResumeAsk] = []
        self.tasks: set[asyncio.Task[None]] = set()
        served.on_resume(self._answer)

    async def say(self, *bodies: dict[str, Any]) -> None:
        await self.bus.publish(messages(*bodies))

    def _answer(self, body: bytes) -> None:
        ask = msgspec.json.decode(body, type=ResumeAsk)
        self.asks.append(ask)
        if NAME in ask.books and self.book is not None:
            (message,) = messages(self.book)
            kept = KeptMessage(message.cursor, message.received_us, msgspec.Raw(message.payload))
            answer = encode(ResumeAnswer(ask.ask, {}, {NAME: kept}))
            task = asyncio.get_running_loop().create_task(self.bus.announce(resume_answers(ask.replica), answer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)


@pytest.fixture
def maintainer(served: Served) -> Maintainer:
    return Maintainer(served)


@pytest.fixture
async def one(served: Served) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(served.url, "websocket")
    yield client
    await client.io.disconnect()


@pytest.fixture
async def other(served: Served) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(served.url)
    yield client
    await client.io.disconnect()


async def subscribe(client: Client, **more: Any) -> dict[str, Any]:
    answer = await client.call("subscribe", {"streams": [NAME], **more})
    assert answer["ok"], answer
    entry: dict[str, Any] = answer["subscribed"][0]
    return entry


def data(client: Client) -> list[dict[str, Any]]:
    return [body["data"] for body in client.named("book")]


async def test_who_comes_before_the_book_is_in_sync_gets_its_snapshot_when_it_is(
    maintainer: Maintainer, one: Client
) -> None:
    assert await subscribe(one) == {"stream": NAME, "cursor": None, "ts": None, "snapshot": None}
    bodies = [snapshot(5, ["9", "1"]), change(6, 7, ["9.5", "2"]), change(8, 8, ["9", "0"])]
    await maintainer.say(*bodies)
    await until(lambda: len(one.named("book")) == 3, "all of it")
    assert data(one) == bodies
    assert [body["cursor"] for body in one.named("book")] == [5, 7, 8]
    assert {body["stream"] for body in one.named("book")} == {NAME}


async def test_every_newcomer_gets_the_book_as_it_is_and_then_its_changes(
    maintainer: Maintainer, one: Client, other: Client
) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]), change(6, 7, ["9.5", "2"]), change(8, 8, ["9", "0"]))
    await until(lambda: len(one.named("book")) == 3, "the first has all of it")
    entry = await subscribe(other)
    assert entry == {"stream": NAME, "cursor": 8, "ts": entry["ts"], "snapshot": snapshot(8, ["9.5", "2"]) | {"E": 8}}
    await maintainer.say(change(9, 9, ["9.6", "1"]))
    await until(lambda: other.named("book"), "the change")
    assert client_book([entry["snapshot"], *data(other)]).levels() == client_book(data(one)).levels()
    assert [ask.books for ask in maintainer.asks] == [[NAME]]


async def test_a_replicas_first_subscriber_gets_the_book_that_the_maintainer_gives(
    maintainer: Maintainer, one: Client
) -> None:
    maintainer.book = snapshot(20, ["9", "1"])
    entry = await subscribe(one)
    assert entry == {"stream": NAME, "cursor": 20, "ts": entry["ts"], "snapshot": maintainer.book}
    await maintainer.say(change(19, 20, ["8", "1"]), change(21, 22, ["7", "1"]))  # the former is in the book
    await until(lambda: one.named("book"), "the change")
    assert [body["u"] for body in data(one)] == [22]


async def test_a_change_that_the_bus_lost_is_made_up_for_by_a_snapshot(maintainer: Maintainer, one: Client) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]))
    maintainer.book = snapshot(8, ["9", "3"], ["8", "1"])
    await maintainer.say(change(8, 8, ["9", "3"]), change(9, 9, ["9", "4"]))
    await until(lambda: len(one.named("book")) == 2, "the snapshot")
    await maintainer.say(change(10, 10, ["7", "1"]))
    await until(lambda: len(one.named("book")) == 3, "the next change")
    assert [(body["e"], body["u"]) for body in data(one)[1:]] == [("bookSnapshot", 9), ("depthUpdate", 10)]
    assert client_book(data(one)).levels()[1] == [("9", "4"), ("8", "1"), ("7", "1")]


async def test_nothing_is_shown_of_a_book_that_is_incomplete(
    maintainer: Maintainer, one: Client, other: Client
) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]), change(8, 8, ["9", "3"]))
    await until(lambda: len(maintainer.asks) >= 2, "the replica asks, in vain")
    entry = await subscribe(other, since={NAME: 5})
    assert entry == {
        "stream": NAME,
        "cursor": 5,
        "ts": entry["ts"],
        "snapshot": None,
        "recovered": False,
    }
    await maintainer.say(snapshot(9, ["9", "4"]))
    await until(lambda: len(one.named("book")) == 2 and other.named("book"), "the maintainer's own snapshot")
    assert data(one)[1:] == data(other) == [snapshot(9, ["9", "4"])]


async def test_a_crossed_snapshot_is_shown_to_nobody(maintainer: Maintainer, one: Client, other: Client) -> None:
    maintainer.book = snapshot(5, ["99.0", "1"])
    assert (await subscribe(one))["snapshot"] is None
    await maintainer.say(snapshot(5, ["99.5", "1"]))
    assert (await subscribe(other))["snapshot"] is None
    await maintainer.say(snapshot(6, ["98", "1"]))
    await until(lambda: one.named("book") and other.named("book"), "a good one")
    assert [body["u"] for body in data(one) + data(other)] == [6, 6]


async def test_a_returning_client_gets_the_changes_it_missed_or_a_snapshot(
    maintainer: Maintainer, one: Client, other: Client
) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]), change(6, 7, ["8", "1"]), change(8, 8, ["7", "1"]))
    await until(lambda: len(one.named("book")) == 3, "all of it")
    entry = await subscribe(other, since={NAME: 5})
    assert (entry["recovered"], entry["snapshot"], entry["cursor"]) == (True, None, 8)
    await until(lambda: len(other.named("book")) == 2, "what was missed")
    assert [body["u"] for body in data(other)] == [7, 8]
    entry = await subscribe(other, since={NAME: 4})
    assert (entry["recovered"], entry["snapshot"]["u"]) == (False, 8)


async def test_what_is_no_book_message_harms_neither_the_book_nor_its_neighbours(
    maintainer: Maintainer, one: Client
) -> None:
    await subscribe(one)
    trades = StreamName.parse("btcusdt@trade")
    await one.call("subscribe", {"streams": [str(trades)]})
    await maintainer.say(snapshot(5, ["9", "1"]))
    await maintainer.bus.publish([Message(BOOK, 6, 1, b"{}"), Message(trades, 1, 1, b'{"t":1}')])
    maintainer.book = snapshot(7)
    await maintainer.say(change(7, 7, ["8", "1"]), change(8, 8, ["no price", "1"]), change(9, 9))
    await until(lambda: one.named("trade"), "the neighbour goes on")
    maintainer.book = snapshot(10, ["6", "1"])
    numbers = itertools.count(11)

    async def in_sync_again() -> bool:
        number = next(numbers)
        await maintainer.say(change(number, number))
        return bool(data(one)[-1]["u"] > 10)

    await until(in_sync_again, "the book goes on")
    assert client_book(data(one)).levels()[1] == [("6", "1")]


async def refuse(maintainer: Maintainer, *names: str) -> None:
    await maintainer.bus.announce(REFUSALS_TOPIC, encode(Refusals(list(names))))


async def test_who_wants_a_book_that_has_no_room_is_told_once_and_gets_it_when_there_is(
    served: Served, maintainer: Maintainer, one: Client, other: Client
) -> None:
    assert (await subscribe(one))["snapshot"] is None
    await one.call("subscribe", {"streams": ["ethusdt@book"]})
    for _ in range(2):
        await refuse(maintainer, NAME, "spot:nobody@book")
    await until(lambda: one.named("error"), "told")
    assert (await subscribe(other))["snapshot"] is None
    await until(lambda: other.named("error"), "a newcomer is told")
    message = "There is no room for another book now; it begins when there is"
    async with json_client(served.url) as third:
        await third.ask("subscribed", type="subscribe", rawStreams=[NAME, "btcusdt@book"])
        errors = await third.wait_for("error", 2)
        assert {error.pop("stream") for error in errors} == {NAME, "btcusdt@book"}
        assert errors == [{"type": "error", "code": "too_many_books", "message": message}] * 2
        bodies = [snapshot(5, ["9", "1"]), change(6, 7, ["9.5", "2"])]
        await maintainer.say(*bodies)
        await until(lambda: len(one.named("book")) == len(other.named("book")) == 2, "the book")
        await until(lambda: len(third.of_stream("btcusdt@book")) == 2, "the book")
    assert data(one) == data(other) == bodies
    expected = [{"code": "too_many_books", "message": message, "stream": NAME}]
    assert one.named("error") == other.named("error") == expected


async def test_a_book_that_loses_its_room_is_not_shown_to_newcomers_as_if_it_were_live(
    maintainer: Maintainer, one: Client, other: Client
) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]))
    await until(lambda: one.named("book"), "the book")
    await refuse(maintainer, NAME)
    await until(lambda: one.named("error"), "told")
    entry = await subscribe(other, since={NAME: 5})
    assert entry == {
        "stream": NAME, "cursor": 5, "ts": entry["ts"], "snapshot": None, "recovered": False,
    }  # fmt: skip
    await until(lambda: other.named("error"), "told")
    await maintainer.say(snapshot(9, ["8", "1"]))
    await until(lambda: other.named("book"), "the book again")
    assert client_book(data(one)).levels() == client_book(data(other)).levels()


async def test_refusals_that_are_none_are_counted_and_harm_nothing(
    served: Served, maintainer: Maintainer, one: Client
) -> None:
    await subscribe(one)
    for body in (b"x", b'{"streams":[1]}', encode(Refusals(["no stream"]))):
        await maintainer.bus.announce(REFUSALS_TOPIC, body)
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as answer:
        assert "tickcast_refusals_malformed_total 3.0" in await answer.text()
    await maintainer.say(snapshot(5, ["9", "1"]))
    await until(lambda: one.named("book"), "the book")
    assert one.named("error") == []


async def test_a_book_of_all_symbols_does_not_exist(one: Client) -> None:
    answer = await one.call("subscribe", {"streams": ["*@book", "futures:*@book"]})
    assert [rejected["code"] for rejected in answer["rejected"]] == ["invalid_stream"] * 2


class Wire(asyncio.Transport):
    """The outermost edge: a socket whose other end does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: Outbox | None = None
        self.unread = bytearray()
        self.received = bytearray()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        self.unread.extend(data)
        if self.outbox and len(self.unread) > HIGH_WATER_BYTES:
            self.outbox.pause()

    def read(self) -> None:
        while self.unread and self.outbox:
            self.received += self.unread
            self.unread.clear()
            self.outbox.resume()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The Socket.IO events in the frames received."""
        found, at = [], 0
        while at < len(self.received):
            length = self.received[at + 1]
            head = {126: 4, 127: 10}.get(length, 2)
            if head > 2:
                length = int.from_bytes(self.received[at + 2 : at + head])
            event, body = json.loads(self.received[at + head + 2 : at + head + length])
            found.append((event, body))
            at += head + length
        return found


class SlowClient(Connection):
    """A member whose wire is full."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(Visitor("127.0.0.1"))
        self.wire = Wire()
        self.outbox = self.wire.outbox = Outbox(self.wire, delivery, lambda: None, deflate=False)

    def send(self, batch: Batch) -> None:
        self.outbox.send(batch)

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        self.outbox.forget(stream, encoding)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Bus, Bus]]:
    url = f"memory://slow-{next(_urls)}"
    bus, publisher = open_bus(url), open_bus(url)
    await publisher.start()
    yield bus, publisher
    await publisher.close()
    await bus.close()


async def test_a_client_that_was_too_slow_for_some_changes_gets_a_snapshot_behind_the_notice(
    ends: tuple[Bus, Bus],
) -> None:
    bus, publisher = ends
    delivery = Delivery(buffer_bytes=100_000)
    hub = Hub(bus, "r1", delivery)
    await bus.start()
    await hub.start()
    await hub.prepare([BOOK])
    client = SlowClient(delivery)
    hub.join(client, BOOK, KIND_EVENTS)
    many = [[f"{price}.00", "1.00"] for price in range(98, 30, -1)]
    await publisher.publish(messages(snapshot(1, ["98.00", "1"])))
    for number in range(2, 202):
        await publisher.publish(messages(change(number, number, *many)))
        await asyncio.sleep(0)
    # The last one is still pending in its group when the client reads again.
    await publisher.publish(messages(change(202, 202, ["98.50", "1.00"])))
    client.wire.read()
    await publisher.publish(messages(change(203, 203, ["98.00", "0"])))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    client.wire.read()
    events = client.wire.events()
    names = [event for event, _ in events]
    gap = names.index("gap")
    assert names.count("gap") == 1
    kinds = [body["data"]["e"] for event, body in events if event == "book"]
    assert kinds == ["bookSnapshot", *["depthUpdate"] * (gap - 1), "bookSnapshot", "depthUpdate"]
    notice = events[gap][1]
    assert (notice["reason"], notice["until"]) == ("dropped", 202)
    assert notice["missed"] == 202 - events[gap - 1][1]["cursor"]
    cursors = [body["cursor"] for event, body in events if event == "book"]
    assert cursors == [*range(1, gap + 1), 202, 203]
    channel_book = hub.join(client, BOOK, KIND_EVENTS).snapshot
    assert channel_book is not None
    final = client_book([body["data"] for event, body in events if event == "book"])
    assert final.levels() == client_book([json.loads(channel_book.payload)]).levels()
    hub.drop(client)
    client.outbox.close()
    hub.release([BOOK])
    await hub.close()


async def test_an_ingestor_that_takes_a_book_over_from_behind_sets_nobody_back(
    maintainer: Maintainer, one: Client
) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(5, ["9", "1"]), change(6, 6, ["9", "2"]), change(7, 7, ["9", "3"]))
    taken_over = [snapshot(6, ["9", "2"]), change(7, 7, ["9", "3"]), change(8, 8, ["9", "4"])]
    await maintainer.say(*taken_over, change(7, 7, ["9", "3"]), change(9, 9, ["9", "5"]))
    await until(lambda: len(data(one)) >= 5, "the new one's changes")
    assert [body["u"] for body in data(one)] == [5, 6, 7, 8, 9]
    assert maintainer.asks[1:] == []


async def test_a_book_whose_ids_begin_anew_is_replaced(maintainer: Maintainer, one: Client) -> None:
    await subscribe(one)
    await maintainer.say(snapshot(500, ["9", "1"]))
    await until(lambda: data(one), "the first")
    (anew,) = messages(snapshot(5, ["8", "1"]))
    await maintainer.bus.publish([msgspec.structs.replace(anew, received_us=anew.received_us + 4_000_000)])
    await until(lambda: len(data(one)) == 2, "the second")
    assert data(one)[1]["u"] == 5
