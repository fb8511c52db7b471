"""The JSON door on the wire: clients of documents 000, 001 and 004, alone and on one connection."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from market.messages import Message
from server.doors import json_ws
from server.doors.json_encodings import TypedMessages
from tests.market.samples import sample
from tests.server.conftest import Served, until
from tests.server.json_client import JsonClient, json_client

KLINE = sample("spot:btcusdt@kline_1m")
TICKER = sample("spot:btcusdt@ticker")
DEPTH = sample("spot:btcusdt@depth5")


def book(bid: str, ask: str) -> bytes:
    return msgspec.json.encode({"u": 1, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1"})


@pytest.fixture
async def client(served: Served) -> AsyncIterator[JsonClient]:
    async with json_client(served.url) as connected:
        yield connected


def test_a_client_is_greeted_as_document_001_says(client: JsonClient) -> None:
    greeting = client.messages[0]
    assert set(greeting) == {"type", "clientId", "message"}
    assert re.fullmatch(r"client_\d{13}_\w+", greeting["clientId"])
    assert (greeting["type"], greeting["message"]) == ("connection", "Connected to Future Socket NATS server")


async def test_a_typed_subscription_is_acknowledged_as_sent_and_then_served(served: Served, client: JsonClient) -> None:
    request = {"streamType": "kline", "symbols": ["btcusdt", "ETHUSDT"], "options": {"interval": "1m"}}
    assert await client.ask("subscribed", type="subscribe", **request) == {"type": "subscribed", **request}
    await served.publish("btcusdt@kline_1m", KLINE)
    (message,) = await client.wait_for("kline")
    assert set(message) == {"type", "data"}
    assert message["data"]["k"]["s"] == "BTCUSDT"  # 001
    assert message["data"]["data"]["k"]["s"] == "BTCUSDT"  # 000
    assert await client.ask("unsubscribed", type="unsubscribe", **request) == {"type": "unsubscribed", **request}
    await served.publish("btcusdt@kline_1m", KLINE)
    await client.settle()
    assert len(client.of_type("kline")) == 1


async def test_a_raw_subscription_brings_the_exchange_s_bytes(served: Served, client: JsonClient) -> None:
    names = ["btcusdt@kline_1m", "ethusdt@depth20"]
    assert await client.ask("subscribed", type="subscribe", rawStreams=names) == {
        "type": "subscribed", "rawStreams": names,
    }  # fmt: skip
    await served.publish("btcusdt@kline_1m", KLINE)
    await served.publish("ethusdt@depth20", DEPTH)
    await until(lambda: client.of_stream("ethusdt@depth20"), "depth")
    assert client.texts[-2].endswith(b'"data":' + KLINE + b"}}")
    assert client.texts[-1].endswith(b'"data":' + DEPTH + b"}}")
    assert client.of_stream("btcusdt@kline_1m")[0]["data"]["k"]["i"] == "1m"


async def test_the_snapshot_comes_behind_the_acknowledgement_and_before_live_messages(served: Served) -> None:
    """Clients that subscribe while messages pour in see their snapshot's successor next."""
    done = asyncio.Event()
    numbers = iter(range(1, 10**9))

    async def pour() -> None:
        while not done.is_set():
            await served.publish("btcusdt@ticker", b'{"E":%d}' % next(numbers))
            await asyncio.sleep(0)

    pouring = asyncio.create_task(pour())
    for _ in range(5):
        async with json_client(served.url) as client:
            await client.ask("subscribed", type="subscribe", streamType="ticker", symbols=["btcusdt"])
            await client.wait_for("ticker", 20)
            assert [message["type"] for message in client.messages[:3]] == ["connection", "subscribed", "ticker"]
            seen = [message["data"]["E"] for message in client.of_type("ticker")]
            assert seen == list(range(seen[0], seen[0] + len(seen)))
    done.set()
    await pouring


async def test_typed_and_raw_subscriptions_of_one_stream_get_both_forms_once_each(
    served: Served, client: JsonClient
) -> None:
    for _ in range(2):
        await client.ask("subscribed", type="subscribe", streamType="kline", symbols=["btcusdt"])
        await client.ask("subscribed", type="subscribe", rawStreams=["btcusdt@kline_1m"])
    await client.ask("subscribed", type="subscribe", rawStreams=["spot:btcusdt@kline_1m"])
    await served.publish("btcusdt@kline_1m", KLINE)
    await until(lambda: client.of_stream("spot:btcusdt@kline_1m"), "the last of them")
    await client.settle()
    assert (len(client.of_type("kline")), len(client.of_stream("btcusdt@kline_1m"))) == (1, 1)


