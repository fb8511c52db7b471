"""A replica that serves Bybit's market beside Binance's, and one that does not."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect

from market.errors import MarketError
from market.streams import Market
from server.history.klines import KlineQuery
from tests.server.conftest import Client, Served
from tests.server.json_client import JsonClient

START_MS = 1_700_000_000_000
WITH_BYBIT = pytest.mark.parametrize("served", [{"venues": ("binance", "bybit")}], indirect=True)


@pytest.fixture
async def io(served: Served) -> AsyncIterator[Client]:
    """A Socket.IO client."""
    connected = Client()
    await connected.connect(served.url, "websocket")
    yield connected
    await connected.io.disconnect()


@WITH_BYBIT
async def test_bybits_symbols_are_listed_and_checked(served: Served, io: Client) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as http:
        markets = (await http.get("/symbols")).json()["data"]["markets"]
    assert {market: len(symbols) for market, symbols in markets.items()} == {"spot": 8, "futures": 8, "bybit": 8}
    reply = await io.call("subscribe", {"streams": ["bybit:btcusdt@trade", "bybit:btcusd@trade", "bybit:eth@ticker"]})
    assert [entry["stream"] for entry in reply["subscribed"]] == ["bybit:btcusdt@trade"]
    told = [(entry["code"], entry["message"], entry["suggestion"]) for entry in reply["rejected"]]
    assert told == [
        ("unknown_symbol", "Unknown bybit symbol: BTCUSD. Did you mean BTCUSDT?", "BTCUSDT"),
        ("unknown_symbol", "Unknown bybit symbol: ETH. Did you mean ETHUSDT?", "ETHUSDT"),
    ]


@WITH_BYBIT
async def test_bybits_messages_carry_their_markets_name(served: Served, io: Client) -> None:
    await io.call("subscribe", {"streamType": "trade", "symbols": ["BTCUSDT"], "market": "bybit"})
    await served.publish("spot:btcusdt@trade")
    (message,) = await served.publish("bybit:btcusdt@trade", b'{"e":"trade","t":7}')
    await io.call("subscriptions")
    assert [(one["stream"], one["data"]) for one in io.named("trade")] == [
        ("bybit:btcusdt@trade", {"e": "trade", "t": 7})
    ]
    assert io.named("trade")[0]["cursor"] == message.cursor


@WITH_BYBIT
async def test_all_of_bybits_symbols_are_one_subscription(served: Served, io: Client) -> None:
    reply = await io.call("subscribe", {"streams": ["bybit:*@bookTicker"]})
    assert reply["rejected"] == []
    for symbol in ("btcusdt", "ethusdt"):
        await served.publish(f"bybit:{symbol}@bookTicker")
        await served.publish(f"spot:{symbol}@bookTicker")
    await io.call("subscriptions")
    assert [one["stream"] for one in io.named("bookTicker")] == ["bybit:btcusdt@bookTicker", "bybit:ethusdt@bookTicker"]


@WITH_BYBIT
async def test_bybits_partial_depth_reads_like_spots_to_json_clients(served: Served) -> None:
    async with connect(served.url.replace("http", "ws", 1)) as socket:
        client = JsonClient(socket)
        asked = {"streamType": "depth", "symbols": ["BTCUSDT"], "options": {"level": 5}, "market": "bybit"}
        await client.ask("subscribed", type="subscribe", **asked)
        await served.publish("bybit:btcusdt@depth5", b'{"lastUpdateId":5,"bids":[["1","2"]],"asks":[]}')
        (message,) = await client.wait_for("depth")
        assert message["market"] == "bybit"
        told = {key: message["data"][key] for key in ("e", "s", "U", "u", "b", "a")}
        assert told == {"e": "depthUpdate", "s": "BTCUSDT", "U": 5, "u": 5, "b": [["1", "2"]], "a": []}


@WITH_BYBIT
async def test_bybits_candles_come_through_every_door(served: Served, io: Client) -> None:
    asked = {"symbol": "BTCUSDT", "interval": "1h", "limit": 3, "startTime": START_MS, "market": "bybit"}
    reply = await io.call("getHistoricalKlines", asked)
    opens = [row[0] for row in reply["klines"]]
    assert (reply["ok"], reply["market"]) == (True, "bybit")
    assert opens == [1_700_002_800_000 + hour * 3_600_000 for hour in range(3)]
    assert reply["klines"][0][8:] == [None, None, None, "0"]
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as http:
        answer = await http.get(
            "/klines/BTCUSDT", params={"interval": "1h", "limit": 3, "market": "bybit", "startTime": START_MS}
        )
        assert answer.json()["data"]["klines"] == reply["klines"]
        # Binance's own door knows Binance's markets only.
        spot = await http.get(
            "/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1h", "limit": 3, "startTime": START_MS}
        )
        assert [row[0] for row in spot.json()] == opens
        assert all(isinstance(row[8], int) for row in spot.json())
    async with connect(served.url.replace("http", "ws", 1)) as socket:
        client = JsonClient(socket)
        await client.send(type="getHistoricalKlines", **asked)
        (told,) = await client.wait_for("historicalKlines")
        assert json.dumps(reply["klines"][0][:8])[1:-1] in json.dumps(told)


@WITH_BYBIT
async def test_candles_that_bybit_has_not_are_refused(served: Served, io: Client) -> None:
    async def code(**wrong: str) -> str:
        reply = await io.call(
            "getHistoricalKlines", {"symbol": "BTCUSDT", "interval": "1h", "market": "bybit", **wrong}
        )
        return str(reply["code"])

    assert await code(interval="3d") == "bad_request"
    assert await code(interval="1s") == "bad_request"
    assert await code(symbol="BTCUSD") == "unknown_symbol"


async def test_without_bybit_among_the_venues_its_streams_are_refused(served: Served, io: Client) -> None:
    reply = await io.call("subscribe", {"streams": ["bybit:btcusdt@trade", "bybit:*@trade", "spot:btcusdt@trade"]})
    assert [entry["stream"] for entry in reply["subscribed"]] == ["spot:btcusdt@trade"]
    assert [(entry["code"], entry["message"]) for entry in reply["rejected"]] == [
        ("invalid_stream", "This server does not serve bybit")
    ] * 2
    candles = await io.call("getHistoricalKlines", {"symbol": "BTCUSDT", "interval": "1h", "market": "bybit"})
    assert candles["code"] == "invalid_stream"
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as http:
        assert set((await http.get("/symbols")).json()["data"]["markets"]) == {"spot", "futures"}


@pytest.mark.parametrize("interval", ["1s", "8h", "3d"])
def test_each_market_has_its_own_intervals(interval: str) -> None:
    KlineQuery(Market.SPOT, "BTCUSDT", interval).check()
    with pytest.raises(MarketError):
        KlineQuery(Market.BYBIT, "BTCUSDT", interval).check()
