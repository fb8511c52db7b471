"""The stand-in's Bybit as a client sees it: the rules of the connection, and that it plays the simulated market."""

import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from exchange.bybit_sockets import PATH
from tests.exchange.client import Client, receive, receive_until
from tests.exchange.conftest import Start


async def ask(socket: ClientConnection, op: str, *args: str) -> dict[str, Any]:
    """Send a request; returns its answer, passing over data."""
    await socket.send(json.dumps({"op": op, "req_id": "7", "args": list(args)}))
    return dict((await receive_until(socket, lambda message: "op" in message))[-1])


async def test_a_subscription_is_confirmed_before_its_first_message(client: Client) -> None:
    socket = await client.socket(PATH)
    await socket.send(json.dumps({"op": "subscribe", "req_id": "1", "args": ["orderbook.50.BTCUSDT"]}))
    answer = await receive(socket)
    assert {key: answer[key] for key in ("success", "ret_msg", "req_id", "op")} == {
        "success": True,
        "ret_msg": "subscribe",
        "req_id": "1",
        "op": "subscribe",
    }
    snapshot = await receive(socket)
    assert (snapshot["topic"], snapshot["type"], len(snapshot["data"]["b"])) == ("orderbook.50.BTCUSDT", "snapshot", 50)
    delta = await receive(socket)
    assert (delta["type"], delta["data"]["u"]) == ("delta", snapshot["data"]["u"] + 1)


@pytest.mark.parametrize(
    ("op", "args", "said"),
    [
        ("subscribe", [f"tickers.S{n}USDT" for n in range(11)], "args size >10"),
        ("subscribe", ["tickers.BTCUSDT", "tickers.NOSUCHUSDT"], "tickers.NOSUCHUSDT"),
        ("subscribe", ["orderbook.5.BTCUSDT"], "orderbook.5.BTCUSDT"),
        ("subscribe", ["kline.7.BTCUSDT"], "kline.7.BTCUSDT"),
        ("subscribe", [], "not supported"),
        ("dance", ["tickers.BTCUSDT"], "not supported"),
    ],
)
async def test_a_request_is_refused_as_a_whole(client: Client, op: str, args: list[str], said: str) -> None:
    socket = await client.socket(PATH)
    answer = await ask(socket, op, *args)
    assert answer["success"] is False
    assert said in answer["ret_msg"]
    assert client.exchange.status()["streams"] == []


async def test_a_ping_is_answered(client: Client) -> None:
    socket = await client.socket(PATH)
    answer = await ask(socket, "ping")
    assert (answer["success"], answer["ret_msg"], answer["req_id"]) == (True, "pong", "7")


async def test_what_is_no_json_is_refused_and_closes_nothing(client: Client) -> None:
    socket = await client.socket(PATH)
    await socket.send("hello")
    assert (await receive(socket))["success"] is False
    assert (await ask(socket, "subscribe", "tickers.BTCUSDT"))["success"] is True


async def test_its_trades_are_those_of_the_spot_market_in_bybits_words(client: Client) -> None:
    binance, bybit = await client.socket("/ws/btcusdt@trade"), await client.socket(PATH)
    await ask(bybit, "subscribe", "publicTrade.BTCUSDT")
    first = (await receive(bybit))["data"][0]
    spot = await receive_until(binance, lambda trade: str(trade["t"]) in first["i"])
    same = spot[-1]
    assert float(same["p"]) == float(first["p"])
    assert float(same["q"]) == float(first["v"])
    assert (same["T"], same["m"]) == (first["T"], first["S"] == "Sell")


async def test_each_subscriber_gets_a_snapshot_of_its_own_and_the_same_changes(client: Client) -> None:
    early, late = await client.socket(PATH), await client.socket(PATH)
    await ask(early, "subscribe", "orderbook.200.BTCUSDT")
    await receive_until(early, lambda message: message["type"] == "delta")
    await ask(late, "subscribe", "orderbook.200.BTCUSDT")
    snapshot = await receive(late)
    delta = await receive(late)
    assert snapshot["type"] == "snapshot"
    assert delta["data"]["u"] == snapshot["data"]["u"] + 1
    assert (await receive_until(early, lambda message: message == delta))[-1] == delta


async def test_nothing_comes_of_what_was_left(client: Client) -> None:
    socket = await client.socket(PATH)
    await ask(socket, "subscribe", "tickers.BTCUSDT", "tickers.ETHUSDT")
    assert (await ask(socket, "unsubscribe", "tickers.BTCUSDT"))["success"] is True
    messages = await receive_until(socket, lambda message: message["topic"] == "tickers.ETHUSDT")
    assert {message["topic"] for message in messages} == {"tickers.ETHUSDT"}


async def test_connections_are_dropped_and_topics_silenced_on_request(client: Client) -> None:
    socket = await client.socket(PATH)
    await client.control("silence", market="bybit", streams="tickers.*")
    await ask(socket, "subscribe", "tickers.BTCUSDT", "publicTrade.BTCUSDT")
    assert {(await receive(socket))["topic"] for _ in range(3)} == {"publicTrade.BTCUSDT"}
    assert (await client.control("drop", market="spot"))["dropped"] == 0
    assert (await client.control("drop", market="bybit"))["dropped"] == 1
    await socket.wait_closed()


async def test_time_symbols_and_candles_are_answered_in_bybits_envelope(client: Client) -> None:
    now = await client.get("/bybit/v5/market/time")
    assert now["retCode"] == 0
    assert now["result"]["timeNano"] == f"{now['time']}000000"
    listed = await client.get("/bybit/v5/market/instruments-info", category="spot", symbol="BTCUSDT")
    assert [one["symbol"] for one in listed["result"]["list"]] == ["BTCUSDT"]
    klines = await client.get("/bybit/v5/market/kline", category="spot", symbol="BTCUSDT", interval="60", limit=3)
    opens = [int(row[0]) for row in klines["result"]["list"]]
    assert opens == sorted(opens, reverse=True)
    assert len(opens) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"category": "linear"}, {"symbol": "NOSUCH"}, {"interval": "7"}, {"limit": "many"}],
)
async def test_a_wrong_parameter_has_bybits_code(client: Client, wrong: dict[str, str]) -> None:
    params = {"category": "spot", "symbol": "BTCUSDT", "interval": "60", **wrong}
    assert (await client.get("/bybit/v5/market/kline", **params))["retCode"] == 10001


async def test_best_bid_and_ask_are_repeated_when_nothing_changes(start: Start) -> None:
    client = await start()
    socket = await client.socket(PATH)
    await ask(socket, "subscribe", "orderbook.1.BTCUSDT")
    messages = [await receive(socket) for _ in range(5)]
    assert {message["type"] for message in messages} == {"snapshot"}
    ids = [message["data"]["u"] for message in messages]
    assert ids == list(range(ids[0], ids[0] + 5))
