import itertools
import json
import time

import pytest

from exchange.budget import Budget
from market.intervals import SPOT_INTERVALS, next_open_time
from market.streams import Market
from market.symbols import Catalog
from tests.exchange.client import Client, ask, receive_until


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


async def test_the_last_row_is_the_candle_that_the_stream_shows(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@kline_1s")
    closed = (await receive_until(socket, lambda message: message["k"]["x"]))[-1]["k"]
    following = (await receive_until(socket, lambda message: message["k"]["x"]))[-1]["k"]
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1s", startTime=closed["t"], limit=2)
    for row, k in zip(rows, (closed, following), strict=True):
        assert row == [
            *(k[key] for key in "tohlcvTqnVQ"),
            "0",
        ]


async def test_tickers_agree_with_klines_and_trades(client: Client) -> None:
    ticker = await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT")
    assert list(ticker)[:5] == ["symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice"]
    assert float(ticker["bidPrice"]) < float(ticker["askPrice"])
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=ticker["openTime"], limit=1000)
    rows += await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=rows[-1][0] + 1, limit=1000)
    past = sum(round(float(row[5]) * 10**8) for row in rows[:-1])
    assert round(float(ticker["volume"]) * 10**8) >= past
    assert rows[0][1] == ticker["openPrice"]
    assert min(float(row[3]) for row in rows) == float(ticker["lowPrice"])
    assert ticker["count"] == ticker["lastId"] - ticker["firstId"] + 1
    futures = await client.get("/fapi/v1/ticker/24hr", symbol="BTCUSDT")
    assert not {"prevClosePrice", "bidPrice", "askPrice"} & futures.keys()


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
    ],
)
async def test_bad_requests_get_binances_codes(
    client: Client, path: str, params: dict[str, str], code: int, message: str
) -> None:
    status, found, text = await client.error(path, **params)
    assert (status, found) == (400, code)
    assert text.startswith(message)


async def test_an_unknown_path_is_not_found(client: Client) -> None:
    assert (await client.http.get("/api/v3/nothing")).status_code == 404
    assert (await client.http.get("/api/v3/premiumIndex")).status_code == 404


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
    ],
)
async def test_every_answer_tells_the_weight_used(client: Client, path: str, weight: int) -> None:
    response = await client.http.get(path)
    # A minute that ends between two requests begins the count anew: one request, one fresh exchange.
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


async def test_over_budget_comes_429_and_then_the_ban(client: Client) -> None:
    statuses: list[int] = []
    refused = banned = None
    for _ in range(100):
        response = await client.http.get("/api/v3/depth", params={"symbol": "BTCUSDT", "limit": 5000})
        statuses.append(response.status_code)
        if response.status_code == 429 and refused is None:
            refused = response
        if response.status_code == 418:
            banned = response
            break
    assert statuses[0] == 200
    assert refused is not None
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["code"] == -1003
    assert "6000 request weight per 1 MINUTE" in refused.json()["msg"]
    assert banned is not None
    assert int(banned.headers["Retry-After"]) == 120
    assert banned.json()["msg"].startswith("Way too much request weight used; IP banned until")
    assert (await client.http.get("/fapi/v1/ping")).status_code == 200


def test_bans_grow_and_end() -> None:
    budget, now = Budget(), 600_000.0

    def exhaust(at: float) -> int:
        for _ in range(40):
            verdict = budget.spend(Market.FUTURES, "a", 2_400, at)
            if verdict.status == 418:
                return verdict.retry_after_s
        raise AssertionError("no ban")

    assert exhaust(now) == 120
    assert budget.spend(Market.FUTURES, "a", 1, now + 119).status == 418
    assert budget.spend(Market.FUTURES, "b", 1, now).status == 200
    assert budget.spend(Market.FUTURES, "a", 1, now + 121).status == 200
    assert exhaust(now + 180) == 240


def test_a_new_minute_is_a_new_budget() -> None:
    budget = Budget()
    assert budget.spend(Market.FUTURES, "a", 2_400, 60.0).status == 200
    refused = budget.spend(Market.FUTURES, "a", 1, 75.0)
    assert (refused.status, refused.retry_after_s, refused.used) == (429, 46, 2_400)
    assert budget.spend(Market.FUTURES, "a", 1, 120.0).used == 1


async def test_a_non_ascii_symbol_in_a_request_is_just_unknown(client: Client) -> None:
    assert (await client.error("/fapi/v1/klines", symbol="牛来USDT", interval="1m"))[1] == -1121
    socket = await client.socket("/market/ws")
    assert await ask(socket, "SUBSCRIBE", ["牛来usdt@aggTrade"]) == {"result": None, "id": 1}
    assert json.loads(json.dumps((await ask(socket, "LIST_SUBSCRIPTIONS"))["result"])) == ["牛来usdt@aggTrade"]
