"""Binance's REST endpoints, as the exchange stand-in and the Binance door must both answer them."""

import itertools
import json
import time

import pytest

from market.intervals import SPOT_INTERVALS, next_open_time
from market.streams import Market
from market.symbols import Catalog
from tests.exchange.client import Client, ask, receive_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_exchange_info_is_a_catalog_of_both_markets(client: Client) -> None:
    for market, path in ((Market.SPOT, "/api/v3/exchangeInfo"), (Market.FUTURES, "/fapi/v1/exchangeInfo")):
        catalog = Catalog.from_exchange_info(market, (await client.http.get(path)).content)
        assert catalog.trading == ("BNBUSDT", "BTCUSDT", "ETHUSDT")
        btc = catalog.get("BTCUSDT")
        assert btc is not None
        assert btc.tick_size == ("0.01000000" if market is Market.SPOT else "0.10")
        assert btc.base_asset == "BTC"


async def test_exchange_info_can_be_narrowed_on_spot(client: Client) -> None:
    one = await client.get("/api/v3/exchangeInfo", symbol="ETHUSDT")
    assert [symbol["symbol"] for symbol in one["symbols"]] == ["ETHUSDT"]
    two = await client.get("/api/v3/exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')
    assert [symbol["symbol"] for symbol in two["symbols"]] == ["ETHUSDT", "BTCUSDT"]
    assert (await client.get("/api/v3/exchangeInfo", symbolStatus="BREAK"))["symbols"] == []
    assert (await client.get("/api/v3/exchangeInfo", permissions="MARGIN"))["symbols"] == []


async def test_ping_and_time_answer_on_both_markets(client: Client) -> None:
    for prefix in ("/api/v3", "/fapi/v1"):
        assert await client.get(f"{prefix}/ping") == {}
        assert abs((await client.get(f"{prefix}/time"))["serverTime"] / 1000 - time.time()) < 5


@pytest.mark.parametrize("interval", sorted(SPOT_INTERVALS))
async def test_klines_reach_up_to_the_open_candle(client: Client, interval: str) -> None:
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval=interval, limit=50)
    now = (await client.get("/api/v3/time"))["serverTime"]
    assert len(rows) == 50
    assert all(len(row) == 12 for row in rows)
    for row, following in itertools.pairwise(rows):
        assert row[6] + 1 == following[0]
        assert next_open_time(interval, row[0]) == following[0]
    assert rows[-1][0] <= now
    assert rows[-1][6] >= now - 2_000


async def test_klines_obey_start_end_and_limit(client: Client) -> None:
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m")
    assert len(rows) == 500
    start = rows[-20][0]
    from_start = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=start, limit=5)
    assert from_start == rows[-20:-15]
    to_end = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", endTime=rows[-11][0], limit=5)
    assert to_end == rows[-15:-10]
    both = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=start, endTime=rows[-18][0])
    assert both == rows[-20:-17]
    assert len(await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1001)) == 1000
    assert len(await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1500)) == 1500


async def test_klines_of_a_continuous_contract_are_its_perpetuals(client: Client) -> None:
    query = {"interval": "1h", "limit": 20, "endTime": 1_795_000_000_000}
    pair = {"pair": "BTCUSDT", "contractType": "PERPETUAL"}
    rows = await client.get("/fapi/v1/continuousKlines", **pair, **query)
    assert rows == await client.get("/fapi/v1/klines", symbol="BTCUSDT", **query)
    assert len(rows) == 20
    quarter = pair | {"contractType": "CURRENT_QUARTER"}
    assert await client.get("/fapi/v1/continuousKlines", **quarter, **query) == []


async def test_lists_come_for_many_symbols_and_objects_for_one(client: Client) -> None:
    for name in ("24hr", "price", "bookTicker"):
        assert isinstance(await client.get(f"/api/v3/ticker/{name}", symbol="BTCUSDT"), dict)
        assert len(await client.get(f"/api/v3/ticker/{name}", symbols='["BTCUSDT","ETHUSDT"]')) == 2
        assert len(await client.get(f"/api/v3/ticker/{name}")) == 3
        assert len(await client.get(f"/fapi/v1/ticker/{name}")) == 3
    assert "time" in await client.get("/fapi/v1/ticker/bookTicker", symbol="BTCUSDT")
    mini = await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT", type="MINI")
    assert "weightedAvgPrice" not in mini
    premium = await client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert premium["nextFundingTime"] > premium["time"]
    assert len(await client.get("/fapi/v1/premiumIndex")) == 3