async def test_all_three_documents_are_served_on_one_connection(served: Served, client: JsonClient) -> None:
    await client.ask("subscribed", type="subscribe", streamType="kline", symbols=["btcusdt"])
    await client.ask("subscribed", type="subscribe", rawStreams=["btcusdt@kline_1m"])
    assert await client.ask("SUBSCRIBED", type="SUBSCRIBE", symbol="BTC") == {"type": "SUBSCRIBED", "symbol": "BTC"}
    await served.publish("btcusdt@kline_1m", KLINE)
    await served.publish("btcusdt@bookTicker", book("65000.12000000", "65000.13000000"))
    (price,) = await client.wait_for("PRICE_UPDATE")
    time_s = price["data"].pop("time")
    assert price == {
        "type": "PRICE_UPDATE",
        "data": {"symbol": "BTC", "bidPrice": 650001200, "askPrice": 650001300, "decimals": 4},
    }
    assert isinstance(time_s, int)
    assert (len(client.of_type("kline")), len(client.of_stream("btcusdt@kline_1m"))) == (1, 1)
    everything = {"streamType": "all", "symbols": ["ALL"]}
    assert await client.ask("unsubscribed", type="unsubscribe", **everything) == {"type": "unsubscribed", **everything}
    before = len(client.messages)
    await served.publish("btcusdt@kline_1m", KLINE)
    await served.publish("btcusdt@bookTicker", book("1", "2"))
    await client.settle()
    assert [message["type"] for message in client.messages[before:]] == ["pong"]


async def test_document_004s_prices_come_at_its_pace_and_the_latest_at_once(served: Served, client: JsonClient) -> None:
    await client.ask("SUBSCRIBED", type="SUBSCRIBE", symbols=["BTC", "eth"], throttle=100)
    assert [message["symbol"] for message in await client.wait_for("SUBSCRIBED", 2)] == ["BTC", "ETH"]
    for price in range(1, 51):
        await served.publish("btcusdt@bookTicker", book(str(price), str(price)))
    await until(lambda: [p["data"]["bidPrice"] for p in client.of_type("PRICE_UPDATE")][-1:] == [500_000], "the latest")
    assert len(client.of_type("PRICE_UPDATE")) < 10
    async with json_client(served.url) as other:
        await other.ask("SUBSCRIBED", type="SUBSCRIBE", asset="BTC")
        await other.ask("PONG", type="PING")
        assert [message["type"] for message in other.messages[1:]] == ["SUBSCRIBED", "PRICE_UPDATE", "PONG"]
        assert other.messages[2]["data"]["bidPrice"] == 500_000
    answer = await client.ask("UNSUBSCRIBED", type="UNSUBSCRIBE", symbol="BTC")
    assert answer == {"type": "UNSUBSCRIBED", "symbol": "BTC"}


async def test_all_symbols_are_one_subscription(served: Served, client: JsonClient) -> None:
    await client.ask("subscribed", type="subscribe", streamType="miniTicker", symbols=["all"])
    for symbol in ("btcusdt", "ethusdt", "solusdt"):
        await served.publish(f"{symbol}@miniTicker", b'{"s":"%b"}' % symbol.encode())
    await client.wait_for("miniTicker", 3)
    assert [message["data"]["stream"] for message in client.of_type("miniTicker")] == [
        "btcusdt@miniTicker", "ethusdt@miniTicker", "solusdt@miniTicker",
    ]  # fmt: skip
    async with json_client(served.url) as other:
        await other.ask("subscribed", type="subscribe", streamType="miniTicker", symbols=["ALL"])
        await other.wait_for("miniTicker", 3)
        assert {message["data"]["s"] for message in other.of_type("miniTicker")} == {"btcusdt", "ethusdt", "solusdt"}
    error = await client.ask("error", type="unsubscribe", streamType="miniTicker", symbols=["btcusdt"])
    assert error["message"] == "Subscribed to ALL symbols: unsubscribe ALL"
    await client.ask("unsubscribed", type="unsubscribe", streamType="miniTicker", symbols=["ALL"])
    await served.publish("btcusdt@miniTicker", b'{"s":"late"}')
    await client.settle()
    assert len(client.of_type("miniTicker")) == 3


