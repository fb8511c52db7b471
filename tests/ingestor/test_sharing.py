"""Several ingestors in one process, on one bus and one exchange, in which leases are short."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from binance.settings import stand_in
from bus.memory import MemoryBroker, MemoryBus
from ingestor import members, rollcall, roster
from ingestor.health import HealthDoor
from ingestor.members import Phase
from ingestor.rollcall import ROSTER_TOPIC
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, REPEAT_S, Demand, ResumeAsk, encode
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import WireServer, until

SYMBOLS = [f"s{number}usdt" for number in range(12)]


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollcall, "ANNOUNCE_S", 0.2)
    monkeypatch.setattr(members, "DEAF_S", 0.4)
    monkeypatch.setattr(members, "LEASE_S", 0.9)
    monkeypatch.setattr(roster, "LISTEN_S", 0.5)
    monkeypatch.setattr(roster, "LINGER_S", 0.3)


class Replica:
    """The far end of the bus: repeats what it wants, keeps the ids of what comes."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(broker)
        self.ids: dict[StreamName, list[int]] = defaultdict(list)
        self.wanted: list[StreamName] = []
        self.bus.on_messages(self._take)

    async def want(self, streams: Sequence[StreamName]) -> None:
        self.wanted = list(streams)
        await self.bus.subscribe(streams)
        await self._demand()

    async def repeat(self) -> None:
        while True:
            await asyncio.sleep(REPEAT_S / 10)
            await self._demand()

    async def _demand(self) -> None:
        await self.bus.announce(DEMAND_TOPIC, encode(Demand("replica", [str(stream) for stream in self.wanted])))

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.ids[message.stream].append(message.cursor)


@pytest.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    made = Replica(broker)
    await made.bus.start()
    repeating = asyncio.create_task(made.repeat())
    yield made
    repeating.cancel()
    await asyncio.gather(repeating, return_exceptions=True)
    await made.bus.close()


class Node:
    """One ingestor and its end of the bus."""

    def __init__(self, name: str, broker: MemoryBroker, wire: WireServer, copies: int) -> None:
        given = {"default_symbols": "S0USDT", "symbols_per_worker": 2, "instance": name, "feed_copies": copies}
        self.settings = IngestorSettings.model_validate({**given, "host": "127.0.0.1"})
        self.bus = MemoryBus(broker)
        self.ingestor = Ingestor(self.settings, self.bus, stand_in(f"http://127.0.0.1:{wire.port}"))

    @property
    def streams(self) -> frozenset[StreamName]:
        return self.ingestor.feed.streams

    @property
    def is_steady(self) -> bool:
        """Whether it takes part, and all that it carries is subscribed."""
        feed = self.ingestor.feed
        return self.ingestor.roster.phase is Phase.LIVE and feed.settled_groups == set(self.ingestor.roster.carried)

    def maintained(self, streams: Sequence[StreamName]) -> set[StreamName]:
        return {stream for stream in streams if self.ingestor.maintains(stream.market, stream.symbol)}


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    for node in nodes:
        await node.bus.start()
        await node.ingestor.start()
    try:
        yield
    finally:
        await asyncio.gather(*(node.ingestor.close() for node in nodes))
        for node in nodes:
            await node.bus.close()


@asynccontextmanager
async def trading(wire: WireServer) -> AsyncIterator[None]:
    """Trades of all symbols, one after the other, each with the id after the one before."""

    async def trade() -> None:
        for number in itertools.count(1):
            for symbol in SYMBOLS:
                wire.send(f"{symbol}@trade", b'{"t":%d}' % number)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(trade())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def trades(count: int = len(SYMBOLS)) -> list[StreamName]:
    return [StreamName.parse(f"{symbol}@trade") for symbol in SYMBOLS[:count]]


def holes(ids: Sequence[int]) -> set[int]:
    return set(range(min(ids), max(ids))) - set(ids)


def shared(nodes: Sequence[Node], wanted: Sequence[StreamName], copies: int) -> bool:
    """Whether every stream is carried by `copies` of them and maintained by one, and all is subscribed."""
    return all(node.is_steady for node in nodes) and all(
        sum(stream in node.streams for node in nodes) == copies
        and sum(bool(node.maintained([stream])) for node in nodes) == 1
        for stream in wanted
    )


