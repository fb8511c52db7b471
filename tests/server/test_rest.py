from typing import Any

import aiohttp
import pytest

from market.announcements import Source
from market.streams import price_key
from server.access.quota_settings import QuotaSettings
from server.access.requests import WINDOW_S, RequestQuota
from server.addresses import ProxyPolicy, origin_policy
from tests.market.samples import sample
from tests.server.conftest import Client, Served, until


async def _get(served: Served, path: str, status: int = 200) -> Any:
    async with aiohttp.ClientSession() as http, http.get(served.url + path) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_health_is_document_002s_and_003s(served: Served) -> None:
    health = await _get(served, "/health")
    assert health["ok"] is True
    assert (health["service"], health["status"]) == ("WebSocket Streaming Service", "degraded")
    assert health["dependencies"]["cache"] == {"status": "healthy", "message": "OK"}
    assert health["dependencies"]["exchange"]["status"] == "unhealthy"
    assert set(health["metrics"]) == {"active_streams", "total_subscriptions", "active_symbols"}
    assert health["uptime"].startswith("0h 0m ")
    assert (health["source"], health["replica"]) == (Source.SIMULATED, "r1")


async def test_health_is_healthy_once_an_ingestor_has_its_feed(served: Served) -> None:
    feed = b'{"ingestor":"i1","source":"simulated","connected":true,"streams":1,"last_message_ms":1}'
    await served.publisher.announce("feed", feed)
    assert (await _get(served, "/health"))["status"] == "healthy"


async def test_stats_count_subscriptions_by_symbol(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    await client.call("subscribe", {"symbols": ["BTCUSDT", "ETHUSDT"]})
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    data = (await _get(served, "/stats"))["data"]
    assert data["subscriptions_by_symbol"] == {"BTCUSDT": 2, "ETHUSDT": 1}
    # The five default symbols are streamed from boot.
    assert (data["total_subscriptions"], data["active_streams"], data["white_hat_mode"]) == (3, 6, True)
    assert data["active_symbols"] == ["ADAUSDT", "BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"]
    await client.io.disconnect()
    await until(lambda: _has_no_subscriptions(served), "subscriptions of a client that left are gone")


async def _has_no_subscriptions(served: Served) -> bool:
    return bool((await _get(served, "/stats"))["data"]["total_subscriptions"] == 0)


async def test_symbols_lists_defaults_and_markets(served: Served) -> None:
    data = (await _get(served, "/symbols"))["data"]
    assert data["default_symbols"] == ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "ADAUSDT"]
    bitcoin = next(info for info in data["markets"]["spot"] if info["symbol"] == "BTCUSDT")
    assert (bitcoin["status"], bitcoin["baseAsset"], float(bitcoin["tickSize"])) == ("TRADING", "BTC", 0.01)


@pytest.mark.parametrize("name", ["BTCUSDT", "btcusdt"])
async def test_a_price_comes_from_the_stream_where_there_is_one(served: Served, name: str) -> None:
    await served.publish("btcusdt@ticker", sample("spot:btcusdt@ticker"))
    answer = await _get(served, f"/price/{name}")
    assert (answer["success"], answer["source"], answer["data"]["price"]) == (True, "cache", 67012.34)


async def test_a_price_comes_from_the_cache_of_another_process(served: Served) -> None:
    await served.publisher.put({price_key("XRPUSDT"): b'{"symbol":"XRPUSDT","price":0.5}'})
    assert (await _get(served, "/price/XRPUSDT")) == {
        "success": True,
        "data": {"symbol": "XRPUSDT", "price": 0.5},
        "source": "cache",
    }
    latest = await _get(served, "/api/latest-prices")
    assert (latest["success"], latest["source"], latest["count"]) == (True, "cache", 0)


async def test_latest_prices_are_the_cached_ones(served: Served) -> None:
    await served.publisher.put({price_key("BTCUSDT"): b'{"symbol":"BTCUSDT","price":1.5}'})
    latest = await _get(served, "/api/latest-prices")
    assert (latest["prices"], latest["count"]) == ({"BTCUSDT": {"symbol": "BTCUSDT", "price": 1.5}}, 1)


