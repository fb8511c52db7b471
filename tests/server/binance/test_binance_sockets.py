"""Binance's WebSocket protocol, as the exchange stand-in and the Binance door must both speak it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from binance.entrances import ENTRANCES, PING_S, PONG_S
from market.streams import BINANCE_MARKETS, Market
from tests.exchange.client import Client, ask, closing_of, receive, receive_until
from tests.server.binance.conftest import EXCHANGE, PLACES, a_replica, an_exchange

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_raw_connections_get_bare_payloads(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade/ethusdt@trade")
    messages = [await receive(socket) for _ in range(6)]
    assert {message["e"] for message in messages} == {"trade"}
    assert await receive_until(socket, lambda message: message["s"] == "ETHUSDT")


async def test_combined_connections_get_wrapped_payloads(client: Client) -> None:
    socket = await client.socket("/stream?streams=btcusdt@trade/btcusdt@kline_1d@+08:00")
    found = await receive_until(socket, lambda message: "kline" in message["stream"])
    assert {tuple(message) for message in found} == {("stream", "data")}
    assert found[-1]["stream"] == "btcusdt@kline_1d@+08:00"
    assert found[-1]["data"]["k"]["i"] == "1d"
    assert found[-1]["data"]["k"]["t"] % 86_400_000 == 16 * 3_600_000


@pytest.mark.parametrize("form", ["/ws/", "/stream?streams="])
async def test_percent_encoded_names_are_understood(client: Client, form: str) -> None:
    socket = await client.socket(f"{form}btcusdt%40trade%2Fethusdt%40trade")
    assert (await ask(socket, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@trade"]


async def test_every_entrance_delivers_its_markets_streams_in_its_form(client: Client) -> None:
    for entrance in ENTRANCES:
        if entrance.path.removeprefix("/futures").startswith("/private"):
            continue
        name = "btcusdt@aggTrade" if "/market" in entrance.path else "btcusdt@bookTicker"
        socket = await client.socket(
            f"{entrance.path}?streams={name}" if entrance.combined else f"{entrance.path}/{name}"
        )
        message = await receive(socket)
        payload = message["data"] if entrance.combined else message
        assert payload["s"] == "BTCUSDT", entrance.path
        assert ("st" in payload) is (entrance.market is Market.FUTURES), entrance.path


async def test_futures_root_delivers_streams_of_both_routes(client: Client) -> None:
    socket = await client.socket("/futures/stream?streams=btcusdt@bookTicker/btcusdt@markPrice@1s")
    await receive_until(socket, lambda message: message["stream"] == "btcusdt@markPrice@1s")
    await receive_until(socket, lambda message: message["stream"] == "btcusdt@bookTicker")


async def test_live_control_works_on_a_bare_connection(client: Client) -> None:
    socket = await client.socket("/ws")
    assert await ask(socket, "SUBSCRIBE", ["btcusdt@trade"]) == {"result": None, "id": 1}
    assert (await receive(socket))["s"] == "BTCUSDT"
    assert (await ask(socket, "GET_PROPERTY", ["combined"]))["result"] is False
    assert (await ask(socket, "SET_PROPERTY", ["combined", True]))["result"] is None
    assert (await receive(socket))["stream"] == "btcusdt@trade"
    assert await ask(socket, "LIST_SUBSCRIPTIONS", request_id="abc") == {"result": ["btcusdt@trade"], "id": "abc"}


async def test_a_change_of_form_loses_nothing(client: Client) -> None:
    socket = await client.socket("/market/stream?streams=btcusdt@aggTrade")
    ids: list[int] = []
    for value in (False, True, False):
        found = await receive_until(socket, lambda message: "stream" in message or "e" in message)
        await socket.send(json.dumps({"method": "SET_PROPERTY", "params": ["combined", value], "id": 9}))
        found += await receive_until(socket, lambda message: message.get("id") == 9)
        assert all(("stream" in message) is not value for message in found[:-1])
        ids += [message.get("data", message)["a"] for message in found[:-1]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_an_unsubscribed_stream_falls_silent(client: Client) -> None:
    socket = await client.socket("/stream?streams=btcusdt@trade/ethusdt@trade")
    await ask(socket, "UNSUBSCRIBE", ["btcusdt@trade"])
    for _ in range(10):
        assert (await receive(socket))["stream"] == "ethusdt@trade"
    assert (await ask(socket, "LIST_SUBSCRIPTIONS"))["result"] == ["ethusdt@trade"]


async def test_the_acknowledgement_comes_before_the_first_message(client: Client) -> None:
    socket = await client.socket("/ws")
    await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@bookTicker","btcusdt@trade"],"id":7}')
    assert await receive(socket) == {"result": None, "id": 7}
    assert (await receive(socket))["s"] == "BTCUSDT"


async def test_requests_are_answered_in_their_order(client: Client) -> None:
    socket = await client.socket("/market/ws")
    names = [f"{symbol}@aggTrade" for symbol in ("btcusdt", "ethusdt", "bnbusdt")]
    for number, name in enumerate(names):
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": number}))
    await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":3}')
    answers = [m for m in await receive_until(socket, lambda message: message.get("id") == 3) if "id" in m]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert answers[-1]["result"] == names


async def test_errors_are_nested_and_leave_the_connection_working(client: Client) -> None:
    socket = await client.socket("/public/ws")
    await socket.send("nonsense")
    assert (await receive(socket))["error"]["code"] == 3
    answer = await ask(socket, "SUBSCRIBE", ["not a stream"], 4)
    assert answer == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 4}
    await ask(socket, "SUBSCRIBE", ["btcusdt@bookTicker"])
    assert (await receive(socket))["e"] == "bookTicker"


async def test_a_binary_message_is_read_as_text(client: Client) -> None:
    socket = await client.socket("/ws")
    await socket.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
    assert await receive(socket) == {"result": [], "id": 1}


@pytest.mark.parametrize(
    ("path", "silent", "speaking"),
    [
        ("/public", "btcusdt@markPrice@1s", "btcusdt@bookTicker"),
        ("/market", "btcusdt@bookTicker", "btcusdt@aggTrade"),
        ("/market", "btcusdt@depth@100ms", "!ticker@arr"),
        ("/futures", "btcusdt@kline_1s", "!forceOrder@arr"),
        ("", "nosuchusdt@trade", "btcusdt@trade"),
        ("", "BTCUSDT@trade", "btcusdt@trade"),
        ("", "btcusdt@book", "btcusdt@trade"),
        ("", "btcusdt@referencePrice", "btcusdt@avgPrice"),
        ("", "btcusdt_perpetual@continuousKline_1m", "btcusdt@ticker_1h"),
        ("/public", "btcusdt_perpetual@continuousKline_1m", "btcusdt@bookTicker"),
        ("/public", "btcusdt@rpiDepth@500ms", "btcusdt@bookTicker"),
        ("/market", "btcusdt_current_quarter@continuousKline_1m", "btcusdt_perpetual@continuousKline_1m"),
        ("/market", "!contractInfo", "ethusdt_perpetual@continuousKline_15m"),
        ("/market", "defiusdt@compositeIndex", "btcusdt@aggTrade"),
        ("/market", "!assetIndex@arr", "btcusdt@aggTrade"),
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
    if speaking == "!forceOrder@arr":
        return  # rare; what it carries is tested apart
    for _ in range(1 if speaking.startswith("!") else 3):
        assert (await receive(socket))["stream"] == speaking


@pytest.mark.parametrize(
    ("path", "name", "event"),
    [
        ("", "!miniTicker@arr", "24hrMiniTicker"),
        ("", "!ticker_4h@arr", "4hTicker"),
        ("/market", "!ticker@arr", "24hrTicker"),
        ("/market", "!miniTicker@arr", "24hrMiniTicker"),
        ("/market", "!markPrice@arr@1s", "markPriceUpdate"),
    ],
)
async def test_all_market_streams_come_as_arrays(client: Client, path: str, name: str, event: str) -> None:
    socket = await client.socket(f"{path}/ws/{name}")
    elements = await receive(socket)
    assert {element["e"] for element in elements} == {event}
    assert len({element["s"] for element in elements}) == len(elements) > 1


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


async def test_pings_and_pongs_count_as_messages(client: Client) -> None:
    socket = await client.socket("/ws")
    for _ in range(3):
        await socket.ping()
        await socket.pong()
    assert await closing_of(socket) == (1008, "Too many requests")


async def test_the_server_answers_a_clients_ping(client: Client) -> None:
    socket = await client.socket("/ws")
    async with asyncio.timeout(5):
        await (await socket.ping(b"are you there"))


async def test_more_than_1024_streams_are_refused(client: Client) -> None:
    socket = await client.socket("/stream")
    names = [f"s{number}usdt@trade" for number in range(1_024)]
    assert (await ask(socket, "SUBSCRIBE", names))["result"] is None
    answer = await ask(socket, "SUBSCRIBE", ["btcusdt@trade"])
    assert "too many streams" in answer["error"]["msg"]
    assert len((await ask(socket, "LIST_SUBSCRIPTIONS"))["result"]) == 1_024


async def test_a_malformed_name_in_the_url_closes_the_connection(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@")
    assert await closing_of(socket) == (1008, "Invalid request: invalid stream")


@pytest.mark.parametrize("path", ["/private/ws", "/private/stream", "/ws/0", "/market/ws/3", "/futures/private/ws"])
async def test_a_connection_for_user_data_opens_and_takes_requests(client: Client, path: str) -> None:
    socket = await client.socket(path)
    assert await ask(socket, "LIST_SUBSCRIPTIONS") == {"result": [], "id": 1}


async def test_microseconds_are_refused_rather_than_served_as_milliseconds(client: Client) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await client.socket("/ws/btcusdt@trade?timeUnit=MICROSECOND")
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["code"] == -1130
    socket = await client.socket("/ws/btcusdt@trade?timeUnit=millisecond")
    assert (await receive(socket))["e"] == "trade"


async def test_a_plain_request_is_no_handshake(client: Client) -> None:
    assert (await client.http.get("/ws")).status_code in {400, 426}
    assert (await client.http.get("/nowhere/ws")).status_code == 404


@pytest_asyncio.fixture(loop_scope="module", params=PLACES)
async def hasty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """Both servers with pings every 0.3 s, to be answered within 0.6 s."""
    for market in BINANCE_MARKETS:
        monkeypatch.setitem(PING_S, market, 0.3)
        monkeypatch.setitem(PONG_S, market, 0.6)
    settings = {f"{market}_{what}_s": s for market in BINANCE_MARKETS for what, s in (("ping", 0.3), ("pong", 0.6))}
    async with an_exchange(**settings) as exchange:
        if request.param == EXCHANGE:
            yield exchange
        else:
            async with a_replica(exchange) as replica:
                yield replica


async def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_closed(hasty: Client) -> None:
    answering = await hasty.socket("/ws")
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(HANDSHAKE.format(path="/ws").encode())
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


async def test_an_unasked_pong_does_not_answer_a_ping(hasty: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(HANDSHAKE.format(path="/market/ws").encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes((0x8A, 0x80, 0, 0, 0, 0)))
    async with asyncio.timeout(10):
        assert b"Pong timeout" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_frames_are_the_same_for_all(client: Client) -> None:
    sockets = [await client.socket("/ws/btcusdt@trade") for _ in range(3)]
    firsts = [await receive(socket) for socket in sockets]
    newest = max(first["t"] for first in firsts)
    seen = [(await receive_until(socket, lambda message: message["t"] > newest))[-1] for socket in sockets]
    assert seen[0] == seen[1] == seen[2]


async def test_a_lost_client_does_not_disturb_others(client: Client) -> None:
    steady = await client.socket("/ws/btcusdt@bookTicker")
    for _ in range(5):
        leaving = await client.socket("/ws/btcusdt@bookTicker")
        leaving.transport.abort()
    for _ in range(3):
        await receive(steady)


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
    if not events:
        events = (await receive_until(socket, lambda event: event["u"] >= at))[-1:]
    first = events.pop(0)
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


async def compare(client: Client, path: str, book: dict[str, dict[str, str]], at: int, socket: Any) -> None:
    """A fresh snapshot must equal the book once the events up to it are applied."""
    fresh = await client.get(path, symbol="BTCUSDT", limit=1000)
    while at < fresh["lastUpdateId"]:
        event = await receive(socket)
        apply(book, event)
        at = event["u"]
    if at == fresh["lastUpdateId"]:
        assert book == {"b": dict(fresh["bids"]), "a": dict(fresh["asks"])}
