import asyncio
import json
import time

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from exchange.connections import MAX_BACKLOG
from tests.exchange.client import Client, ask, closing_of, eventually, receive, receive_until
from tests.exchange.conftest import Start


async def test_raw_connections_get_bare_payloads(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade/ethusdt@trade")
    messages = [await receive(socket) for _ in range(6)]
    assert {message["e"] for message in messages} == {"trade"}
    found = await receive_until(socket, lambda message: message["s"] == "ETHUSDT")
    assert found


async def test_combined_connections_get_wrapped_payloads(client: Client) -> None:
    socket = await client.socket("/stream?streams=btcusdt@trade/btcusdt@kline_1d@+08:00")
    found = await receive_until(socket, lambda message: "kline" in message["stream"])
    assert found[-1]["stream"] == "btcusdt@kline_1d@+08:00"
    assert found[-1]["data"]["k"]["i"] == "1d"
    assert found[-1]["data"]["k"]["t"] % 86_400_000 == 16 * 3_600_000


@pytest.mark.parametrize("form", ["/ws/", "/stream?streams="])
async def test_percent_encoded_names_are_understood(client: Client, form: str) -> None:
    socket = await client.socket(f"{form}btcusdt%40trade%2Fethusdt%40trade")
    assert (await ask(socket, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@trade"]


async def test_live_control_works_on_a_bare_connection(client: Client) -> None:
    socket = await client.socket("/ws")
    assert await ask(socket, "SUBSCRIBE", ["btcusdt@trade"]) == {"result": None, "id": 1}
    assert (await receive(socket))["s"] == "BTCUSDT"
    assert (await ask(socket, "GET_PROPERTY", ["combined"]))["result"] is False
    assert (await ask(socket, "SET_PROPERTY", ["combined", True]))["result"] is None
    assert (await receive(socket))["stream"] == "btcusdt@trade"
    assert await ask(socket, "LIST_SUBSCRIPTIONS", request_id="abc") == {"result": ["btcusdt@trade"], "id": "abc"}


async def test_an_unsubscribed_stream_falls_silent(client: Client) -> None:
    socket = await client.socket("/stream?streams=btcusdt@trade/ethusdt@trade")
    await ask(socket, "UNSUBSCRIBE", ["btcusdt@trade"])
    for _ in range(10):
        assert (await receive(socket))["stream"] == "ethusdt@trade"


async def test_the_acknowledgement_comes_before_the_first_message(client: Client) -> None:
    socket = await client.socket("/ws")
    await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@bookTicker","btcusdt@trade"],"id":7}')
    assert await receive(socket) == {"result": None, "id": 7}


async def test_errors_are_nested_and_leave_the_connection_working(client: Client) -> None:
    socket = await client.socket("/public/ws")
    await socket.send("nonsense")
    assert (await receive(socket))["error"]["code"] == 3
    answer = await ask(socket, "SUBSCRIBE", ["not a stream"], 4)
    assert answer == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 4}
    await ask(socket, "SUBSCRIBE", ["btcusdt@bookTicker"])
    assert (await receive(socket))["e"] == "bookTicker"


@pytest.mark.parametrize(
    ("path", "silent", "speaking"),
    [
        ("/public", "btcusdt@markPrice@1s", "btcusdt@bookTicker"),
        ("/market", "btcusdt@bookTicker", "btcusdt@aggTrade"),
        ("/market", "btcusdt@depth@100ms", "!ticker@arr"),
        ("", "nosuchusdt@trade", "btcusdt@trade"),
        ("", "!ticker@arr", "!miniTicker@arr"),
    ],
)
async def test_a_stream_that_does_not_come_here_is_acknowledged_and_silent(
    client: Client, path: str, silent: str, speaking: str
) -> None:
    socket = await client.socket(f"{path}/stream")
    assert (await ask(socket, "SUBSCRIBE", [silent]))["result"] is None
    assert (await ask(socket, "SUBSCRIBE", [speaking]))["result"] is None
    assert (await ask(socket, "LIST_SUBSCRIPTIONS"))["result"] == [silent, speaking]
    for _ in range(1 if speaking.startswith("!") else 3):
        assert (await receive(socket))["stream"] == speaking


async def test_futures_trades_come_on_the_public_route(client: Client) -> None:
    socket = await client.socket("/public/ws/btcusdt@trade")
    assert (await receive(socket))["X"] == "MARKET"


@pytest.mark.parametrize(("path", "limit"), [("/ws", 5), ("/market/ws", 10)])
async def test_too_many_client_messages_close_with_1008(client: Client, path: str, limit: int) -> None:
    socket = await client.socket(path)
    for number in range(limit + 1):
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
    for number in range(limit):
        assert (await receive(socket))["id"] == number
    assert await closing_of(socket) == (1008, "Too many requests")
    assert client.exchange.status()["rate_closed_total"] == 1


async def test_pings_and_pongs_count_as_messages(client: Client) -> None:
    socket = await client.socket("/ws")
    for _ in range(3):
        await socket.ping()
        await socket.pong()
    assert await closing_of(socket) == (1008, "Too many requests")


async def test_a_client_within_the_rate_stays(client: Client) -> None:
    socket = await client.socket("/ws")
    for number in range(4):
        await ask(socket, "LIST_SUBSCRIPTIONS", request_id=number)
    assert client.exchange.status()["connections"] == {"spot": 1, "futures": 0}


async def test_the_server_answers_a_clients_ping(client: Client) -> None:
    socket = await client.socket("/ws")
    async with asyncio.timeout(5):
        await (await socket.ping(b"are you there"))


async def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_closed(start: Start) -> None:
    client = await start(spot_ping_s=0.3, spot_pong_s=0.6)
    answering = await client.socket("/ws")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(10):
        ping = await reader.readexactly(15)
        assert ping[:2] == bytes((0x89, 13))
        assert abs(int(ping[2:]) / 1000 - time.time()) < 60
        silent = await reader.read()
    assert b"\x03\xf0Pong timeout" in silent
    writer.close()
    await writer.wait_closed()
    assert (await ask(answering, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_an_unasked_pong_does_not_answer_a_ping(start: Start) -> None:
    client = await start(futures_ping_s=0.3, futures_pong_s=0.6)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"GET /market/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes((0x8A, 0x80, 0, 0, 0, 0)))
    async with asyncio.timeout(10):
        assert b"Pong timeout" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_connections_end_after_their_lifetime(start: Start) -> None:
    client = await start(connection_lifetime_s=0.5)
    socket = await client.socket("/stream")
    assert (await closing_of(socket))[0] == 1001


async def test_more_than_1024_streams_are_refused(client: Client) -> None:
    socket = await client.socket("/stream")
    names = [f"s{number}usdt@trade" for number in range(1_024)]
    assert (await ask(socket, "SUBSCRIBE", names))["result"] is None
    answer = await ask(socket, "SUBSCRIBE", ["btcusdt@trade"])
    assert "too many streams" in answer["error"]["msg"]
    assert len((await ask(socket, "LIST_SUBSCRIPTIONS"))["result"]) == 1_024


async def test_a_malformed_name_in_the_url_closes_the_connection(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt")
    assert await closing_of(socket) == (1008, "Invalid request: invalid stream")


async def test_connection_attempts_are_limited_on_spot_only(start: Start) -> None:
    client = await start(connection_attempts=3)
    for _ in range(3):
        await client.socket("/ws")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{client.ws_base}/ws")
    assert refused.value.response.status_code == 429
    await client.socket("/public/ws")
    assert client.exchange.status()["connections_refused_total"] == 1


async def test_a_plain_request_is_no_handshake(client: Client) -> None:
    assert (await client.http.get("/ws")).status_code == 400
    assert (await client.http.get("/nowhere/ws")).status_code == 404


async def test_frames_are_the_same_for_all_and_nothing_is_left_when_they_leave(client: Client) -> None:
    sockets = [await client.socket("/ws/btcusdt@trade") for _ in range(3)]
    firsts = [await receive(socket) for socket in sockets]
    newest = max(first["t"] for first in firsts)
    seen = [(await receive_until(socket, lambda message: message["t"] > newest))[-1] for socket in sockets]
    assert seen[0] == seen[1] == seen[2]
    for socket in sockets:
        socket.transport.abort()
    await eventually(lambda: client.exchange.status()["streams"] == [], "streams without subscribers are dropped")
    assert client.exchange.status()["connections"] == {"spot": 0, "futures": 0}


async def test_a_client_that_does_not_read_is_cut_off(start: Start) -> None:
    client = await start(sim_symbols=40, sim_trades_per_second=300)
    streams = "/".join(f"{symbol}@depth20@100ms" for symbol in await all_symbols(client))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1)
    writer.write(
        f"GET /stream?streams={streams} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await eventually(lambda: client.exchange.status()["connections"]["spot"] == 1, "connected")
    (connection,) = client.exchange._sockets.open
    # Far more at once than the kernel's buffers take, as from a burst.
    for _ in range(3):
        client.exchange._broadcast.queue(connection, b"\x81\x00" * (MAX_BACKLOG // 2))
    client.exchange._broadcast.flush()
    await eventually(lambda: client.exchange.status()["connections"]["spot"] == 0, "cut off")
    writer.close()
    del reader


async def all_symbols(client: Client) -> list[str]:
    info = await client.get("/api/v3/exchangeInfo")
    return [symbol["symbol"].lower() for symbol in info["symbols"]]


async def test_closing_the_exchange_closes_its_clients(start: Start) -> None:
    client = await start()
    socket = await client.socket("/ws/btcusdt@trade")
    await client.exchange.close()
    assert (await closing_of(socket))[0] == 1001
    with pytest.raises(httpx.ConnectError):
        await client.http.get("/api/v3/ping")


async def test_the_local_book_of_a_client_stays_true_on_spot(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@depth@100ms")
    buffered = [await receive(socket) for _ in range(3)]
    snapshot = await client.get("/api/v3/depth", symbol="BTCUSDT", limit=5000)
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    at = snapshot["lastUpdateId"]
    assert at >= buffered[0]["U"]
    applied = 0
    while applied < 8:
        event = buffered.pop(0) if buffered else await receive(socket)
        if event["u"] <= at:
            continue
        assert event["U"] <= at + 1 <= event["u"]
        apply(book, event)
        at = event["u"]
        applied += 1
    await compare(client, "/api/v3/depth", book, at, socket)


async def test_the_local_book_of_a_client_stays_true_on_futures(client: Client) -> None:
    socket = await client.socket("/public/ws/btcusdt@depth@100ms")
    buffered = [await receive(socket) for _ in range(3)]
    snapshot = await client.get("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    at = snapshot["lastUpdateId"]
    events = [event for event in buffered if event["u"] >= at]
    first = events.pop(0) if events else await receive(socket)
    # The recorded trap: the snapshot may end exactly where an event does.
    assert first["U"] <= at <= first["u"] or first["pu"] == at
    apply(book, first)
    previous = first["u"]
    for _ in range(8):
        event = events.pop(0) if events else await receive(socket)
        assert event["pu"] == previous
        apply(book, event)
        previous = event["u"]
    await compare(client, "/fapi/v1/depth", book, previous, socket)


def apply(book: dict[str, dict[str, str]], event: dict[str, list[list[str]]]) -> None:
    for side in ("b", "a"):
        for price, quantity in event[side]:
            if float(quantity) == 0:
                book[side].pop(price, None)
            else:
                book[side][price] = quantity


async def compare(client: Client, path: str, book: dict[str, dict[str, str]], at: int, socket: object) -> None:
    """A fresh snapshot must equal the book once the events up to it are applied."""
    fresh = await client.get(path, symbol="BTCUSDT", limit=1000)
    while at < fresh["lastUpdateId"]:
        event = await receive(socket)  # type: ignore[arg-type]  # always a connection
        apply(book, event)
        at = event["u"]
    if at == fresh["lastUpdateId"]:
        assert book == {"b": dict(fresh["bids"]), "a": dict(fresh["asks"])}


async def test_a_lost_client_does_not_disturb_others(client: Client) -> None:
    steady = await client.socket("/ws/btcusdt@bookTicker")
    for _ in range(5):
        leaving = await client.socket("/ws/btcusdt@bookTicker")
        leaving.transport.abort()
    await receive(steady)
    await eventually(lambda: client.exchange.status()["connections"]["spot"] == 1, "the others are gone")
    with pytest.raises(ConnectionClosed):
        await leaving.recv()
    await receive(steady)
