"""Every door asks for credentials in its own way, refuses in its own words, and keeps to what they cover."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio
from structlog.testing import capture_logs

from server.doors.socket_server import MAX_ATTEMPTS
from tests.server.access.conftest import DESK, GUARDED, Guarded
from tests.server.access.minting import SECRET, bearer, forged, mint
from tests.server.conftest import Client, Served, serving, until
from tests.server.json_client import json_client
from tests.support.processes import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

ETHER = {"streams": ["spot:eth*", "futures:ethusdt@markPrice*"]}
NOT_PERMITTED = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
REST = ["/stats", "/symbols", "/price/ETHUSDT", "/klines/ETHUSDT", "/api/latest-prices", "/replay", "/nowhere"]
OPEN = ["/", "/assets/web/app.js", "/health", "/health/live", "/health/ready", "/openapi.yaml", "/asyncapi.yaml"]
BINANCE = ["/api/v3/ping", "/api/v3/klines?symbol=ETHUSDT&interval=1m", "/fapi/v1/time", "/futures/fapi/v1/depth"]
SOCKETS = ["/ws", "/ws/ethusdt@trade", "/stream?streams=ethusdt@trade", "/public/ws", "/futures/stream"]
WRONG = [{}, bearer("x"), bearer(forged()), {"X-API-Key": "tck_no"}, {"Authorization": "Basic YTpi"}]
RIGHT = [bearer(mint()), {"Authorization": f"bearer  {DESK.key}"}, {"X-API-Key": DESK.key}, {"X-MBX-APIKEY": DESK.key}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def optional(exchange: Process) -> AsyncIterator[Served]:
    async with serving(exchange, auth="optional", auth_jwt_secret=SECRET) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def http(guarded: Guarded) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(guarded.url) as session:
        yield session


async def status(http: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with http.get(path, headers=headers) as answer:
        if answer.status == 401:
            assert ("WWW-Authenticate" in answer.headers) is ("msg" not in await answer.text())
        return answer.status, await answer.read()


async def handshake(http: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """The status of a WebSocket handshake, and the body of a refusal."""
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with http.get(path, headers=headers | upgrade) as answer:
        if answer.status == 101:
            assert answer.connection is not None
            answer.connection.close()
            return 101, None
        return answer.status, await answer.json()


class Visitor(Client):
    """A Socket.IO client that shows credentials; what became of it in `errors`."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Any] = []
        self.io.on("connect_error", self.errors.append)

    async def try_to_connect(self, url: str, transport: str, **how: Any) -> bool:
        """Whether it is let in."""
        try:
            await self.io.connect(url, transports=[transport], wait_timeout=5, **how)
        except socketio.exceptions.ConnectionError:
            return False
        await until(lambda: self.named("connected"), "greeting")
        return True


@pytest.mark.parametrize("path", REST)
async def test_rest_is_for_those_who_show_good_credentials(http: aiohttp.ClientSession, path: str) -> None:
    for wrong in WRONG:
        code, body = await status(http, path, wrong)
        assert code == 401
        assert (json.loads(body)["code"], json.loads(body)["success"]) == ("unauthorized", False)
    for right in RIGHT:
        assert (await status(http, path, right))[0] == (404 if path == "/nowhere" else 200)
    mark = "&" if "?" in path else "?"
    for query in (f"token={mint()}", f"apiKey={DESK.key}", f"token={DESK.key}"):
        assert (await status(http, path + mark + query, {}))[0] in (200, 404)
    assert (await status(http, f"{path}{mark}token=x", {}))[0] == 401


@pytest.mark.parametrize("path", OPEN)
async def test_probes_and_files_are_for_everybody(http: aiohttp.ClientSession, path: str) -> None:
    assert (await status(http, path, {}))[0] == 200