async def test_depth_limits(client: Client) -> None:
    assert len((await client.get("/api/v3/depth", symbol="BTCUSDT"))["bids"]) == 100
    assert len((await client.get("/api/v3/depth", symbol="BTCUSDT", limit=7))["asks"]) == 7
    assert len((await client.get("/api/v3/depth", symbol="BTCUSDT", limit=99_999))["asks"]) > 100
    futures = await client.get("/fapi/v1/depth", symbol="BTCUSDT", limit=5)
    assert list(futures) == ["lastUpdateId", "E", "T", "bids", "asks"]
    assert await client.error("/fapi/v1/depth", symbol="BTCUSDT", limit=7) == (
        400,
        -4021,
        "7 is not valid depth limit.",
    )


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        ("/api/v3/klines", {"symbol": "NOPEUSDT", "interval": "1m"}, -1121, "Invalid symbol."),
        ("/fapi/v1/klines", {"symbol": "NOPEUSDT", "interval": "1m"}, -1121, "Invalid symbol."),
        ("/fapi/v1/ticker/24hr", {"symbol": "BTCUSD_201225"}, -1121, "Invalid symbol."),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120, "Invalid interval."),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1s"}, -1120, "Invalid interval."),
        ("/api/v3/klines", {"symbol": "BTCUSDT"}, -1102, "Mandatory parameter 'interval'"),
        ("/api/v3/depth", {}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1m"}, -1100, "Illegal characters found in parameter"),
        (
            "/api/v3/depth",
            {"symbol": "BTCUSDT", "limit": "ten"},
            -1100,
            "Illegal characters found in parameter 'limit'",
        ),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"}, -1100, "Illegal characters"),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "0"}, -1130, "Data sent for parameter"),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "1501"}, -1130, "Data sent for"),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": ""}, -1105, "Parameter 'limit' was empty."),
        ("/api/v3/ticker/price", {"symbols": "BTCUSDT"}, -1100, "Illegal characters found in parameter 'symbols'"),
        ("/api/v3/ticker/price", {"symbols": '["NOPE"]'}, -1121, "Invalid symbol."),
        ("/api/v3/ticker/price", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128, "Combination of optional"),
        ("/api/v3/ping", {"a": "1"}, -1101, "Too many parameters; expected '0' and received '1'."),
        ("/api/v3/ticker/24hr", {"type": "HUGE"}, -1130, "Data sent for parameter 'type' is not valid."),
        (
            "/api/v3/ticker/price",
            {"symbolStatus": "ODD"},
            -1130,
            "Data sent for parameter 'symbolStatus' is not valid.",
        ),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "15"}, -1130, "Data sent for parameter"),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "CET"}, -1130, "Data sent for"),
        (
            "/fapi/v1/continuousKlines",
            {"contractType": "PERPETUAL", "interval": "1m"},
            -1102,
            "Mandatory parameter 'pair'",
        ),
        (
            "/fapi/v1/continuousKlines",
            {"pair": "BTCUSDT", "interval": "1m"},
            -1102,
            "Mandatory parameter 'contractType'",
        ),
        (
            "/fapi/v1/continuousKlines",
            {"pair": "BTCUSDT", "contractType": "WEEKLY", "interval": "1m"},
            -1130,
            "Data sent for parameter 'contractType'",
        ),
        (
            "/fapi/v1/continuousKlines",
            {"pair": "NOPEUSDT", "contractType": "PERPETUAL", "interval": "1m"},
            -1121,
            "Invalid symbol.",
        ),
        ("/fapi/v1/openInterest", {}, -1102, "Mandatory parameter 'symbol' was not sent"),
        ("/api/v3/avgPrice", {"symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100, "Illegal characters found in parameter"),
        ("/api/v3/trades", {"symbol": "BTCUSDT", "limit": "0"}, -1130, "Data sent for parameter 'limit'"),
    ],
)
async def test_bad_requests_get_binances_codes(
    client: Client, path: str, params: dict[str, str], code: int, message: str
) -> None:
    status, found, text = await client.error(path, **params)
    assert (status, found) == (400, code)
    assert text.startswith(message)


@pytest.mark.parametrize("path", ["/api/v3/nothing", "/api/v3/premiumIndex", "/fapi/v1/avgPrice", "/fapi/v2/klines"])
async def test_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    assert await client.error(path) == (404, -5000, f"Path {path}, Method GET is invalid")


async def test_only_reading_is_allowed(client: Client) -> None:
    response = await client.http.post("/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m"})
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert response.json()["code"] == -5000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v3/account"),
        ("POST", "/api/v3/order"),
        ("POST", "/fapi/v1/listenKey"),
        ("GET", "/fapi/v3/account"),
    ],
)
async def test_what_needs_a_key_is_refused_as_with_a_wrong_one(client: Client, method: str, path: str) -> None:
    response = await client.http.request(method, path, headers={"X-MBX-APIKEY": "x" * 64})
    assert response.status_code == 401
    assert response.json() == {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}


async def test_a_markets_prefix_may_stand_before_every_path(client: Client) -> None:
    query = {"symbol": "BTCUSDT"}
    assert "openInterest" in await client.get("/futures/fapi/v1/openInterest", **query)
    assert "prevClosePrice" in await client.get("/spot/api/v3/ticker/24hr", **query)
    assert "time" in await client.get("/futures/fapi/v2/ticker/price", **query)
    assert (await client.error("/futures/fapi/v1/klines", **query))[1] == -1102


