import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from binance.errors import BinanceError
from binance.rest import RestClient
from binance.settings import Endpoints, stand_in
from binance.weights import WeightBudget
from market.streams import Market
from market.venue import RateLimited, RestError, Unreachable
from tests.binance.wire import until
from tests.support.processes import free_port


class Rest:
    """A REST server that answers what the test says and remembers what it was asked; `hold` delays answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.body = b"[1,  2]"
        self.headers: dict[str, str] = {}
        self.cuts = 0
        self.now = 6_000.0
        self.endpoints: Endpoints
        self.hold: asyncio.Event | None = None

    async def asked_for(self, count: int) -> None:
        """Return once so many requests have come."""
        await until(lambda: len(self.asked) >= count, f"{count} requests")

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        if self.hold is not None and len(self.asked) == 1:
            await self.hold.wait()
        if self.cuts:
            self.cuts -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def clock(self) -> float:
        return self.now


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    server = Rest()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    server.endpoints = stand_in(f"http://127.0.0.1:{port}")
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(rest: Rest) -> AsyncIterator[RestClient]:
    async with RestClient(rest.endpoints, rest.clock) as made:
        yield made


async def test_bodies_are_handed_over_as_they_came(rest: Rest, client: RestClient) -> None:
    assert await client.exchange_info(Market.SPOT) == b"[1,  2]"


async def test_requests_are_written_as_binance_reads_them(rest: Rest, client: RestClient) -> None:
    await client.klines(Market.SPOT, "btcusdt", "1m", 10, start_ms=0, end_ms=5)
    await client.klines(Market.FUTURES, "BTCUSDT", "1h")
    await client.depth(Market.FUTURES, "btcusdt", 50)
    await client.ticker_24h(Market.SPOT)
    await client.ticker_24h(Market.SPOT, ["btcusdt"])
    await client.ticker_price(Market.SPOT, ["BTCUSDT", "ETHUSDT"])
    await client.book_ticker(Market.FUTURES, ["BTCUSDT"])
    await client.premium_index()
    await client.premium_index("btcusdt")
    assert rest.asked == [
        "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=10&startTime=0&endTime=5",
        "/fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit=500",
        "/fapi/v1/depth?symbol=BTCUSDT&limit=50",
        "/api/v3/ticker/24hr",
        "/api/v3/ticker/24hr?symbol=BTCUSDT",
        "/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D",
        "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT",
        "/fapi/v1/premiumIndex",
        "/fapi/v1/premiumIndex?symbol=BTCUSDT",
    ]
    assert client.budgets[Market.SPOT].used == 2 + 80 + 2 + 4
    assert client.budgets[Market.FUTURES].used == 5 + 2 + 2 + 10 + 1


async def test_several_futures_symbols_at_once_are_a_mistake_of_the_caller(client: RestClient) -> None:
    with pytest.raises(ValueError, match="one symbol or all"):
        await client.ticker_24h(Market.FUTURES, ["BTCUSDT", "ETHUSDT"])


async def test_a_refusal_carries_binances_code_and_words(rest: Rest, client: RestClient) -> None:
    rest.status, rest.body = 400, b'{"code":-1121,"msg":"Invalid symbol."}'
    with pytest.raises(BinanceError) as caught:
        await client.klines(Market.SPOT, "NOPE", "1m")
    assert (caught.value.code, caught.value.message, caught.value.http_status) == (-1121, "Invalid symbol.", 400)


async def test_an_answer_that_is_not_binances_is_a_refusal_too(rest: Rest, client: RestClient) -> None:
    rest.status, rest.body = 502, b"<html>\xff</html>"
    with pytest.raises(BinanceError) as caught:
        await client.exchange_info(Market.SPOT)
    assert (caught.value.code, caught.value.message, caught.value.http_status) == (0, "Bad Gateway", 502)


@pytest.mark.parametrize(("status", "retry_after_s"), [(429, 7), (418, 300)])
async def test_nothing_is_sent_before_retry_after_has_passed(
    rest: Rest, client: RestClient, status: int, retry_after_s: int
) -> None:
    rest.status, rest.headers = status, {"Retry-After": str(retry_after_s)}
    rest.body = b'{"code":-1003,"msg":"Too much request weight used."}'
    with pytest.raises(RateLimited) as caught:
        await client.exchange_info(Market.SPOT)
    assert (caught.value.http_status, caught.value.retry_after_s) == (status, retry_after_s)
    rest.status = 200
    rest.now += retry_after_s - 1
    with pytest.raises(RateLimited) as caught:
        await client.exchange_info(Market.SPOT)
    assert caught.value.retry_after_s == pytest.approx(1)
    assert len(rest.asked) == 1
    await client.exchange_info(Market.FUTURES)
    rest.now += 1
    await client.exchange_info(Market.SPOT)
    assert len(rest.asked) == 3


@pytest.mark.parametrize(("status", "pause_s"), [(429, 60), (418, 120)])
async def test_a_limit_without_retry_after_pauses_for_binances_usual_time(
    rest: Rest, client: RestClient, status: int, pause_s: int
) -> None:
    rest.status, rest.body = status, b""
    with pytest.raises(RateLimited) as caught:
        await client.exchange_info(Market.SPOT)
    assert caught.value.retry_after_s == pause_s


async def test_binances_own_count_of_weight_is_believed(rest: Rest, client: RestClient) -> None:
    rest.headers = {"X-MBX-USED-WEIGHT-1M": "2999"}
    await client.exchange_info(Market.SPOT)
    with pytest.raises(RateLimited) as caught:
        await client.exchange_info(Market.SPOT)
    assert caught.value.http_status is None
    assert 0 < caught.value.retry_after_s <= 60
    assert client.budgets[Market.SPOT].refused_total == 1
    rest.now += caught.value.retry_after_s
    await client.exchange_info(Market.SPOT)
    assert len(rest.asked) == 2


async def test_the_count_that_is_known_to_be_wrong_is_not_believed(rest: Rest, client: RestClient) -> None:
    rest.headers = {"X-MBX-USED-WEIGHT-1M": "999999"}
    await client.book_ticker(Market.FUTURES)
    await client.book_ticker(Market.FUTURES)
    assert client.budgets[Market.FUTURES].used == 10


async def test_a_connection_that_breaks_is_tried_once_more(rest: Rest, client: RestClient) -> None:
    rest.cuts = 1
    assert await client.exchange_info(Market.SPOT) == rest.body
    assert len(rest.asked) == 2
    assert client.budgets[Market.SPOT].used == 40


async def test_an_exchange_that_is_away_is_unreachable(rest: Rest) -> None:
    nowhere = stand_in(f"http://127.0.0.1:{free_port()}")
    async with RestClient(nowhere) as client:
        with pytest.raises(Unreachable, match="ConnectError") as caught:
            await client.exchange_info(Market.SPOT)
    assert isinstance(caught.value, RestError)


async def test_a_body_past_the_limit_is_not_read(
    rest: Rest, client: RestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("binance.rest.MAX_BODY_BYTES", 1_000)
    rest.body = json.dumps(["x" * 2_000]).encode()
    with pytest.raises(Unreachable, match="exceeds 1000 bytes"):
        await client.exchange_info(Market.SPOT)


def test_a_minutes_budget_ends_with_the_minute() -> None:
    now = [120.0]
    budget = WeightBudget(100, lambda: now[0])
    assert budget.allowance == 50
    minute = budget.minute
    budget.spend(50)
    with pytest.raises(RateLimited):
        budget.spend(1)
    now[0] = 180.0
    budget.observe(1_000, minute)
    assert budget.used == 0
    budget.spend(50)
