"""Historical klines from the real stand-in: what reaches it, what replicas share on a real Redis, what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import httpx
import pytest

from binance.rest import RestClient
from binance.settings import stand_in
from bus.redis import RedisBus
from market.errors import Code, MarketError
from market.intervals import FUTURES_INTERVALS, SPOT_INTERVALS, next_open_time, open_time
from market.streams import BINANCE_MARKETS, Market
from market.venue import RateLimited, Unreachable
from server import flights
from server.flights import Flights
from server.history import blocks as history_blocks
from server.history import slots as history_slots
from server.history.klines import MAX_TURNS, History, KlineQuery
from tests.server.conftest import until
from tests.support.processes import Process, free_port

PAST_MS = 1_700_000_000_000
DAY_MS = 86_400_000
PAST_DAY = KlineQuery(Market.SPOT, "BTCUSDT", "5m", 200, PAST_MS, PAST_MS + DAY_MS)
"""All in one block."""


class Side:
    """The stand-in from the side: its counters and its faults."""

    def __init__(self, exchange: Process) -> None:
        self.endpoints = stand_in(f"http://127.0.0.1:{exchange.port}")
        self._http = httpx.AsyncClient(base_url=self.endpoints.spot_rest, trust_env=False)

    async def requests(self) -> int:
        """How many REST requests it has been sent."""
        return int((await self._http.get("/control/status")).json()["requests_total"])

    async def now_ms(self) -> int:
        """Its time."""
        return int((await self._http.get("/control/status")).json()["now"])

    async def control(self, action: str, **command: Any) -> None:
        """Have it misbehave, or `reset`."""
        (await self._http.post(f"/control/{action}", json=command)).raise_for_status()

    async def close(self) -> None:
        """Undo everything."""
        await self.control("reset")
        await self._http.aclose()


@pytest.fixture
async def side(exchange: Process) -> AsyncIterator[Side]:
    watcher = Side(exchange)
    yield watcher
    await watcher.close()


class Replica:
    """The part of a replica that answers for history, with its own end of the bus."""

    def __init__(self, rest: RestClient, bus: RedisBus) -> None:
        self.rest = rest
        self.bus = bus
        self.history = History(rest, bus)


MakeReplica = Callable[[], Awaitable[Replica]]


@pytest.fixture
async def make_replica(side: Side, redis: Process) -> AsyncIterator[MakeReplica]:
    """Another replica on the same Redis and exchange: `await make_replica()`."""
    async with AsyncExitStack() as opened:

        async def make() -> Replica:
            bus = RedisBus(f"redis://127.0.0.1:{redis.port}/0")
            await bus.start()
            opened.push_async_callback(bus.close)
            rest = await opened.enter_async_context(RestClient(side.endpoints, ledger=bus))
            replica = Replica(rest, bus)
            opened.push_async_callback(replica.history.close)
            await until(lambda: bus.connected, "the bus connects")
            return replica

        yield make


@pytest.mark.parametrize("market", BINANCE_MARKETS)
async def test_every_interval_comes_byte_for_byte_as_the_exchange_wrote_it(
    make_replica: MakeReplica, market: Market
) -> None:
    replica = await make_replica()
    for interval in sorted(SPOT_INTERVALS if market is Market.SPOT else FUTURES_INTERVALS):
        for question in ((PAST_MS, None), (None, PAST_MS), (PAST_MS, next_open_time(interval, PAST_MS + 1))):
            query = KlineQuery(market, "BTCUSDT", interval, 7, *question)
            own = await replica.rest.klines(market, "BTCUSDT", interval, 7, start_ms=question[0], end_ms=question[1])
            assert await replica.history.klines(query) == own, (interval, question)


@pytest.mark.parametrize("market", BINANCE_MARKETS)
async def test_the_latest_candles_end_with_the_open_one(side: Side, make_replica: MakeReplica, market: Market) -> None:
    replica = await make_replica()
    for limit in (1, 500, 1_000):
        rows = await replica.history.klines(KlineQuery(market, "BTCUSDT", "1h", limit))
        opens_ms = [row[0] for row in json.loads(rows)]
        now = await side.now_ms()
        # The hour may have turned since the rows were answered.
        assert 0 <= open_time("1h", now) - opens_ms[-1] <= 3_600_000
        assert opens_ms == list(range(opens_ms[0], opens_ms[0] + limit * 3_600_000, 3_600_000))


async def test_identical_requests_at_once_reach_the_exchange_once(side: Side, make_replica: MakeReplica) -> None:
    replica = await make_replica()
    before = await side.requests()
    answers = await asyncio.gather(*(replica.history.klines(PAST_DAY) for _ in range(50)))
    assert await side.requests() - before == 1
    assert len(set(answers)) == 1
    assert replica.history.blocks.asked_total == 1
    assert replica.history.blocks.flights.joined_total == 49
    assert len(replica.history.blocks.flights) == 0


async def test_the_latest_candles_are_asked_for_again_only_after_a_while(
    side: Side, make_replica: MakeReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_blocks, "OPEN_S", 3600.0)
    replica = await make_replica()
    before = await side.requests()
    await replica.history.klines(KlineQuery(Market.SPOT, "BTCUSDT", "1m", 100))
    await replica.history.klines(KlineQuery(Market.SPOT, "BTCUSDT", "1m", 400))
    assert await side.requests() - before == 1
    monkeypatch.setattr(history_blocks, "OPEN_S", 0.0)
    await replica.history.klines(KlineQuery(Market.SPOT, "ETHUSDT", "1m", 100))
    await replica.history.klines(KlineQuery(Market.SPOT, "ETHUSDT", "1m", 100))
    assert await side.requests() - before == 3


async def test_closed_candles_come_from_another_replicas_request(side: Side, make_replica: MakeReplica) -> None:
    first = await make_replica()
    query = KlineQuery(Market.FUTURES, "BTCUSDT", "1m", 1_500, PAST_MS, PAST_MS + DAY_MS)
    answer = await first.history.klines(query)
    before = await side.requests()
    second = await make_replica()
    assert await second.history.klines(query) == answer
    assert await second.history.klines(query._replace(start_ms=PAST_MS + DAY_MS // 2, limit=10)) != answer
    assert await side.requests() == before
    assert second.history.blocks.asked_total == 0
    assert second.history.blocks.slots.hits_total == 4


async def test_what_is_open_is_not_kept_on_the_bus(side: Side, make_replica: MakeReplica) -> None:
    query = KlineQuery(Market.SPOT, "BTCUSDT", "1M", 3)
    for _ in range(2):
        replica = await make_replica()
        await replica.history.klines(query)
        await replica.history.klines(query._replace(start_ms=PAST_MS))
        assert replica.history.blocks.asked_total == 2


async def test_candles_of_another_exchange_are_not_taken_for_this_ones(
    side: Side, make_replica: MakeReplica, redis: Process
) -> None:
    await (await make_replica()).history.klines(PAST_DAY)
    bus = RedisBus(f"redis://127.0.0.1:{redis.port}/0")
    await bus.start()
    await until(lambda: bus.connected, "the bus connects")
    nowhere = stand_in(f"http://127.0.0.1:{free_port()}")
    async with RestClient(nowhere) as rest:
        with pytest.raises(Unreachable):
            await History(rest, bus).klines(PAST_DAY)
    await bus.close()


async def test_slots_bound_what_the_server_keeps(make_replica: MakeReplica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_slots, "SLOTS", 5)
    replica = await make_replica()
    names = [f"name {number}" for number in range(40)]
    slots = replica.history.blocks.slots
    for name in names:
        found = await slots.find(name)
        assert found.body is None
        await slots.put(name, name.encode() * 100, found.slot)
    found_again = [await slots.find(name) for name in names]
    kept = [found.body for found in found_again if found.body is not None]
    assert 1 <= len(kept) <= 5
    assert found_again[-1].body == names[-1].encode() * 100


async def test_a_slot_that_holds_nonsense_is_a_miss(side: Side, make_replica: MakeReplica) -> None:
    first = await make_replica()
    answer = await first.history.klines(PAST_DAY)
    blocks = first.history.blocks
    name = f"{first.rest.bases[Market.SPOT]} spot:BTCUSDT@5m {PAST_MS // (480 * 300_000)}"
    found = await blocks.slots.find(name)
    assert found.body is not None
    await first.bus.put({found.slot: name.encode() + b"\nnonsense"})
    assert await (await make_replica()).history.klines(PAST_DAY) == answer
    await blocks.slots.put(name, b'["nonsense"]', found.slot)
    third = await make_replica()
    assert await third.history.klines(PAST_DAY) == answer
    assert third.history.blocks.asked_total == 1


async def test_history_is_answered_without_the_bus_server(redis: Process, make_replica: MakeReplica) -> None:
    replica = await make_replica()
    redis.kill()
    await until(lambda: not replica.bus.connected, "the bus notices")
    answer = await replica.history.klines(PAST_DAY)
    assert await replica.history.klines(PAST_DAY) == answer
    assert replica.history.blocks.asked_total == 1
    assert replica.bus.spent_alone_total == 1


async def test_who_asked_first_may_leave_and_the_others_are_answered(side: Side, make_replica: MakeReplica) -> None:
    replica = await make_replica()
    first = asyncio.ensure_future(replica.history.klines(PAST_DAY))
    await until(lambda: len(replica.history.blocks.flights) == 1, "the request is under way")
    others = [asyncio.ensure_future(replica.history.klines(PAST_DAY)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    others[0].cancel()
    await asyncio.wait([first, others[0]])
    assert first.cancelled()
    assert len(set(await asyncio.gather(*others[1:]))) == 1
    assert replica.history.blocks.asked_total == 1


async def test_what_everybody_left_is_there_for_who_comes_next(side: Side, make_replica: MakeReplica) -> None:
    replica = await make_replica()
    before = await side.requests()
    asked = asyncio.ensure_future(replica.history.klines(PAST_DAY))
    await until(lambda: len(replica.history.blocks.flights) == 1, "the request is under way")
    asked.cancel()
    await until(lambda: len(replica.history.blocks.flights) == 0, "the request is over")
    await replica.history.klines(PAST_DAY)
    assert await side.requests() - before == 1


@pytest.mark.parametrize("status", [429, 418])
async def test_a_limit_that_one_replica_meets_holds_for_all(side: Side, make_replica: MakeReplica, status: int) -> None:
    first, second = await make_replica(), await make_replica()
    kept = await first.history.klines(PAST_DAY)
    await side.control("refuse", status=status, retry_after=30, requests=1)
    before = await side.requests()
    for replica in (first, second):
        with pytest.raises(RateLimited) as caught:
            await replica.history.klines(PAST_DAY._replace(symbol="ETHUSDT"))
        assert caught.value.http_status == status
        assert 28 <= caught.value.retry_after_s <= 30
    assert await side.requests() - before == 1
    assert await second.history.klines(PAST_DAY) == kept


async def test_a_refusal_reaches_all_who_wait_and_the_next_request_is_sent(
    side: Side, make_replica: MakeReplica
) -> None:
    replica = await make_replica()
    await side.control("refuse", status=429, retry_after=1, requests=1)
    results = await asyncio.gather(*(replica.history.klines(PAST_DAY) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {RateLimited}

    async def answered() -> bool:
        try:
            return len(await replica.history.klines(PAST_DAY)) > 1_000
        except RateLimited:
            return False

    await until(answered, "the pause is over")


async def test_too_many_different_questions_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "MAX_FLIGHTS", 2)
    work: Flights[int] = Flights()
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 7

    under_way = [asyncio.ensure_future(work.join(key, wait)) for key in ("a", "b", "b")]
    await asyncio.sleep(0)
    with pytest.raises(MarketError) as refusal:
        await work.join("c", wait)
    assert refusal.value.code is Code.RATE_LIMITED
    gate.set()
    assert await asyncio.gather(*under_way) == [7, 7, 7]
    assert await work.join("c", wait) == 7


async def test_closing_ends_what_is_under_way_and_refuses_who_waits_without_cancelling_them() -> None:
    work: Flights[bool] = Flights()
    asked = [asyncio.ensure_future(work.join("a", asyncio.Event().wait)) for _ in range(2)]
    await asyncio.sleep(0)
    await work.close()
    await asyncio.wait(asked)
    for one in asked:
        assert not one.cancelled()
        error = one.exception()
        assert isinstance(error, MarketError)
        assert error.code is Code.UPSTREAM
    assert len(work) == 0


async def test_an_asker_that_is_cancelled_as_the_work_is_given_up_is_cancelled() -> None:
    work: Flights[bool] = Flights()
    asked = asyncio.ensure_future(work.join("a", asyncio.Event().wait))
    await asyncio.sleep(0)
    asked.cancel()
    await work.close()
    await asyncio.wait([asked])
    assert asked.cancelled()


async def test_a_client_has_a_few_turns_and_gets_them_back(make_replica: MakeReplica) -> None:
    history = (await make_replica()).history
    client, other = object(), object()
    for _ in range(2):
        with ExitStack() as turns:
            for _ in range(MAX_TURNS):
                turns.enter_context(history.turn(client))
            with pytest.raises(MarketError) as refusal, history.turn(client):
                pass
            assert refusal.value.code is Code.RATE_LIMITED
            with history.turn(other):
                pass
    assert history._turns == {}
