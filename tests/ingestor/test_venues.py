"""Two exchanges through one ingestor: Bybit's streams beside Binance's, each from its own connections."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from binance.settings import stand_in as binance_stand_in
from bus.memory import MemoryBroker, MemoryBus
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from ingestor import books as books_module
from ingestor.carriers import is_served
from ingestor.demand import Leases
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import (
    DEMAND_TOPIC,
    RESUME_TOPIC,
    Demand,
    ResumeAnswer,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.book import BookBuilder, Outcome, decode_book
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until
from tests.bybit.conftest import StandIn

NAMES = ("spot:btcusdt@trade", "bybit:btcusdt@trade", "bybit:btcusdt@book", "bybit:btcusdt@kline_1m")
BYBIT_BOOK = StreamName.parse("bybit:btcusdt@book")


@pytest.fixture
async def exchange() -> AsyncIterator[StandIn]:
    """A stand-in for both."""
    values = {"port": 0, "sim_symbols": 3, "sim_trades_per_second": 40.0}
    running = Exchange(ExchangeServerSettings.model_validate(values))
    yield StandIn(running, await running.start())
    await running.close()


class Ends:
    """An ingestor and a replica's end of its bus."""

    def __init__(self, exchange: StandIn, broker: MemoryBroker, bus: MemoryBus, **settings: object) -> None:
        url = f"http://127.0.0.1:{exchange.port}"
        values = {"exchange_url": url, "venues": ("binance", "bybit"), **settings}
        self.ingestor = Ingestor(IngestorSettings.model_validate(values), bus, binance_stand_in(url))
        self.received: dict[str, list[Message]] = defaultdict(list)
        self.answers: list[ResumeAnswer] = []
        self._own = bus
        self._end = MemoryBus(broker)
        self._end.listen(
            resume_answers("replica"), lambda body: self.answers.append(msgspec.json.decode(body, type=ResumeAnswer))
        )

    async def start(self) -> None:
        """Start both."""
        self._end.on_messages(self._keep)
        await self._own.start()
        await self.ingestor.start()
        await self._end.start()

    async def want(self, *names: str) -> None:
        """Demand and receive these streams."""
        await self._end.subscribe(map(StreamName.parse, names))
        await self._end.announce(DEMAND_TOPIC, encode(Demand("replica", list(names))))

    async def ask_for_books(self, *names: str) -> None:
        """Ask as a replica does that has a book's changes and no book."""
        await self._end.announce(RESUME_TOPIC, encode(ResumeAsk("replica", 1, books=list(names))))

    def _keep(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.received[str(message.stream)].append(message)

    async def close(self) -> None:
        """Stop both."""
        await self.ingestor.close()
        await self._end.close()


@pytest.fixture
async def ends(exchange: StandIn, broker: MemoryBroker, bus: MemoryBus) -> AsyncIterator[Ends]:
    made = Ends(exchange, broker, bus)
    await made.start()
    yield made
    await made.close()


def follow(messages: list[Message]) -> BookBuilder:
    """The book of whoever receives these; fails where a change does not follow the one before."""
    builder = BookBuilder(BYBIT_BOOK.market)
    for message in messages:
        update = decode_book(message.payload)
        if update.is_snapshot:
            builder.restart()
            assert builder.join(update)
        else:
            assert builder.add(update) is Outcome.APPLIED
    return builder


async def test_both_exchanges_streams_travel_to_the_bus_in_order(ends: Ends) -> None:
    await ends.want(*NAMES)
    await until(lambda: all(len(ends.received[name]) > 1 for name in NAMES), "every stream")
    for name in NAMES:
        cursors = [message.cursor for message in ends.received[name]]
        assert cursors == sorted(set(cursors)) or name.endswith("kline_1m"), name
    follow(ends.received["bybit:btcusdt@book"])
    assert ends.ingestor.status.connected
    assert ends.ingestor.status.books == 1
    assert ends.ingestor.publisher.malformed_total == 0
    assert {stream.market for stream in ends.ingestor.feed.streams} == {"spot", "bybit"}


async def test_a_drop_of_bybits_connection_is_seen_and_mended(ends: Ends, exchange: StandIn) -> None:
    await ends.want(*NAMES)
    await until(lambda: all(ends.received[name] for name in NAMES[:3]), "every stream")
    await exchange.control("drop", market="bybit")
    await until(lambda: not ends.ingestor.status.connected, "the loss is seen")
    await until(lambda: ends.ingestor.status.connected, "it is mended")
    count = len(ends.received["bybit:btcusdt@book"])
    await until(lambda: len(ends.received["bybit:btcusdt@book"]) > count + 3, "the book goes on")
    follow(ends.received["bybit:btcusdt@book"])


async def test_a_replica_is_given_bybits_book_when_it_asks(ends: Ends) -> None:
    await ends.want("bybit:btcusdt@book")
    await until(lambda: len(ends.received["bybit:btcusdt@book"]) > 3, "the book")
    await ends.ask_for_books("bybit:btcusdt@book")
    await until(lambda: ends.answers, "the answer")
    kept = ends.answers[0].books["bybit:btcusdt@book"]
    whole = decode_book(bytes(kept.payload))
    assert whole.is_snapshot
    before = [m for m in ends.received["bybit:btcusdt@book"] if m.cursor <= kept.cursor]
    book = follow(before).book
    assert book is not None
    assert (book.bids.levels(), book.asks.levels()) == (whole.bids, whole.asks)


async def test_bybits_book_without_room_begins_with_a_snapshot_when_there_is_room(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books_module, "MAX_BOOKS", 1)
    await ends.want("bybit:btcusdt@book")
    await until(lambda: ends.received["bybit:btcusdt@book"], "the first book")
    await ends.want("bybit:btcusdt@book", "bybit:ethusdt@book")
    await until(lambda: ends.ingestor.books.refused, "no room for the second")
    await ends.want("bybit:ethusdt@book")
    await until(lambda: len(ends.received["bybit:ethusdt@book"]) > 2, "the second book")
    follow(ends.received["bybit:ethusdt@book"])


async def test_without_bybit_among_the_venues_nothing_connects_to_it(
    exchange: StandIn, broker: MemoryBroker, bus: MemoryBus
) -> None:
    ends = Ends(exchange, broker, bus, venues=("binance",))
    await ends.start()
    await ends.want("bybit:btcusdt@trade", "spot:btcusdt@trade")
    await until(lambda: ends.received["spot:btcusdt@trade"], "Binance's")
    assert exchange.bybit["connections_total"] == 0
    await ends.close()


async def test_what_nobody_wants_any_more_closes_its_connection(ends: Ends, exchange: StandIn) -> None:
    await ends.want("bybit:btcusdt@trade")
    await until(lambda: ends.received["bybit:btcusdt@trade"], "trades")
    await ends.want("spot:btcusdt@trade")
    await until(lambda: exchange.bybit["connections"] == 0, "the connection is closed")


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("bybit:btcusdt@trade", True),
        ("bybit:btcusdt@book", True),
        ("bybit:*@trade", False),
        ("spot:btcusdt@book", True),
        ("spot:*@trade", False),
        ("futures:!forceOrder@arr", True),
    ],
)
def test_each_venue_says_what_it_has(name: str, served: bool) -> None:  # noqa: FBT001 # what is expected
    assert is_served(StreamName.parse(name)) is served


def test_bybits_streams_are_leased_like_any_other() -> None:
    leases = Leases([])
    leases.renew(Demand("a", ["bybit:btcusdt@trade", "bybit:btcusdt@aggTrade"]), 0.0)
    assert leases.wanted == {StreamName.parse("bybit:btcusdt@trade")}
    assert leases.ignored_streams_total == 1
