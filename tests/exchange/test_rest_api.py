"""What the stand-in answers beyond the protocol: tests/server/binance has that for both servers."""

from binance.budget import Budget
from market.streams import Market
from tests.exchange.client import Client, early_in_the_minute, receive_until


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
    await early_in_the_minute()
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
    budget, now = Budget(bans=True), 600_000.0

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
    budget = Budget(bans=True)
    assert budget.spend(Market.FUTURES, "a", 2_400, 60.0).status == 200
    refused = budget.spend(Market.FUTURES, "a", 1, 75.0)
    assert (refused.status, refused.retry_after_s, refused.used) == (429, 46, 2_400)
    assert budget.spend(Market.FUTURES, "a", 1, 120.0).used == 1