async def test_recent_trades_are_those_of_the_streams(client: Client) -> None:
    socket = await client.socket("/stream?streams=btcusdt@trade/btcusdt@aggTrade")
    found = await receive_until(socket, lambda message: message["stream"].endswith("aggTrade"))
    told = found[-1]["data"]
    await receive_until(socket, lambda message: message["data"].get("t", 0) > told["l"])
    trades = {row["id"]: row for row in await client.get("/api/v3/trades", symbol="BTCUSDT", limit=1000)}
    assert {told["f"], told["l"]} <= trades.keys()
    first = trades[told["f"]]
    assert (first["price"], first["isBuyerMaker"], first["time"]) == (told["p"], told["m"], told["T"])
    rows = await client.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=told["a"], limit=1)
    assert rows == [{key: told[key] for key in "apqflTmM"}]
    latest = await client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=3)
    assert [row["a"] for row in latest] == list(range(latest[0]["a"], latest[0]["a"] + 3))
    since = await client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=latest[1]["T"], endTime=latest[1]["T"])
    assert latest[1] in since
    assert len(await client.get("/fapi/v1/trades", symbol="BTCUSDT", limit=2)) == 2


async def test_average_price_and_open_interest(client: Client) -> None:
    average = await client.get("/api/v3/avgPrice", symbol="BTCUSDT")
    assert average["mins"] == 5
    last = float((await client.get("/api/v3/ticker/price", symbol="BTCUSDT"))["price"])
    assert abs(float(average["price"]) / last - 1) < 0.05
    interest = await client.get("/fapi/v1/openInterest", symbol="BTCUSDT")
    assert float(interest["openInterest"]) > 0
    assert interest["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(("zone", "hour"), [("0", 0), ("8", 16), ("-1:00", 1), ("+05:45", 18.25)])
async def test_days_begin_where_the_time_zone_says(client: Client, zone: str, hour: float) -> None:
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1d", limit=3, timeZone=zone)
    assert {row[0] % 86_400_000 / 3_600_000 for row in rows} == {hour}
    assert [row[6] + 1 for row in rows[:-1]] == [row[0] for row in rows[1:]]
    assert rows[-1][6] >= rows[-1][0]


async def test_ui_klines_are_klines(client: Client) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1h", "limit": 4}
    assert (await client.get("/api/v3/uiKlines", **query))[:3] == (await client.get("/api/v3/klines", **query))[:3]


async def test_microseconds_are_refused(client: Client) -> None:
    response = await client.http.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert (response.status_code, response.json()["code"]) == (400, -1130)
    response = await client.http.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "MILLISECOND"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("/api/v3/ping", 1),
        ("/api/v3/exchangeInfo", 20),
        ("/fapi/v1/exchangeInfo", 1),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m", 2),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=99", 1),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m", 5),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1500", 10),
        ("/api/v3/depth?symbol=BTCUSDT", 5),
        ("/api/v3/depth?symbol=BTCUSDT&limit=5000", 250),
        ("/fapi/v1/depth?symbol=BTCUSDT", 10),
        ("/api/v3/ticker/24hr?symbol=BTCUSDT", 2),
        ("/api/v3/ticker/24hr", 80),
        ("/fapi/v1/ticker/24hr", 40),
        ("/api/v3/ticker/price", 4),
        ("/fapi/v1/premiumIndex", 10),
        ("/api/v3/klines?symbol=NOPE&interval=1m", 2),
        ("/api/v3/depth?symbol=BTCUSDT&limit=x", 1),
        ("/api/v3/trades?symbol=BTCUSDT", 25),
        ("/api/v3/aggTrades?symbol=BTCUSDT", 4),
        ("/fapi/v1/trades?symbol=BTCUSDT", 5),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT", 20),
        ("/fapi/v2/ticker/price", 2),
    ],
)
async def test_every_answer_tells_the_weight_used(client: Client, path: str, weight: int) -> None:
    ping = "/api/v3/ping" if path.startswith("/api") else "/fapi/v1/ping"
    while True:
        minute = time.time() // 60
        before = int((await client.http.get(ping)).headers["X-MBX-USED-WEIGHT-1M"])
        response = await client.http.get(path)
        if time.time() // 60 == minute:  # or the count began anew in between
            break
    assert int(response.headers["X-MBX-USED-WEIGHT-1M"]) == before + weight


async def test_a_non_ascii_symbol_in_a_request_is_just_unknown(client: Client) -> None:
    assert (await client.error("/fapi/v1/klines", symbol="牛来USDT", interval="1m"))[1] == -1121
    socket = await client.socket("/market/ws")
    assert await ask(socket, "SUBSCRIBE", ["牛来usdt@aggTrade"]) == {"result": None, "id": 1}
    assert json.loads(json.dumps((await ask(socket, "LIST_SUBSCRIPTIONS"))["result"])) == ["牛来usdt@aggTrade"]
