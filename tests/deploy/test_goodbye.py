"""What clients of every door hear through Nginx when somebody ends `make cluster` by Ctrl-C."""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.deploy.test_cluster import cluster, read_until_ready
from tests.support.processes import free_port, two_free_ports

SHUTDOWN = (1000, "Server shutting down")
GOING_AWAY = 1001
NOOP = "6"
"""Engine.IO's packet at the end of a session."""


class Heard(NamedTuple):
    """What one client was sent, and how it ended."""

    messages: list[Any]
    code: int | None
    reason: str | None


async def listen(socket: ClientConnection) -> Heard:
    """Everything until the server closes."""
    messages = []
    try:
        while True:
            messages.append(await socket.recv())
    except ConnectionClosed as end:
        return Heard(messages, end.rcvd.code if end.rcvd else None, end.rcvd.reason if end.rcvd else None)


async def socket_io(stack: AsyncExitStack, url: str) -> ClientConnection:
    """A Socket.IO client over WebSocket that has subscribed."""
    socket = await stack.enter_async_context(connect(f"{url}/socket.io/?EIO=4&transport=websocket"))
    await socket.send("40")
    await socket.send('420["subscribe",{"streams":["btcusdt@ticker"]}]')
    while not str(await socket.recv()).startswith("430"):
        pass
    return socket


async def json_client(stack: AsyncExitStack, url: str) -> ClientConnection:
    """A client of the JSON door that has subscribed."""
    socket = await stack.enter_async_context(connect(url))
    await socket.send(json.dumps({"type": "subscribe", "streamType": "ticker", "symbols": ["BTCUSDT"]}))
    while json.loads(await socket.recv())["type"] != "subscribed":
        pass
    return socket


async def binance_client(stack: AsyncExitStack, url: str, path: str) -> ClientConnection:
    """A client of Binance's protocol that has what it subscribed to."""
    socket = await stack.enter_async_context(connect(url + path))
    await socket.recv()
    return socket


async def poll_until_the_end(http: aiohttp.ClientSession, url: str, began: asyncio.Event) -> None:
    """A Socket.IO client over long polling: returns once a poll is answered by the end of the session."""
    address = f"{url}/socket.io/?EIO=4&transport=polling"
    async with http.get(address) as opened:
        address += f"&sid={json.loads((await opened.text())[1:])['sid']}"
    async with http.post(address, data="40") as posted:
        assert posted.status == 200
    packets = [""]
    while packets[-1] != NOOP:
        async with http.get(address) as polled:
            assert polled.status == 200
            packets = (await polled.text()).split("\x1e")
            began.set()


async def test_ctrl_c_lets_every_client_hear_goodbye_before_nginx_ends() -> None:
    port = free_port()
    with cluster(port, two_free_ports()) as supervisor:
        await asyncio.to_thread(read_until_ready, supervisor)
        url = f"ws://127.0.0.1:{port}"
        async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
            socketio, plain = await socket_io(stack, url), await json_client(stack, url)
            raw = await binance_client(stack, url, "/ws/btcusdt@ticker")
            combined = await binance_client(stack, url, "/market/stream?streams=btcusdt@aggTrade")
            began = asyncio.Event()
            polling = asyncio.create_task(poll_until_the_end(http, url.replace("ws", "http", 1), began))
            await began.wait()
            async with http.get(f"http://127.0.0.1:{port}/health/live") as response:
                assert response.status == 200  # by now the next poll is with the replica

            os.killpg(supervisor.pid, signal.SIGINT)  # as a terminal does: the whole group
            async with asyncio.timeout(20):
                ends = await asyncio.gather(*map(listen, (socketio, plain, raw, combined)))
                await polling

        assert supervisor.wait(timeout=20) == 0
    assert [(heard.code, heard.reason) for heard in ends[:2]] == [SHUTDOWN, SHUTDOWN]
    assert [heard.code for heard in ends[2:]] == [GOING_AWAY, GOING_AWAY]
    assert json.loads(ends[2].messages[-1])["e"] == "serverShutdown"
    assert json.loads(ends[3].messages[-1])["data"]["e"] == "serverShutdown"
