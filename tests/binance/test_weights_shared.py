"""Several processes on one address: one budget, and pauses that all of them keep."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from binance.rest import RestClient
from bus.memory import MemoryBroker, MemoryBus
from market.streams import Market
from market.venue import RateLimited
from tests.binance.test_rest import Rest, rest

__all__ = ["rest"]  # the fixture

MakeClient = Callable[[], Awaitable[RestClient]]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def make_client(rest: Rest, broker: MemoryBroker) -> AsyncIterator[MakeClient]:  # the fixture
    """A process's client: `await make_client()`, each with its own end of one bus."""
    async with AsyncExitStack() as opened:

        async def make() -> RestClient:
            bus = MemoryBus(broker)
            await bus.start()
            opened.push_async_callback(bus.close)
            return await opened.enter_async_context(RestClient(rest.endpoints, rest.clock, bus))

        yield make


async def test_what_one_process_spends_another_has_no_more(rest: Rest, make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    for _ in range(37):
        await one.ticker_24h(Market.SPOT)
    with pytest.raises(RateLimited, match="All processes") as caught:
        await other.ticker_24h(Market.SPOT)
    assert (caught.value.http_status, caught.value.retry_after_s) == (None, 60)
    assert len(rest.asked) == 37
    assert other.budgets[Market.SPOT].refused_total == 1
    await other.ticker_24h(Market.FUTURES)
    rest.now += 60
    await other.ticker_24h(Market.SPOT)
    assert other.budgets[Market.SPOT].used == 80


async def test_requests_at_once_stay_within_the_minute(rest: Rest, make_client: MakeClient) -> None:
    clients = [await make_client() for _ in range(3)]
    results = await asyncio.gather(
        *(clients[number % 3].ticker_24h(Market.FUTURES) for number in range(45)), return_exceptions=True
    )
    assert sum(isinstance(result, RateLimited) for result in results) == 15
    assert len(rest.asked) == 30


@pytest.mark.parametrize("status", [429, 418])
async def test_all_processes_keep_the_pause_that_one_was_told(
    rest: Rest,
    make_client: MakeClient,
    status: int,
) -> None:
    one, other = await make_client(), await make_client()
    rest.status, rest.headers = status, {"Retry-After": "300"}
    rest.body = b'{"code":-1003,"msg":"Too much request weight used."}'
    with pytest.raises(RateLimited):
        await one.exchange_info(Market.SPOT)
    rest.status, rest.headers = 200, {}
    rest.now += 100
    for client in (other, await make_client()):
        with pytest.raises(RateLimited, match="Too much request weight used") as caught:
            await client.exchange_info(Market.SPOT)
        assert (caught.value.http_status, caught.value.retry_after_s) == (status, 200)
    assert len(rest.asked) == 1
    await other.exchange_info(Market.FUTURES)
    rest.now += 200
    await other.exchange_info(Market.SPOT)
    assert len(rest.asked) == 3


async def test_a_short_pause_does_not_end_a_long_one(rest: Rest, make_client: MakeClient) -> None:
    one, other, third = await make_client(), await make_client(), await make_client()
    rest.hold = asyncio.Event()
    held = asyncio.ensure_future(other.exchange_info(Market.SPOT))
    await rest.asked_for(1)
    rest.status, rest.headers = 418, {"Retry-After": "300"}
    with pytest.raises(RateLimited):
        await one.exchange_info(Market.SPOT)
    rest.headers = {"Retry-After": "5"}
    rest.hold.set()
    with pytest.raises(RateLimited) as caught:
        await held
    assert caught.value.retry_after_s == 5
    with pytest.raises(RateLimited) as caught:
        await third.exchange_info(Market.SPOT)
    assert caught.value.retry_after_s == 300


async def test_binances_count_corrects_that_of_all_processes(rest: Rest, make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    rest.headers = {"X-MBX-USED-WEIGHT-1M": "2999"}
    await one.exchange_info(Market.SPOT)
    with pytest.raises(RateLimited):
        await other.exchange_info(Market.SPOT)
    assert len(rest.asked) == 1


async def test_what_binance_counts_beyond_ours_is_added_once(rest: Rest, make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    rest.headers = {"X-MBX-USED-WEIGHT-1M": "100"}
    await one.exchange_info(Market.SPOT)
    rest.headers = {}
    await other.exchange_info(Market.SPOT)
    assert other.budgets[Market.SPOT].used == 120


async def test_answers_out_of_order_count_nothing_twice(rest: Rest, make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    rest.hold = asyncio.Event()
    first = asyncio.ensure_future(one.exchange_info(Market.SPOT))
    await rest.asked_for(1)
    rest.headers = {"X-MBX-USED-WEIGHT-1M": "40"}
    second = asyncio.ensure_future(other.exchange_info(Market.SPOT))
    await rest.asked_for(2)
    rest.hold.set()
    await asyncio.gather(first, second)
    rest.headers = {}
    await one.exchange_info(Market.SPOT)
    assert one.budgets[Market.SPOT].used == 60


async def test_what_is_no_pause_is_logged_and_harms_nothing(
    rest: Rest,
    make_client: MakeClient,
    broker: MemoryBroker,
) -> None:
    client = await make_client()
    host = rest.endpoints.spot_rest.removeprefix("http://")
    broker.values.put({f"pause:spot:{host}": b"nonsense"})
    with capture_logs() as logs:
        await client.exchange_info(Market.SPOT)
    assert [line["event"] for line in logs] == ["no pause in what the ledger holds"]