@pytest.mark.parametrize(
    "path", ["//stats", "/./stats", "/health/../stats", "/assets/../stats", "/%73tats", "/stats/", "/ws/../stats"]
)
async def test_no_spelling_of_a_path_leads_around_the_gate(guarded: Guarded, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(guarded.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"401", b"404", b"400")
    assert b"subscriptions_by_symbol" not in answer


@pytest.mark.parametrize("path", BINANCE)
async def test_binances_rest_refuses_in_binances_words(http: aiohttp.ClientSession, path: str) -> None:
    for wrong in (*WRONG, {"X-MBX-APIKEY": "a key of Binance's"}):
        code, body = await status(http, path, wrong)
        assert (code, json.loads(body)) == (401, NOT_PERMITTED)
    for right in RIGHT:
        assert (await status(http, path, right))[0] == (400 if path.endswith("depth") else 200)


@pytest.mark.parametrize("path", SOCKETS)
async def test_binances_sockets_open_for_those_who_show_good_credentials(
    http: aiohttp.ClientSession, path: str
) -> None:
    for wrong in (*WRONG, {"X-MBX-APIKEY": "a key of Binance's"}):
        assert await handshake(http, path, wrong) == (401, NOT_PERMITTED)
    for right in RIGHT:
        assert (await handshake(http, path, right))[0] == 101
    mark = "&" if "?" in path else "?"
    assert (await handshake(http, f"{path}{mark}apiKey={DESK.key}", {}))[0] == 101


async def test_the_json_door_opens_for_those_who_show_good_credentials(http: aiohttp.ClientSession) -> None:
    for wrong in WRONG:
        code, body = await handshake(http, "/", wrong)
        assert (code, body["type"], body["code"]) == (401, "error", "unauthorized")
    for right in RIGHT:
        assert (await handshake(http, "/", right))[0] == 101
    assert (await handshake(http, f"/?token={mint()}", {}))[0] == 101


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_socketio_client_shows_credentials_in_its_connect_packet_or_before(
    guarded: Guarded, transport: str
) -> None:
    ways: list[dict[str, Any]] = [
        {"auth": {"token": mint()}},
        {"auth": {"apiKey": DESK.key}},
        {"auth": {"token": DESK.key}},
        {"headers": bearer(mint())},
        {"headers": {"X-API-Key": DESK.key}},
        {"headers": bearer("x"), "auth": {"token": mint()}},
    ]
    for way in ways:
        visitor = Visitor()
        assert await visitor.try_to_connect(guarded.url, transport, **way), way
        await visitor.io.disconnect()
    visitor = Visitor()
    assert await visitor.try_to_connect(f"{guarded.url}?token={mint()}", transport)
    await visitor.io.disconnect()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_socketio_client_is_refused_as_by_a_middleware(guarded: Guarded, transport: str) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"auth": {"token": "x"}},
        {"auth": {"token": 7}},
        {"auth": {"apiKey": mint()}},
        {"auth": {}, "headers": bearer("x")},
        {"headers": bearer(mint()), "auth": {"token": "x"}},
    ]
    for way in ways:
        visitor = Visitor()
        assert not await visitor.try_to_connect(guarded.url, transport, **way), way
        (error,) = visitor.errors
        assert error["data"] == {"code": "unauthorized"}
        assert error["message"]
        assert visitor.events == []


async def test_nothing_is_heard_of_a_socketio_client_before_it_is_let_in(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.receive_str()
        await socket.send_str('42["subscribe",{"streams":["ethusdt@ticker"]}]')
        message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.CLOSE)
        assert message.data in ("1", 1000)