async def test_global_liquidations_and_mark_prices_are_futures(served: Served, client: JsonClient) -> None:
    await client.ask("subscribed", type="subscribe", streamType="liquidation", symbols=["_global_"])
    request = {"streamType": "markPrice", "symbols": ["btcusdt"], "options": {"updateSpeed": "1s"}}
    await client.ask("subscribed", type="subscribe", **request)
    await served.publish("futures:*@forceOrder", sample("futures:btcusdt@forceOrder"))
    await served.publish("futures:btcusdt@markPrice@1s", sample("futures:btcusdt@markPrice@1s"))
    (liquidation,) = await client.wait_for("liquidation")
    (mark,) = await client.wait_for("markPrice")
    assert liquidation["data"]["o"]["s"] == "BTCUSDT"
    assert (liquidation["data"]["stream"], liquidation["market"]) == ("!forceOrder@arr", "futures")
    assert (mark["data"]["e"], mark["market"]) == ("markPriceUpdate", "futures")


async def test_each_unknown_symbol_is_told_and_the_known_ones_are_served(served: Served, client: JsonClient) -> None:
    symbols = ["btcusdt", "btcusd", "no such"]
    answer = await client.ask("subscribed", type="subscribe", streamType="ticker", symbols=symbols)
    assert answer["symbols"] == ["btcusdt"]
    unknown, invalid = client.of_type("error")
    assert (unknown["code"], unknown["symbol"], unknown["suggestion"]) == ("unknown_symbol", "btcusd", "BTCUSDT")
    assert (invalid["code"], invalid["symbol"]) == ("invalid_symbol", "no such")
    await client.send(type="SUBSCRIBE", symbol="QQQQQQ")
    error = (await client.wait_for("ERROR"))[0]
    assert (error["message"], error["code"], error["symbol"]) == (
        "Unsupported symbol: QQQQQQ", "unknown_symbol", "QQQQQQ",
    )  # fmt: skip
    assert client.of_type("SUBSCRIBED") == []


async def test_refusals_have_the_original_s_words_a_code_and_the_client_s_manner(client: JsonClient) -> None:
    assert await client.ask("error", type="nonsense") == {
        "type": "error", "message": "Unknown message type: nonsense", "code": "unknown_event",
    }  # fmt: skip
    assert await client.ask("ERROR", type="NONSENSE") == {
        "type": "ERROR", "message": "Unknown message type", "code": "unknown_event",
    }  # fmt: skip
    await client.socket.send("{not json")
    assert (await client.wait_for("ERROR", 2))[1]["message"] == "Invalid message format"
    await client.settle()
    await client.socket.send(b"\xff\xfe")
    assert (await client.wait_for("error", 2))[1]["code"] == "bad_request"
    error = await client.ask("error", type="unsubscribe", streamType="kline", symbols=["btcusdt"])
    assert error["message"] == "Not subscribed to stream type: kline"


async def test_a_message_that_is_too_large_ends_the_connection(client: JsonClient) -> None:
    await client.socket.send("x" * 1_000_001)
    assert (await client.wait_closed())[0] == 1009


async def test_a_client_has_at_most_1024_streams(client: JsonClient) -> None:
    intervals = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
    symbols = ["btcusdt", "ethusdt", "bnbusdt", "solusdt", "adausdt"]
    kinds = [f"kline_{interval}{zone}" for interval in intervals for zone in ("", "@+08:00")]
    kinds += ["trade", "aggTrade", "ticker", "miniTicker", "bookTicker", "depth", "depth5", "depth10", "depth20"]
    names = [f"{prefix}{symbol}@{kind}" for prefix in ("", "spot:") for symbol in symbols for kind in kinds]
    await client.ask("subscribed", type="subscribe", rawStreams=names)
    for market in ("", "futures:"):
        futures = [
            f"{market}{symbol}@{kind}" for symbol in symbols for kind in kinds if "@" not in kind and "1s" not in kind
        ]
        await client.send(type="subscribe", rawStreams=futures, market="futures")
    await client.settle()
    held = len(names) + 2 * len(futures)
    assert held < 1024
    assert client.of_type("error") == []
    more = [f"{symbol}@depth@{speed}" for symbol in symbols for speed in ("100ms", "1000ms")] * 103
    error = await client.ask("error", type="subscribe", rawStreams=more[:1025])
    assert error["code"] == "too_many_streams"


