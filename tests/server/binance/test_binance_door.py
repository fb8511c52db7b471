"""What the Binance door adds to the protocol: one upstream for all clients, honest limits, slow readers, shutdown."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ingestor import books as ingestor_books
from market.streams import Market, StreamName
from server import rest_cache
from server.rest_cache import Question, RestCache
from tests.exchange.client import ask, closing_of, early_in_the_minute, receive, receive_until
from tests.server.binance.conftest import SYMBOLS, Serve
from tests.server.conftest import Client as SocketIOClient
from tests.server.conftest import Served, until

CLIENTS = 200
DEPTH = "/api/v3/depth"
SYMBOL = {"symbol": "BTCUSDT"}


async def test_many_clients_cost_one_upstream_subscription(serve: Serve) -> None:
    client = await serve()
    paths = ["/ws/ethusdt@trade", "/stream?streams=ethusdt@trade"]
    sockets = [await client.socket(paths[number % 2]) for number in range(CLIENTS)]
    firsts = [await receive(socket) for socket in sockets]
    newest = max(first.get("data", first)["t"] for first in firsts)

    def is_next(message: Any) -> bool:
        return bool(message.get("data", message)["t"] == newest + 1)

    seen = [(await receive_until(socket, is_next))[-1] for socket in sockets]
    assert all(raw == wrapped["data"] == seen[0] for raw, wrapped in zip(seen[::2], seen[1::2], strict=True))
    status = client.exchange.status()
    assert status["streams"] == ["spot:btcusdt@ticker", "spot:ethusdt@trade"]
    assert status["connections"]["spot"] == 1


async def test_names_of_unknown_symbols_are_not_asked_for_upstream(serve: Serve) -> None:
    client = await serve()
    socket = await client.socket("/ws")
    names = ["nosuchusdt@trade", "btcusdt@book", "!ticker@arr", "btcusdt@referencePrice", "btcusdt@trade"]
    await ask(socket, "SUBSCRIBE", names)
    await receive(socket)
    assert client.exchange.status()["streams"] == ["spot:btcusdt@ticker", "spot:btcusdt@trade"]


async def test_a_book_that_the_ingestor_has_no_room_for_is_told_and_begins_when_another_ends(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestor_books, "MAX_BOOKS", 1)
    client = await serve()
    one, other = SocketIOClient(), SocketIOClient()
    for socket in (one, other):
        await socket.connect(f"http://127.0.0.1:{client.port}", "websocket")
    await one.call("subscribe", {"streams": ["btcusdt@book"]})
    await until(lambda: one.named("book"), "the book there is room for")
    await other.call("subscribe", {"streams": ["ethusdt@book"]})
    await until(lambda: other.named("error"), "told")
    assert [(error["code"], error["stream"]) for error in other.named("error")] == [
        ("too_many_books", "spot:ethusdt@book")
    ]
    await one.call("unsubscribe", {"streams": ["btcusdt@book"]})
    await until(lambda: len(other.named("book")) > 1, "the other book", 20)
    assert other.named("book")[0]["data"]["e"] == "bookSnapshot"
    assert one.named("error") == []
    for socket in (one, other):
        await socket.io.disconnect()


async def test_an_all_market_array_and_all_symbols_one_by_one_are_different_things(serve: Serve) -> None:
    client = await serve()
    one_by_one = SocketIOClient()
    await one_by_one.connect(f"http://127.0.0.1:{client.port}", "websocket")
    await one_by_one.call("subscribe", {"streamType": "miniTicker", "symbols": ["ALL"]})
    socket = await client.socket("/ws/!miniTicker@arr")
    array = await receive(socket)
    assert len(array) == SYMBOLS
    await until(lambda: len(one_by_one.named("miniTicker")) > SYMBOLS, "single tickers")
    assert {body["data"]["s"] for body in one_by_one.named("miniTicker")} == {element["s"] for element in array}
    assert all(body["stream"].endswith("usdt@miniTicker") for body in one_by_one.named("miniTicker"))
    await one_by_one.io.disconnect()


async def test_a_shutdown_is_announced_in_the_clients_form_and_closes_with_1001(serve: Serve) -> None:
    client = await serve()
    raw, combined = await client.socket("/ws"), await client.socket("/market/stream")
    for socket in (raw, combined):
        await ask(socket, "LIST_SUBSCRIPTIONS")
    closing = asyncio.create_task(client.replica.close())
    said, wrapped = await receive(raw), await receive(combined)
    assert set(said) == {"e", "E"}
    assert said["e"] == "serverShutdown"
    assert wrapped["stream"] == "!serverShutdown"
    assert wrapped["data"]["e"] == "serverShutdown"
    assert await closing_of(raw) == await closing_of(combined) == (1001, "Server shutting down")
    await closing


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each unmasked frame."""
    at = 0
    while at < len(data):
        length, head = data[at + 1], 2
        if length >= 126:
            head = 4 if length == 126 else 10
            length = int.from_bytes(data[at + 2 : at + head], "big")
        yield data[at] & 0x0F, data[at + head : at + head + length]
        at += head + length