async def test_a_socketio_client_may_try_again_on_the_same_connection(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.receive_str()
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith('44{"message":"Credentials are required')
        await socket.send_str(f'40{{"token":"{mint()}"}}')
        assert (await socket.receive_str()).startswith('40{"sid":"')


async def test_a_socketio_client_may_not_try_for_ever(guarded: Guarded, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.receive_str()
        for _ in range(MAX_ATTEMPTS + 1):
            await socket.send_str(f'40{{"token":"{forged()}"}}')
        texts = [message.data async for message in socket]
        assert [text[:2] for text in texts] == ["44"] * MAX_ATTEMPTS + ["1"]


async def test_a_socketio_client_is_told_stream_by_stream_what_it_may_not_have(guarded: Guarded) -> None:
    visitor = Visitor()
    assert await visitor.try_to_connect(guarded.url, "websocket", auth={"token": mint(tickcast=ETHER)})
    streams = [
        "ethusdt@miniTicker",
        "btcusdt@miniTicker",
        "*@miniTicker",
        "!miniTicker@arr",
        "futures:ethusdt@markPrice@1s",
    ]
    reply = await visitor.call("subscribe", {"streams": streams})
    assert [entry["stream"] for entry in reply["subscribed"]] == [
        "spot:ethusdt@miniTicker",
        "futures:ethusdt@markPrice@1s",
    ]
    assert [(entry["stream"], entry["code"]) for entry in reply["rejected"]] == [
        ("btcusdt@miniTicker", "forbidden"),
        ("*@miniTicker", "forbidden"),
        ("!miniTicker@arr", "forbidden"),
    ]
    for old in ({"symbols": ["BTCUSDT"]}, ["BTC"]):
        assert [entry["code"] for entry in (await visitor.call("subscribe", old))["rejected"]] == ["forbidden"]
    await guarded.served.publish("btcusdt@miniTicker")
    await guarded.served.publish("ethusdt@miniTicker")
    await until(lambda: visitor.named("miniTicker"), "what it may have")
    assert {body["stream"] for body in visitor.named("miniTicker")} == {"spot:ethusdt@miniTicker"}
    history = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
    assert (await visitor.call("getHistoricalKlines", history))["code"] == "forbidden"
    assert (await visitor.call("getHistoricalKlines", history | {"symbol": "ETHUSDT"}))["ok"]
    replay = {"recording": "none", "streams": ["btcusdt@trade"]}
    assert (await visitor.call("getReplay", replay))["code"] == "forbidden"
    await visitor.io.disconnect()


async def test_a_json_client_is_told_stream_by_stream_what_it_may_not_have(guarded: Guarded) -> None:
    async with json_client(guarded.url, additional_headers={"X-API-Key": GUARDED.key}) as client:
        await client.send(type="subscribe", rawStreams=["ethusdt@trade", "btcusdt@trade", "*@trade"])
        accepted = (await client.wait_for("subscribed"))[0]
        assert accepted["rawStreams"] == ["ethusdt@trade"]
        assert [(e["stream"], e["code"]) for e in client.of_type("error")] == [
            ("btcusdt@trade", "forbidden"),
            ("*@trade", "forbidden"),
        ]
        await client.send(type="SUBSCRIBE", symbol="BTC")
        assert (await client.wait_for("ERROR"))[0]["code"] == "forbidden"
        await client.send(type="getHistoricalKlines", symbol="BTCUSDT", interval="1m")
        assert (await client.wait_for("error", 3))[2]["code"] == "forbidden"
        await client.send(type="getReplay", recording="none", rawStreams=["btcusdt@trade"])
        assert (await client.wait_for("error", 4))[3]["code"] == "forbidden"


async def test_rest_keeps_to_what_the_credentials_cover(http: aiohttp.ClientSession) -> None:
    guarded = {"X-API-Key": GUARDED.key}
    for path in (
        "/klines/BTCUSDT",
        "/klines/ETHUSDT?market=futures",
        "/price/BTCUSDT",
        "/replay/x?stream=btcusdt@trade",
    ):
        code, body = await status(http, path, guarded)
        assert (code, json.loads(body)["code"]) == (403, "forbidden")
    for path in ("/klines/ETHUSDT", "/price/ETHUSDT"):
        assert (await status(http, path, guarded))[0] == 200
    code, body = await status(http, "/api/latest-prices", guarded)
    assert code == 200
    assert set(json.loads(body)["prices"]) <= {"ETHUSDT"}


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/api/v3/klines?symbol=ETHUSDT&interval=1m", True),
        ("/api/v3/depth?symbol=ETHUSDT", True),
        ("/api/v3/ticker/price?symbol=ETHUSDT", True),
        ("/api/v3/exchangeInfo", True),
        ("/fapi/v1/premiumIndex?symbol=ETHUSDT", True),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m", False),
        ("/api/v3/depth?symbol=BTCUSDT", False),
        ("/api/v3/ticker/price", False),
        ("/api/v3/ticker/24hr?symbols=%5B%22ETHUSDT%22,%22BTCUSDT%22%5D", False),
        ("/fapi/v1/premiumIndex", False),
        ("/fapi/v1/depth?symbol=ETHUSDT", False),
        ("/fapi/v1/openInterest?symbol=ETHUSDT", False),
        ("/fapi/v1/continuousKlines?pair=ETHUSDT&contractType=PERPETUAL&interval=1m", False),
    ],
)
async def test_binances_rest_keeps_to_what_the_credentials_cover(
    http: aiohttp.ClientSession, path: str, *, is_covered: bool
) -> None:
    code, body = await status(http, path, {"X-MBX-APIKEY": GUARDED.key})
    assert code == (200 if is_covered else 401)
    assert is_covered or json.loads(body) == NOT_PERMITTED


