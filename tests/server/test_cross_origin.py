"""What browsers let pages of other origins do: the policy is the same on every door."""

import aiohttp
import pytest
from aiohttp import WSServerHandshakeError

from server.access.quota_settings import QuotaSettings
from tests.server.conftest import Served

DEVELOPER = "http://localhost:5173"
FRIEND = "https://friend.example"
STRANGER = "https://stranger.example"
ALLOW = "Access-Control-Allow-Origin"
PATHS = [
    "/stats",
    "/symbols",
    "/price/BTCUSDT",
    "/klines/BTCUSDT",
    "/api/latest-prices",
    "/health",
    "/openapi.yaml",
    "/asyncapi.yaml",
    "/api/v3/ping",
    "/fapi/v1/klines?symbol=BTCUSDT&interval=1m",
]
SOCKETS = ["/", "/ws", "/stream?streams=btcusdt@ticker", "/public/ws", "/socket.io/?EIO=4&transport=websocket"]
named = pytest.mark.parametrize("served", [{"cors_origins": (FRIEND,)}], indirect=True)
everybody = pytest.mark.parametrize("served", [{"cors_origins": ("*",)}], indirect=True)


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_an_allowed_origin_reads_rest_and_others_do_not(served: Served, path: str) -> None:
    async with aiohttp.ClientSession(served.url) as http:
        for origin, is_allowed in ((DEVELOPER, True), (served.url, True), (STRANGER, False), (None, False)):
            headers = {} if origin is None else {"Origin": origin}
            async with http.get(path, headers=headers) as response:
                assert response.status == 200
                assert response.headers.getall(ALLOW, []) == ([origin] if is_allowed else [])
                assert "Origin" in response.headers["Vary"]


@named
async def test_named_origins_replace_those_of_developers(served: Served) -> None:
    async with aiohttp.ClientSession(served.url) as http:
        for origin, is_allowed in ((FRIEND, True), (DEVELOPER, False), (served.url, True)):
            async with http.get("/stats", headers={"Origin": origin}) as response:
                assert (ALLOW in response.headers) is is_allowed


@everybody
async def test_a_star_lets_every_page_read(served: Served) -> None:
    async with (
        aiohttp.ClientSession(served.url) as http,
        http.get("/stats", headers={"Origin": STRANGER}) as response,
    ):
        assert response.headers[ALLOW] == STRANGER


async def test_a_page_reads_refusals_and_how_much_it_may_ask(served: Served) -> None:
    async with aiohttp.ClientSession(served.url, headers={"Origin": DEVELOPER}) as http:
        for path, status in (("/klines/NONESUCH", 404), ("/nowhere", 404), ("/api/v3/depth", 400)):
            async with http.get(path) as response:
                assert (response.status, response.headers[ALLOW]) == (status, DEVELOPER)
        for _ in range(QuotaSettings().requests_per_minute):
            async with http.get("/nowhere") as response:
                pass
        assert (response.status, response.headers[ALLOW]) == (429, DEVELOPER)
        assert {"Retry-After", "X-RateLimit-Remaining"} <= set(
            response.headers["Access-Control-Expose-Headers"].split(", ")
        )


async def test_a_preflight_is_answered_for_allowed_origins_alone(served: Served) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-token"}
    async with aiohttp.ClientSession(served.url, headers=asked) as http:
        async with http.options("/klines/BTCUSDT", headers={"Origin": DEVELOPER}) as response:
            assert (response.status, await response.read()) == (204, b"")
            assert response.headers[ALLOW] == DEVELOPER
            assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
            assert response.headers["Access-Control-Allow-Headers"] == "x-token"
        async with http.options("/klines/BTCUSDT", headers={"Origin": STRANGER}) as response:
            assert response.status == 405
            assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", SOCKETS)
async def test_every_websocket_takes_pages_of_allowed_origins_alone(served: Served, path: str) -> None:
    async with aiohttp.ClientSession(served.url) as http:
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(path, origin=STRANGER)
        assert refused.value.status in (400, 403)
        for origin in (None, DEVELOPER, served.url):
            async with http.ws_connect(path, origin=origin) as socket:
                assert not socket.closed