async def _unread(served: Served, stream: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that subscribes and then reads nothing until it is asked to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rsplit(":", 1)[1]), limit=2**10)
    writer.write(
        f"GET /ws/{stream} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _flood(served: Served, stream: str, count: int) -> None:
    async with httpx.AsyncClient() as http:

        async def is_member() -> bool:
            counts = (await http.get(f"{served.url}/stats")).json()["data"]["subscriptions_by_stream"]
            return f"spot:{stream}" in counts

        await until(is_member, "subscribed")
    for number in range(count):
        await served.publish(stream, b'{"n":%d,"pad":"%b"}' % (number, b"x" * 10_000))


@pytest.mark.parametrize("served", [{"client_buffer_bytes": 100_000}], indirect=True)
async def test_a_slow_client_is_closed_before_it_would_miss_an_event_and_counted(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = await _unread(served, "btcusdt@trade")
    await _flood(served, "btcusdt@trade", 1_000)
    async with asyncio.timeout(10):
        *frames, (opcode, close) = _frames(await reader.read(-1))
    assert (opcode, close) == (8, b"\x0f\xa8slow_consumer")
    numbers = [json.loads(payload)["n"] for _, payload in frames]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 1_000
    writer.close()
    async with httpx.AsyncClient() as http:
        assert "tickcast_slow_consumers_total 1.0" in (await http.get(f"{served.url}/metrics")).text
    assert "client let go" in capfd.readouterr().out


@pytest.mark.parametrize("served", [{"client_buffer_bytes": 100_000}], indirect=True)
async def test_a_slow_client_of_a_state_stream_gets_the_latest_value_and_no_foreign_words(served: Served) -> None:
    reader, writer = await _unread(served, "btcusdt@bookTicker")
    await _flood(served, "btcusdt@bookTicker", 1_000)
    data = b""
    async with asyncio.timeout(10):
        while not data.endswith(b'"}') or b'{"n":999,' not in data:
            data += await reader.read(2**20)
    numbers = [json.loads(payload)["n"] for _, payload in _frames(data)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 999
    assert len(numbers) < 1_000
    writer.close()


async def test_a_change_of_form_closes_a_client_that_lags_rather_than_lose_what_it_is_owed(serve: Serve) -> None:
    client = await serve()
    socket = await client.socket("/ws/btcusdt@trade")
    await receive(socket)
    (connection,) = client.replica._binance._connections
    # The request was read just before the client's transport was full.
    connection.ws.pause_writing()
    client.replica._binance._on_message(connection, '{"method":"SET_PROPERTY","params":["combined",true],"id":1}')
    assert await closing_of(socket) == (4008, "slow_consumer")


@pytest.mark.parametrize("status", [429, 418])
async def test_the_exchanges_limit_is_passed_on_in_its_words(serve: Serve, status: int) -> None:
    client = await serve()
    await client.upstream.control("refuse", status=status, retry_after=7, requests=1)
    for path in (DEPTH, "/api/v3/klines"):
        response = await client.http.get(
            path, params={"symbol": "BTCUSDT", "interval": "1m"} if "k" in path else SYMBOL
        )
        assert response.status_code == status
        assert 1 <= int(response.headers["Retry-After"]) <= 7
        assert response.json()["code"] == -1003
    assert (await client.http.get("/fapi/v1/depth", params=SYMBOL)).status_code == 200
    assert (await client.http.get("/api/v3/ping")).status_code == 200


async def test_what_our_own_budget_does_not_allow_is_429_in_the_exchanges_words(serve: Serve) -> None:
    client = await serve()
    await early_in_the_minute()
    limits = range(5_000, 4_980, -1)
    responses = [await client.http.get(DEPTH, params=SYMBOL | {"limit": limit}) for limit in limits]
    refused = [response for response in responses if response.status_code != 200]
    assert {response.status_code for response in refused} == {429}
    assert refused[0].json()["msg"].startswith("Too much request weight used; current limit is 6000 request weight")
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 60


async def test_an_exchange_that_is_away_is_minus_1001(serve: Serve) -> None:
    client = await serve()
    await client.exchange.close()
    for path, query in ((DEPTH, SYMBOL), ("/api/v3/klines", SYMBOL | {"interval": "1m"})):
        response = await client.http.get(path, params=query)
        assert (response.status_code, response.json()["code"]) == (503, -1001)
    assert await client.get("/api/v3/ping") == {}
    assert (await client.error(DEPTH, symbol="NOPEUSDT"))[1] == -1121


async def test_many_who_ask_the_same_cost_the_exchange_one_request(serve: Serve) -> None:
    client = await serve()
    before = client.exchange.status()["requests_total"]
    bodies = await asyncio.gather(*(client.http.get("/api/v3/ticker/24hr") for _ in range(20)))
    assert len({body.content for body in bodies}) == 1
    assert client.exchange.status()["requests_total"] == before + 1
    await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT")
    assert client.exchange.status()["requests_total"] == before + 2
    text = (await client.http.get("/metrics")).text
    assert "tickcast_binance_rest_upstream_requests_total 2.0" in text
    assert "tickcast_binance_rest_shared_answers_total 19.0" in text


async def test_each_address_has_its_own_weight_and_nobody_is_banned(serve: Serve) -> None:
    client = await serve(trusted_proxies=("127.0.0.1",))

    async def statuses(address: str, count: int) -> list[int]:
        asking = (
            client.http.get(DEPTH, params=SYMBOL | {"limit": 5000}, headers={"X-Real-IP": address})
            for _ in range(count)
        )
        return [response.status_code for response in await asyncio.gather(*asking)]

    await early_in_the_minute()
    found = await statuses("10.0.0.1", 60)
    assert found.count(200) == 24
    assert set(found) == {200, 429}
    assert await statuses("10.0.0.2", 1) == [200]


async def test_other_rest_limits_do_not_count_binance_requests(serve: Serve) -> None:
    client = await serve()
    for _ in range(310):
        response = await client.http.get("/api/v3/ping")
        assert response.status_code == 200
    assert "X-RateLimit-Limit" not in response.headers


async def test_the_metrics_count_binance_clients_and_what_they_are_refused(serve: Serve) -> None:
    client = await serve()
    socket = await client.socket("/ws")
    await socket.send("nonsense")
    await receive(socket)
    text = (await client.http.get("/metrics")).text
    assert 'tickcast_connections{door="binance",transport="websocket"} 1.0' in text
    assert 'tickcast_refused_events_total{door="binance"} 1.0' in text
    await socket.close()

    async def is_gone() -> bool:
        text = (await client.http.get("/metrics")).text
        return 'tickcast_connections{door="binance",transport="websocket"} 0.0' in text

    await until(is_gone, "the client is gone")


async def test_a_full_replica_refuses_streams_and_keeps_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await serve()
    monkeypatch.setattr("server.hub.MAX_STREAMS_PER_REPLICA", 2)
    socket = await client.socket("/ws")
    answer = await ask(socket, "SUBSCRIBE", ["btcusdt@trade", "ethusdt@trade"], 5)
    assert answer["error"]["code"] == 2
    assert "streams a replica" in answer["error"]["msg"]
    assert (await ask(socket, "LIST_SUBSCRIPTIONS"))["result"] == []
    assert (await ask(socket, "SUBSCRIBE", ["btcusdt@trade"]))["result"] is None
    late = await client.socket("/ws/ethusdt@trade")
    assert (await closing_of(late))[0] == 1013


async def test_kept_answers_are_bounded_in_number_and_bytes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await serve()
    cache = RestCache(client.replica._rest)
    asked = [Question(Market.SPOT, "depth", (("limit", str(limit)), ("symbol", "BTCUSDT")), 5) for limit in range(1, 6)]
    monkeypatch.setattr(rest_cache, "MAX_ANSWERS", 3)
    for question in asked:
        await cache.get(question, 60.0)
    assert list(cache._kept) == asked[2:]
    assert cache._bytes == sum(len(kept.body) for kept in cache._kept.values())
    monkeypatch.setattr(rest_cache, "MAX_BYTES", 1)
    await cache.get(asked[0], 60.0)
    assert list(cache._kept) == asked[:1]
    await cache.get(asked[0], 60.0)
    assert (cache.asked_total, cache.shared_total) == (6, 1)
    await cache.close()


def test_names_of_arrays_and_of_all_symbols_differ_everywhere() -> None:
    array, every = StreamName.parse("!ticker@arr"), StreamName.parse("futures:*@ticker")
    assert array != every
    for name in ("channel", "subject", "room", "last_key", "binance_name"):
        assert getattr(array, name) != getattr(every, name)
