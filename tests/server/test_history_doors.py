"""Historical klines as clients get them: over REST and over Socket.IO, refusals included."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from binance.errors import BinanceError
from market.errors import Code, MarketError
from market.streams import Market
from market.venue import RateLimited, RestError, Unreachable
from server.history.klines import MAX_TURNS, KlineQuery
from server.history.requests import parse_kline_query
from server.refusals import refusal_of
from tests.bus.support import paused
from tests.server.conftest import Client, Served, until
from tests.support.processes import Process

PAST_MS = 1_700_000_000_000


@pytest.fixture
async def refused(exchange: Process) -> AsyncIterator[Any]:
    """Has the exchange refuse all REST requests: `await refused(status, retry_after)`; undone in the end."""
    url = f"http://127.0.0.1:{exchange.port}/control"
    async with aiohttp.ClientSession() as http:

        async def refuse(status: int, retry_after_s: int) -> None:
            command = {"status": status, "retry_after": retry_after_s}
            (await http.post(f"{url}/refuse", json=command)).raise_for_status()

        yield refuse
        (await http.post(f"{url}/reset")).raise_for_status()


async def _get(served: Served, path: str) -> tuple[int, str | None, Any]:
    async with aiohttp.ClientSession() as http, http.get(served.url + path) as response:
        return response.status, response.headers.get("Retry-After"), await response.json()


@pytest.mark.parametrize("status", [429, 418])
async def test_rest_tells_the_exchanges_limit_and_how_long_to_wait(served: Served, refused: Any, status: int) -> None:
    await refused(status, 40)
    for _ in range(2):
        answered, retry_after, body = await _get(served, f"/klines/BTCUSDT?startTime={PAST_MS}")
        assert (answered, body["code"], body["success"]) == (429, "rate_limited", False)
        assert retry_after is not None
        assert 38 <= int(retry_after) == body["retryAfter"] <= 40
        assert f"HTTP {status}" in body["error"]


async def test_rest_answers_with_more_rows_than_the_exchange_does(served: Served) -> None:
    _, _, body = await _get(served, f"/klines/btcusdt?limit=2500&startTime={PAST_MS}&interval=1m")
    opens = [row[0] for row in body["data"]["klines"]]
    first = PAST_MS // 60_000 * 60_000 + 60_000
    assert opens == list(range(first, first + 2_500 * 60_000, 60_000))
    status, _, body = await _get(served, "/klines/btcusdt?limit=10001")
    assert (status, body["code"]) == (400, "bad_request")
    assert "10000" in body["error"]


async def test_a_times_end_without_a_beginning_brings_the_latest_before_it(served: Served) -> None:
    _, _, body = await _get(served, f"/klines/btcusdt?limit=3&startTime=&endTime={PAST_MS}&interval=1d")
    assert [row[0] for row in body["data"]["klines"]] == [1_699_747_200_000, 1_699_833_600_000, 1_699_920_000_000]


async def test_a_client_gets_candles_in_its_acknowledgement(served: Served, client: Client) -> None:
    reply = await client.call(
        "getHistoricalKlines", {"symbol": "btcusdt", "interval": "1h", "limit": 2, "startTime": PAST_MS}
    )
    klines = reply.pop("klines")
    assert reply == {"ok": True, "symbol": "btcusdt", "market": "spot", "interval": "1h"}
    assert [row[0] for row in klines] == [1_700_002_800_000, 1_700_006_400_000]
    assert [len(row) for row in klines] == [12, 12]
    assert client.named("historicalKlines") == []


async def test_without_an_acknowledgement_the_candles_come_as_an_event(served: Served, client: Client) -> None:
    await client.io.emit("getHistoricalKlines", {"symbol": "BTCUSDT", "interval": "5m", "limit": 7, "isFutures": True})
    await until(lambda: client.named("historicalKlines"), "the candles")
    (body,) = client.named("historicalKlines")
    assert (body["symbol"], body["market"], body["interval"], len(body["klines"])) == ("BTCUSDT", "futures", "5m", 7)
    assert client.named("error") == []


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"interval": "1m"}, "bad_request"),
        ({"symbol": "btcusdt"}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "7m"}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1s", "market": "futures"}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1m", "limit": 10_001}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1m", "limit": "ten"}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1m", "startTime": -5}, "bad_request"),
        ({"symbol": "nopeusdt", "interval": "1m"}, "unknown_symbol"),
        ({"symbol": "btc/usdt", "interval": "1m"}, "invalid_symbol"),
        ({"symbol": "*", "interval": "1m"}, "invalid_symbol"),
        (None, "bad_request"),
        (["btcusdt"], "bad_request"),
    ],
)
async def test_a_bad_question_is_refused_with_its_code(served: Served, asked: Any, code: str) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    reply = await client.call("getHistoricalKlines", asked)
    assert (reply["ok"], reply["code"]) == (False, code)
    await client.io.emit("getHistoricalKlines", asked)
    await until(lambda: client.named("error"), "the error event")
    assert client.named("error")[0]["code"] == code
    await client.io.disconnect()


async def test_a_client_is_told_the_exchanges_limit(served: Served, refused: Any, client: Client) -> None:
    await refused(418, 40)
    asked = {"symbol": "btcusdt", "interval": "1m", "startTime": PAST_MS - 1}
    reply = await client.call("getHistoricalKlines", asked)
    assert (reply["ok"], reply["code"]) == (False, "rate_limited")
    assert 38 <= reply["retryAfter"] <= 40


async def test_a_client_with_too_many_requests_under_way_is_refused_and_may_subscribe_meanwhile(
    served: Served, exchange: Process
) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    replies: list[Any] = []
    with paused(exchange):
        for number in range(MAX_TURNS + 2):
            asked = {"symbol": "btcusdt", "interval": "1m", "startTime": PAST_MS + number}
            await client.io.emit("getHistoricalKlines", asked, callback=replies.append)
        subscribed = await client.call("subscribe", {"streams": ["btcusdt@trade"]})
        assert subscribed["ok"] is True
        await until(lambda: len(replies) == 2, "what is too many is refused at once")
        assert [reply["code"] for reply in replies] == ["rate_limited"] * 2
    await until(lambda: len(replies) == MAX_TURNS + 2, "the others are answered")
    assert [reply["ok"] for reply in replies[2:]] == [True] * MAX_TURNS
    await client.io.disconnect()


async def test_a_client_that_leaves_while_its_candles_are_fetched_harms_nobody(
    served: Served, exchange: Process
) -> None:
    client, other = Client(), Client()
    await client.connect(served.url, "websocket")
    await other.connect(served.url, "websocket")
    asked = {"symbol": "ethusdt", "interval": "1m", "startTime": PAST_MS, "limit": 5}
    with paused(exchange):
        await client.io.emit("getHistoricalKlines", asked, callback=print)
        await client.call("subscriptions")
        await client.io.disconnect()
        waiting = asyncio.ensure_future(other.call("getHistoricalKlines", asked))
        await asyncio.sleep(0)
    assert len((await waiting)["klines"]) == 5
    await other.io.disconnect()


def test_times_of_zero_are_none() -> None:
    asked = {"symbol": "btcusdt", "interval": "1m", "limit": 500, "startTime": 0, "endTime": 0, "isFutures": False}
    assert parse_kline_query(asked) == KlineQuery(Market.SPOT, "btcusdt", "1m", 500)
    assert parse_kline_query({**asked, "isFutures": True}).market is Market.FUTURES
    assert parse_kline_query({**asked, "isFutures": True, "market": "spot"}).market is Market.SPOT


@pytest.mark.parametrize(
    ("error", "code", "status", "retry_after_s"),
    [
        (RateLimited(3.2, "Too much.", 429), Code.RATE_LIMITED, 429, 4),
        (RateLimited(300, "Banned.", 418), Code.RATE_LIMITED, 429, 300),
        (RateLimited(0.0, "The minute is spent."), Code.RATE_LIMITED, 429, 1),
        (BinanceError(-1121, "Invalid symbol.", 400), Code.UNKNOWN_SYMBOL, 404, None),
        (BinanceError(-1120, "Invalid interval.", 400), Code.BAD_REQUEST, 400, None),
        (BinanceError(-1000, "Unknown error.", 500), Code.UPSTREAM, 503, None),
        (BinanceError(0, "Forbidden", 403), Code.UPSTREAM, 503, None),
        (Unreachable("no route"), Code.UPSTREAM, 503, None),
        (MarketError(Code.BAD_REQUEST, "No."), Code.BAD_REQUEST, 400, None),
        (MarketError(Code.RATE_LIMITED, "Slower."), Code.RATE_LIMITED, 429, None),
        (MarketError(Code.NOT_TRADING, "Halted."), Code.NOT_TRADING, 404, None),
    ],
)
def test_every_refusal_has_one_code_and_one_status(
    error: MarketError | RestError, code: Code, status: int, retry_after_s: int | None
) -> None:
    refusal = refusal_of(error)
    assert (refusal.code, refusal.status, refusal.retry_after_s) == (code, status, retry_after_s)
    assert refusal.body["code"] == code.value
    assert ("retryAfter" in refusal.body) is (retry_after_s is not None)


def test_a_suggestion_is_passed_on() -> None:
    refusal = refusal_of(MarketError(Code.UNKNOWN_SYMBOL, "Unknown symbol: BTC", "BTCUSDT"))
    assert refusal.body == {"code": "unknown_symbol", "message": "Unknown symbol: BTC", "suggestion": "BTCUSDT"}