async def test_commands_are_handled_in_the_order_of_their_sending(served: Served, client: JsonClient) -> None:
    """Subscribing may wait for the bus; leaving must not overtake it."""
    for _ in range(3):
        await client.send(type="subscribe", rawStreams=["ethusdt@trade"])
        await client.send(type="unsubscribe", rawStreams=["ethusdt@trade"])
    await client.settle()
    answers = ["subscribed", "unsubscribed"] * 3
    assert [message["type"] for message in client.messages[1:-1]] == answers
    await served.publish("ethusdt@trade")
    await client.settle()
    assert client.of_stream("ethusdt@trade") == []


@pytest.mark.parametrize("served", [{"commands_per_second": 10_000}], indirect=True)
async def test_thousands_of_messages_at_once_are_all_answered(client: JsonClient) -> None:
    for number in range(3000):
        await client.send(type="PING" if number % 2 else "ping")
    await until(lambda: len(client.of_type("pong", "PONG")) == 3000, "every answer")


async def test_clients_of_one_form_share_what_is_encoded_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Message] = []
    encode = TypedMessages.encode

    def counting(self: TypedMessages, message: Message) -> bytes:
        encoded.append(message)
        return encode(self, message)

    monkeypatch.setattr(TypedMessages, "encode", counting)
    async with json_client(served.url) as one, json_client(served.url) as other:
        for client in (one, other):
            await client.ask("subscribed", type="subscribe", streamType="kline", symbols=["btcusdt"])
        await served.publish("btcusdt@kline_1m", KLINE, count=3)
        for client in (one, other):
            await client.wait_for("kline", 3)
        assert one.texts[-3:] == other.texts[-3:]
    assert len(encoded) == 3


async def test_a_client_that_returns_gets_exactly_what_it_missed(served: Served, client: JsonClient) -> None:
    name = "btcusdt@trade"
    await client.ask("subscribed", type="subscribe", rawStreams=[name])
    sent = [(await served.publish(name, b'{"t":%d}' % number))[0] for number in range(5)]
    await until(lambda: len(client.of_stream(name)) == 5, "trades")
    await client.ask("unsubscribed", type="unsubscribe", rawStreams=[name])
    for number in range(5, 10):
        await served.publish(name, b'{"t":%d}' % number)
    answer = await client.ask("subscribed", type="subscribe", rawStreams=[name], since={name: sent[4].cursor})
    assert answer["recovered"] == {name: True}
    await served.publish(name, b'{"t":10}')
    await until(lambda: len(client.of_stream(name)) == 11, "missed and live trades")
    assert [message["data"]["t"] for message in client.of_stream(name)] == list(range(11))
    answer = await client.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade"], since={"ethusdt@trade": 1})
    assert answer["recovered"] == {"ethusdt@trade": False}


async def test_a_client_may_do_without_the_snapshot(served: Served, client: JsonClient) -> None:
    await served.publish("btcusdt@ticker", TICKER)
    await client.ask("subscribed", type="subscribe", streamType="ticker", symbols=["btcusdt"], snapshot=False)
    await client.settle()
    assert client.of_type("ticker") == []


@pytest.mark.parametrize(
    ("request_body", "rows"),
    [
        ({"symbol": "btcusdt", "interval": "1m", "limit": 5}, 5),
        ({"symbol": "BtcUsdt", "interval": "1h", "limit": 5000}, 1000),
        ({"symbol": "btcusdt", "interval": "1m", "limit": "7", "isFutures": True}, 7),
        ({"symbol": "btcusdt", "interval": "1m", "startTime": 0, "endTime": 0, "isFutures": False}, 500),
    ],
    ids=str,
)
async def test_historical_klines_are_document_001s(client: JsonClient, request_body: dict[str, Any], rows: int) -> None:
    answer = await client.ask("historicalKlines", type="getHistoricalKlines", **request_body)
    assert (answer["symbol"], answer["interval"]) == (request_body["symbol"], request_body["interval"])
    assert len(answer["klines"]) == rows
    assert all(len(row) == 12 for row in answer["klines"])
    opened = [row[0] for row in answer["klines"]]
    assert opened == sorted(set(opened))