async def test_binances_sockets_keep_to_what_the_credentials_cover(http: aiohttp.ClientSession) -> None:
    headers = {"X-MBX-APIKEY": GUARDED.key}
    async with http.ws_connect("/ws/ethusdt@trade", headers=headers) as socket:
        for names, is_covered in ((["ethbtc@trade"], True), (["ethusdt@ticker", "btcusdt@trade"], False)):
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            answer = await socket.receive_json()
            if is_covered:
                assert answer == {"result": None, "id": 1}
            else:
                expected = {"code": 2, "msg": "Invalid request: forbidden stream btcusdt@trade"}
                assert answer == {"error": expected, "id": 1}
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert (await socket.receive_json())["result"] == ["ethusdt@trade", "ethbtc@trade"]
    async with http.ws_connect("/stream?streams=ethusdt@trade/btcusdt@trade", headers=headers) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_where_credentials_are_optional_wrong_ones_are_refused(optional: Served) -> None:
    async with aiohttp.ClientSession(optional.url) as http:
        for headers, code in (({}, 200), (bearer(mint()), 200), (bearer("x"), 401), ({"X-API-Key": "tck_no"}, 401)):
            assert (await status(http, "/stats", headers))[0] == code
            assert (await status(http, "/api/v3/ping", headers))[0] == code
            for path in ("/", "/ws"):
                assert (await handshake(http, path, headers))[0] == (101 if code == 200 else 401)
    for auth, is_let_in in ((None, True), ({"token": ""}, True), ({"token": mint()}, True), ({"token": "x"}, False)):
        visitor = Visitor()
        assert await visitor.try_to_connect(optional.url, "websocket", auth=auth) is is_let_in
        await visitor.io.disconnect()


async def test_where_nobody_asks_for_credentials_they_are_not_looked_at(exchange: Process) -> None:
    async with serving(exchange) as served, aiohttp.ClientSession(served.url) as http:
        for headers in WRONG:
            for path in ("/stats", "/api/v3/ping"):
                assert (await status(http, path, headers))[0] == 200
            for path in ("/", "/ws"):
                assert (await handshake(http, path, headers))[0] == 101
        visitor = Visitor()
        assert await visitor.try_to_connect(served.url, "websocket", auth={"token": "x"}, headers=bearer("x"))
        assert (await visitor.call("authenticate", {"token": mint()}))["code"] == "bad_request"
        await visitor.io.disconnect()


async def test_an_operators_credentials_open_the_metrics_and_count_refusals(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    elsewhere = {"X-Forwarded-For": "6.6.6.6"}  # as from behind a proxy: the address alone does not do
    assert (await status(http, "/metrics", elsewhere))[0] == 403
    assert (await status(http, "/metrics", elsewhere | bearer(mint())))[0] == 403
    code, body = await status(http, "/metrics", elsewhere | bearer(mint(tickcast={"operator": True})))
    assert code == 200
    text = body.decode()
    assert 'tickcast_refused_credentials_total{reason="signature"}' in text
    counted = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if "refused_" in line[:20]}
    assert counted["tickcast_refused_operators_total"] >= 2
    assert (await status(http, "/stats", {}))[0] == 401
    body = (await status(http, "/metrics", {}))[1]
    name = 'tickcast_refused_credentials_total{reason="missing"}'
    (line,) = [line for line in body.decode().splitlines() if line.startswith(name)]
    assert float(line.split()[1]) == counted[name] + 1


async def test_no_credentials_get_into_the_log(exchange: Process) -> None:
    token, key = forged(), DESK.key[:-2]
    with capture_logs() as logs:
        async with (
            serving(exchange, bearer(mint()), auth="required", auth_jwt_secret=SECRET) as served,
            aiohttp.ClientSession(served.url) as http,
        ):
            for path in ("/stats", "/api/v3/ping", "/ws/ethusdt@trade", "/socket.io/", "/"):
                for query in (f"?token={token}", f"?apiKey={key}", f"?EIO=4&transport=polling&token={token}"):
                    await status(http, path + query, {})
                await status(http, path, bearer(token))
                await status(http, path, {"X-MBX-APIKEY": key})
                await handshake_or_error(http, path, token)
    text = repr(logs)
    assert "credentials refused" in text
    assert token not in text
    assert token.split(".")[2] not in text
    assert key not in text


async def handshake_or_error(http: aiohttp.ClientSession, path: str, token: str) -> None:
    if path != "/socket.io/":
        await handshake(http, path, bearer(token))
