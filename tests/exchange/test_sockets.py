"""What the stand-in does beyond the protocol: tests/server/binance has that for both servers."""

import asyncio
import json

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from exchange.connections import MAX_BACKLOG
from tests.exchange.client import Client, ask, closing_of, eventually, receive
from tests.exchange.conftest import Start


async def test_a_client_within_the_rate_stays(client: Client) -> None:
    socket = await client.socket("/ws")
    for number in range(4):
        await ask(socket, "LIST_SUBSCRIPTIONS", request_id=number)
    assert client.exchange.status()["connections"] == {"spot": 1, "futures": 0}


async def test_connections_end_after_their_lifetime(start: Start) -> None:
    client = await start(exchange_lifetime_s=0.5)
    socket = await client.socket("/stream")
    assert (await closing_of(socket))[0] == 1001


async def test_connection_attempts_are_limited_on_spot_only(start: Start) -> None:
    client = await start(connection_attempts=3)
    for _ in range(3):
        await client.socket("/ws")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{client.ws_base}/ws")
    assert refused.value.response.status_code == 429
    await client.socket("/public/ws")
    assert client.exchange.status()["connections_refused_total"] == 1


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


async def test_clients_that_send_too_much_are_counted(client: Client) -> None:
    socket = await client.socket("/ws")
    for number in range(6):
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
    assert (await closing_of(socket))[0] == 1008
    assert client.exchange.status()["rate_closed_total"] == 1


async def test_nothing_is_left_when_clients_leave(client: Client) -> None:
    sockets = [await client.socket("/ws/btcusdt@trade") for _ in range(3)]
    for socket in sockets:
        await receive(socket)
        socket.transport.abort()
    await eventually(lambda: client.exchange.status()["streams"] == [], "streams without subscribers are dropped")
    assert client.exchange.status()["connections"] == {"spot": 0, "futures": 0}
