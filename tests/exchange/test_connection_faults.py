"""The faults of connections that tests may ask the stand-in for, as a client sees them."""

import asyncio
import contextlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from exchange.garbage import OVERSIZED_BYTES
from tests.exchange.client import Client, ask, closing_of, eventually, receive, receive_until


@pytest.mark.parametrize("status", [429, 418, 403, 503])
async def test_handshakes_are_refused_and_rest_is_not(client: Client, status: int) -> None:
    await client.control("refuse", door="websocket", status=status, retry_after=7, requests=2)
    for path in ("/ws", "/public/ws"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{client.ws_base}{path}")
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["Retry-After"] == "7"
    await client.get("/api/v3/ping")
    await client.socket("/ws")
    assert client.exchange.status()["connections_refused_total"] == 2


async def test_a_refused_handshake_may_say_nothing_of_when_to_come_back(client: Client) -> None:
    await client.control("refuse", door="websocket", status=403, retry_after=0, requests=1)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{client.ws_base}/ws")
    assert "Retry-After" not in refused.value.response.headers


async def test_connections_are_closed_with_the_code_asked_for(client: Client) -> None:
    spot, futures = await client.socket("/ws"), await client.socket("/market/ws")
    assert (await client.control("close", code=1008, reason="Too many requests", market="spot"))["closed"] == 1
    assert await closing_of(spot) == (1008, "Too many requests")
    assert futures.close_code is None


async def test_a_muted_stream_is_silent_here_and_speaks_on_new_connections(client: Client) -> None:
    old = await client.socket("/stream?streams=btcusdt@trade/ethusdt@trade")
    await receive_until(old, lambda message: message["stream"] == "btcusdt@trade")
    assert (await client.control("mute", streams="btcusdt@*", market="spot"))["muted"] == 1
    assert (await ask(old, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@trade"]
    new = await client.socket("/stream?streams=btcusdt@trade")
    await receive(new)
    for _ in range(8):
        assert (await receive(old))["stream"] == "ethusdt@trade"


async def test_a_stalled_connection_plays_dead_without_ending(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade", ping_interval=None)
    await receive(socket)
    assert (await client.control("stall", seconds=60))["stalled"] == 1
    pong = asyncio.ensure_future(await socket.ping())
    await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
    heard: list[Any] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.7):
            while True:
                heard.append(json.loads(await socket.recv()))
    assert not any("id" in message for message in heard)
    assert not pong.done()
    assert socket.close_code is None
    await client.control("reset")
    await receive_until(socket, lambda message: "t" in message)


@pytest.mark.parametrize(
    ("garbage", "frame"),
    [
        ("invalid_json", b'{"stream":"btcusdt@trade","data":'),
        ("unknown_stream", b'{"stream":"nosuchusdt@trade","data":{"e":"trade","E":1}}'),
        ("error", b'{"error":{"code":2,"msg":"Invalid request: unknown"},"id":null}'),
        ("reply", b'{"result":null,"id":4294967295}'),
        ("binary", b'{"stream":"btcusdt@trade","data":{}}'),
        ("empty", b""),
        ("not_utf8", b"\xff\xfe\x00"),
    ],
)
async def test_garbage_comes_as_it_is(client: Client, garbage: str, frame: bytes) -> None:
    socket = await client.socket("/stream")
    assert (await client.control("say", garbage=garbage))["told"] == 1
    async with asyncio.timeout(5):
        assert await socket.recv(decode=False) == frame


@pytest.mark.parametrize(("garbage", "code"), [("oversized", 1009), ("reserved_opcode", 1002)])
async def test_frames_that_end_a_connection_do(client: Client, garbage: str, code: int) -> None:
    socket = await client.socket("/stream", max_size=OVERSIZED_BYTES - 1)
    await client.control("say", garbage=garbage)
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.sent is not None
    assert closed.value.sent.code == code


async def test_the_busiest_second_of_any_client_is_told(client: Client) -> None:
    socket = await client.socket("/ws")
    for number in range(4):
        await ask(socket, "LIST_SUBSCRIPTIONS", request_id=number)
    busiest: dict[str, Any] = client.exchange.status()["busiest_second"]
    assert busiest == {"spot": 4, "futures": 0, "bybit": 0}
    await eventually(lambda: client.exchange.status()["client_messages_total"] == 4, "all counted")