@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        ({"symbol": "btcusd", "interval": "1m"}, "unknown_symbol"),
        ({"symbol": "no such", "interval": "1m"}, "invalid_symbol"),
        ({"symbol": "btcusdt", "interval": "7m"}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1s", "isFutures": True}, "bad_request"),
        ({"symbol": "btcusdt", "interval": "1m", "limit": 0}, "bad_request"),
    ],
    ids=str,
)
async def test_klines_that_cannot_be_had_are_refused_in_the_original_s_words(
    client: JsonClient, request_body: dict[str, Any], code: str
) -> None:
    error = await client.ask("error", type="getHistoricalKlines", **request_body)
    assert error["message"].startswith("Failed to fetch historical klines: Binance API error: ")
    assert error["code"] == code


async def test_klines_are_answered_in_order_and_so_many_requests_may_wait_and_no_more(client: JsonClient) -> None:
    limits = range(1, json_ws.MAX_ASKED + 6)
    for limit in limits:
        await client.send(type="getHistoricalKlines", symbol="btcusdt", interval="1m", limit=limit)
    await until(lambda: len(client.of_type("historicalKlines", "error")) == len(limits), "all answers")
    rows = [len(answer["klines"]) for answer in client.of_type("historicalKlines")]
    assert len(rows) >= json_ws.MAX_ASKED
    assert rows == sorted(rows)
    assert {error["code"] for error in client.of_type("error")} <= {"rate_limited"}


async def test_a_page_of_a_foreign_origin_may_not_connect(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with json_client(served.url, origin="https://elsewhere.example"):
            pass
    assert refused.value.response.status_code == 403
    for origin in (served.url, "http://localhost:5173"):
        async with json_client(served.url, origin=origin) as client:
            await client.settle()


async def test_the_page_is_served_where_no_websocket_is_asked_for(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/") as page:
            assert (page.status, page.content_type) == (200, "text/html")
        async with http.get(f"{served.url}/", headers={"Upgrade": "websocket", "Connection": "Upgrade"}) as answer:
            assert answer.status == 426


async def test_metrics_count_clients_and_refusals_by_door(served: Served, client: JsonClient) -> None:
    await client.ask("error", type="nonsense")
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as answer:
        text = await answer.text()
    assert 'tickcast_connections{door="json",transport="websocket"} 1.0' in text
    assert 'tickcast_refused_events_total{door="json"} 1.0' in text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that pings every 0.25 s and waits 0.5 s for the pong."""
    monkeypatch.setattr(json_ws, "PING_INTERVAL_S", 0.25)
    monkeypatch.setattr(json_ws, "PING_TIMEOUT_S", 0.5)


async def test_a_client_that_answers_no_ping_is_closed_and_others_are_not(impatient: None, served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    async with json_client(served.url) as living:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        received = await asyncio.wait_for(reader.read(), timeout=10)  # until the server ends it
        writer.close()
        assert b"\x89\x00" in received  # a ping
        assert received.endswith(b"\x88\x0e\x0f\xa0ping_timeout")  # close, 14 bytes, 4000
        await living.settle()


@pytest.mark.parametrize("served", [{"commands_per_second": 10_000}], indirect=True)
async def test_mutated_messages_neither_close_the_connection_nor_disturb_a_neighbour(
    served: Served, client: JsonClient
) -> None:
    seeds = [
        {"type": "subscribe", "streamType": "kline", "symbols": ["btcusdt"], "options": {"interval": "1m"}},
        {"type": "unsubscribe", "rawStreams": ["btcusdt@kline_1m", "ethusdt@depth20"]},
        {"type": "SUBSCRIBE", "symbol": "BTC"},
        {"type": "getHistoricalKlines", "symbol": "x", "interval": "1m", "limit": 5},
    ]
    dice = random.Random(4)  # noqa: S311 # the same mutations every time
    async with json_client(served.url) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["solusdt@trade"])
        for number in range(2000):
            text = bytearray(json.dumps(dice.choice(seeds)).encode())
            for _ in range(dice.randint(1, 4)):
                text[dice.randrange(len(text))] = dice.randrange(256)
            await client.socket.send(bytes(text))
            if number % 500 == 0:
                await served.publish("solusdt@trade", b'{"t":%d}' % number)
        await client.ask("pong", type="ping")
        await until(partial(_has, neighbour, 4), "the neighbour's trades")
    assert {error["code"] for error in client.of_type("error", "ERROR")} <= {
        "bad_request", "invalid_stream", "invalid_symbol", "unknown_symbol", "unknown_event", "rate_limited",
    }  # fmt: skip


def _has(client: JsonClient, count: int) -> bool:
    return len(client.of_stream("solusdt@trade")) == count