async def test_a_price_nobody_streams_comes_from_the_exchange(served: Served) -> None:
    answer = await _get(served, "/price/XRPUSDT")
    assert (answer["source"], answer["data"]["symbol"]) == ("api", "XRPUSDT")
    assert answer["data"]["price"] > 0


@pytest.mark.parametrize("path", ["/price/NOPEUSDT", "/klines/NOPEUSDT", "/nowhere"])
async def test_what_is_not_there_is_404(served: Served, path: str) -> None:
    body = await _get(served, path, status=404)
    assert body["success"] is False
    assert body["code"] in {"unknown_symbol", "not_found"}


@pytest.mark.parametrize(
    "query", ["interval=7m", "limit=x", "limit=-1", "market=options", "startTime=now", "market=futures&interval=1s"]
)
async def test_a_bad_question_for_klines_is_400(served: Served, query: str) -> None:
    assert (await _get(served, f"/klines/BTCUSDT?{query}", status=400))["code"] == "bad_request"


@pytest.mark.parametrize("market", ["spot", "futures"])
async def test_klines_are_the_exchanges_rows(served: Served, market: str) -> None:
    answer = await _get(served, f"/klines/btcusdt?market={market}&interval=5m&limit=10")
    data = answer["data"]
    assert (data["symbol"], data["market"], data["interval"], len(data["klines"])) == ("BTCUSDT", market, "5m", 10)
    opens = [row[0] for row in data["klines"]]
    assert opens == list(range(opens[0], opens[0] + 10 * 300_000, 300_000))


async def test_the_page_comes_with_a_strict_policy(served: Served) -> None:
    async with aiohttp.ClientSession() as http, http.get(served.url + "/") as response:
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.content_type == "text/html"


async def test_every_answer_says_what_is_left_of_the_rate_limit(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(served.url + "/stats") as first, http.get(served.url + "/stats") as second:
            assert first.headers["X-RateLimit-Limit"] == "300"
            assert int(first.headers["X-RateLimit-Remaining"]) - int(second.headers["X-RateLimit-Remaining"]) == 1
        statuses = []
        for _ in range(LIMIT):
            async with http.get(served.url + "/stats") as response:
                statuses.append(response.status)
                body = await response.json()
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert body["message"] == "Maximum 300 requests per minute allowed"
        assert (body["error"], body["retry_after"]) == ("Rate limit exceeded", 60)
        async with http.get(served.url + "/health") as response:
            assert response.status == 200


LIMIT = QuotaSettings().requests_per_minute


def test_a_window_ends_and_addresses_do_not_share_one() -> None:
    now = [0.0]
    limit = RequestQuota(LIMIT, lambda _network: 0, clock=lambda: now[0])
    assert [limit.count("a").allowed for _ in range(LIMIT + 1)][-2:] == [True, False]
    assert limit.count("b").allowed
    now[0] = WINDOW_S
    assert limit.count("a").remaining == LIMIT - 1


@pytest.mark.parametrize(
    ("origin", "host", "configured", "allowed"),
    [
        ("http://tick.example", "tick.example", (), True),
        ("http://localhost:5173", "tick.example", (), True),
        ("http://127.0.0.1:3000", "tick.example", (), True),
        ("http://evil.example", "tick.example", (), False),
        ("null", "tick.example", (), False),
        ("http://localhost.evil.example", "tick.example", (), False),
        ("https://app.example", "tick.example", ("https://app.example",), True),
        ("http://localhost:5173", "tick.example", ("https://app.example",), False),
        ("http://evil.example", "tick.example", ("*",), True),
    ],
)
def test_origins(origin: str, host: str, configured: tuple[str, ...], allowed: bool) -> None:  # noqa: FBT001 # a column
    assert origin_policy(configured)(origin, {"HTTP_HOST": host}) is allowed


async def test_a_foreign_page_cannot_connect(served: Served) -> None:
    url = f"{served.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url, headers={"Origin": "http://evil.example"}) as response:
            assert response.status == 400
        async with http.get(url, headers={"Origin": "http://localhost:5173"}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="nginx"):
        ProxyPolicy(["nginx"])