async def test_who_is_cut_off_from_the_bus_keeps_its_share_and_all_agree_again_when_it_returns(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    one, two = nodes = [Node(name, broker, wire, copies=1) for name in ("one", "two")]
    await replica.want(trades())
    async with running(*nodes), trading(wire):
        await until(lambda: shared(nodes, trades(), 1) and one.streams and two.streams, "shared")
        before = one.streams, two.streams
        await one.bus.close()
        await until(lambda: two.streams >= set(trades()), "the other one took over")
        assert one.streams == before[0]
        await until(lambda: all(replica.ids[stream] for stream in trades()), "trades")
        replica.ids.clear()
        await one.bus.start()
        await until(lambda: (one.streams, two.streams) == before, "agreed again")
        assert shared(nodes, trades(), 1)
        await until(lambda: all(len(replica.ids[stream]) > 100 for stream in trades()), "trades of each")
        assert not any(holes(ids) for ids in replica.ids.values())


async def test_groups_that_are_halved_or_joined_within_one_ingestor_lose_nothing(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    node = Node("one", broker, wire, copies=1)
    first = trades(2)
    await replica.want(first)
    async with running(node), trading(wire):
        await until(lambda: all(len(replica.ids[stream]) > 10 for stream in first), "trades")
        await replica.want(trades())
        await until(lambda: node.is_steady and len(node.ingestor.roster.carried) >= len(SYMBOLS) / 2, "halved")
        await replica.want(first)
        await until(lambda: node.is_steady and len(node.ingestor.roster.carried) <= 2, "joined")
        marks = {stream: len(replica.ids[stream]) for stream in first}
        await until(lambda: all(len(replica.ids[stream]) > marks[stream] + 20 for stream in first), "trades")
        for stream in first:
            assert not holes(replica.ids[stream])
            ask = ResumeAsk("replica", 1, since={str(stream): replica.ids[stream][0]})
            remembered = [message.cursor for message in node.ingestor.memory.answer(ask).streams[str(stream)]]
            assert remembered == list(range(remembered[0], remembered[-1] + 1))


async def test_one_of_two_copies_maintains_a_symbol_and_the_other_one_when_it_leaves(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    one, two = nodes = [Node(name, broker, wire, copies=2) for name in ("one", "two")]
    books = [StreamName.parse(f"{symbol}@book") for symbol in SYMBOLS]
    await replica.want(books)
    async with running(two):
        async with running(one):
            await until(lambda: all(node.is_steady and len(node.streams) == len(SYMBOLS) + 1 for node in nodes), "both")
            await until(lambda: len(one.ingestor.books) + len(two.ingestor.books) == len(books), "one maintains each")
            assert not one.maintained(books) & two.maintained(books)
            assert len(one.ingestor.books) == len(one.maintained(books))
        assert two.maintained(books) == set(books)
        await until(lambda: len(two.ingestor.books) == len(books), "maintained")


async def test_nonsense_on_the_rosters_topic_is_counted_and_harms_nothing(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    node = Node("one", broker, wire, copies=1)
    group = b'{"ingestor":"x","incarnation":1,"number":1,"phase":"live","groups":{"nowhere":"1"}}'
    async with running(node):
        for body in (b"{", b"[]", b"\xff", group, b" " * 2_000_000):
            await replica.bus.announce(ROSTER_TOPIC, body)
        await until(lambda: node.is_steady and node.streams, "carrying")
        assert node.ingestor.roll_call.malformed_total == 5
        assert not node.ingestor.roster.members.others


async def test_its_port_tells_whether_it_takes_part_and_what_it_carries(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    node = Node("one", broker, wire, copies=1)
    door = HealthDoor(node.settings, node.ingestor)
    url = f"http://127.0.0.1:{await door.start()}/health"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{url}/ready")).status_code == 503
        assert (await http.get(f"{url}/live")).status_code == 200
        async with running(node):
            await until(lambda: node.is_steady and node.streams, "carrying")
            ready = await http.get(f"{url}/ready")
            assert (ready.status_code, ready.json()) == (200, {"ok": True, "ingestor": "one"})
            health = (await http.get(url)).json()
    await door.close()
    assert (health["phase"], health["connected"], health["streams"], health["others"]) == ("live", True, 1, {})
    share = {"streams": 1, "subscribed": True, "maintained": True, "carriers": ["one"]}
    assert health["groups"] == {"spot:0000000000000000": share}


async def test_one_that_has_something_to_announce_as_it_closes_ends_all_the_same(
    wire: WireServer, broker: MemoryBroker, replica: Replica
) -> None:
    node = Node("one", broker, wire, copies=1)
    async with running(node):
        await until(lambda: node.is_steady and node.streams, "carrying")
        node.ingestor.roll_call.announce_now()
        async with asyncio.timeout(5):
            await node.ingestor.roll_call.close()
