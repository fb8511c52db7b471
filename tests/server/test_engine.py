"""What server/doors/engine.py relies on in foreign code, and what it changes, on the wire."""

import asyncio
import inspect
import json

import aiohttp
import engineio
import pytest
import socketio

from server.delivery import BUFFER_BYTES
from server.doors import engine
from tests.server.conftest import Client, Served, until

SEPARATOR = "\x1e"


def test_the_releases_are_the_ones_this_was_written_for() -> None:
    """A new release may move what engine.py overrides: read its changes, run this file, then raise the numbers."""
    assert socketio.__version__ if hasattr(socketio, "__version__") else True
    assert list(inspect.signature(engineio.AsyncServer._handle_connect).parameters) == [
        "self", "environ", "transport", "jsonp_index",
    ]  # fmt: skip
    assert list(inspect.signature(socketio.AsyncServer._handle_event_internal).parameters) == [
        "self", "server", "sid", "eio_sid", "data", "namespace", "id",
    ]  # fmt: skip
    for name in ("_handle_connect", "_handle_eio_message", "_engineio_server_class", "_send_packet"):
        assert callable(getattr(socketio.AsyncServer, name))
    for name in ("poll", "send", "close", "receive", "handle_get_request", "handle_post_request", "_upgrade_websocket"):
        assert callable(getattr(engineio.async_socket.AsyncSocket, name))


async def _open_polling(http: aiohttp.ClientSession, url: str) -> str:
    """Open a polling session, connect the main namespace, take the greeting; the URL of the session."""
    async with http.get(f"{url}/socket.io/?EIO=4&transport=polling") as response:
        sid = json.loads((await response.text())[1:])["sid"]
    session = f"{url}/socket.io/?EIO=4&transport=polling&sid={sid}"
    async with http.post(session, data="40") as response:
        assert response.status == 200
    async with http.get(session) as response:
        assert (await response.text()).startswith("40")
    return session


async def test_a_polling_client_may_send_and_receive_many_packets_in_one_request(served: Served) -> None:
    async with aiohttp.ClientSession(headers={"User-Agent": "node"}) as http:
        session = await _open_polling(http, served.url)
        packets = SEPARATOR.join(f'42{n}["subscriptions"]' for n in range(40))
        async with http.post(session, data=packets) as response:
            assert response.status == 200
        async with http.get(session) as response:
            acknowledged = [packet for packet in (await response.text()).split(SEPARATOR) if packet.startswith("43")]
    assert len(acknowledged) == 40


@pytest.mark.parametrize(
    "packet", ["4abc", "42{}", '42["subscribe"', "49[]", "45", '42["x"' + "[" * 5000, "42[]", "42[7]"]
)
async def test_a_malformed_packet_harms_nobody(served: Served, packet: str) -> None:
    neighbour = Client()
    await neighbour.connect(served.url, "websocket")
    await neighbour.call("subscribe", {"streams": ["btcusdt@trade"]})
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        await ws.receive()
        await ws.send_str("40")
        await ws.send_str(packet)
        await ws.send_str('420["subscriptions"]')
        async with asyncio.timeout(5):
            while not (await ws.receive()).data.startswith("430"):
                pass
    await served.publish("btcusdt@trade")
    await until(lambda: neighbour.named("trade"), "the neighbour's trade")
    await neighbour.io.disconnect()


async def test_a_broken_engine_frame_ends_its_connection_at_once(served: Served) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        await ws.receive()
        await ws.send_str("9")
        async with asyncio.timeout(5):
            async for _ in ws:
                pass
        assert ws.closed


async def test_an_upgrade_loses_nothing_and_repeats_nothing(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        session = await _open_polling(http, served.url)
        async with http.post(session, data='420["subscribe",{"streams":["btcusdt@trade"]}]'):
            sent = await served.publish("btcusdt@trade", count=50)
        async with http.ws_connect(session.replace("transport=polling", "transport=websocket")) as ws:
            await ws.send_str("2probe")
            assert (await ws.receive()).data == "3probe"
            sent += await served.publish("btcusdt@trade", count=50)
            await ws.send_str("5")
            sent += await served.publish("btcusdt@trade", count=50)
            received = [(await ws.receive(timeout=5)).data for _ in range(1 + 150)]
    assert not [packet for packet in received if packet == "6"]
    events = [json.loads(packet[2:])[1] for packet in received if packet.startswith('42["trade"')]
    assert [event["cursor"] for event in events] == [message.cursor for message in sent]


async def test_a_client_that_never_reads_is_let_go_and_others_are_served(served: Served) -> None:
    healthy = Client()
    await healthy.connect(served.url, "websocket")
    await healthy.call("subscribe", {"streams": ["btcusdt@trade"]})
    async with aiohttp.ClientSession() as http:
        session = await _open_polling(http, served.url)  # and never polls again
        async with http.post(session, data='42["subscribe",{"streams":["btcusdt@trade"]}]'):
            pass
        payload = b'"' + b"x" * 10_000 + b'"'
        count = BUFFER_BYTES // 10_000 + 10
        for _ in range(count):
            await served.publish("btcusdt@trade", payload)
            await asyncio.sleep(0)
        async with http.get(f"{served.url}/metrics") as response:
            assert "tickcast_slow_consumers_total 1.0" in await response.text()
        async with http.get(session) as response:
            assert response.status == 400
    await until(lambda: len(healthy.named("trade")) == count, "the healthy client's messages")
    await healthy.io.disconnect()


async def test_a_websocket_that_never_reads_is_let_go(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]), limit=1024)
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        for text in (b"40", b'42["subscribe",{"streams":["btcusdt@trade"]}]'):
            writer.write(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text)
        payload = b'"' + b"x" * 100_000 + b'"'

        async def let_go() -> bool:
            await served.publish("btcusdt@trade", payload, count=5)
            async with http.get(f"{served.url}/metrics") as response:
                return "tickcast_slow_consumers_total 1.0" in await response.text()

        await until(let_go, "the replica lets the client go")
        writer.close()


async def test_frames_are_never_compressed(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url, compress=15) as ws:
            assert ws.compress == 0


def test_the_hard_limit_leaves_room_to_refuse_politely() -> None:
    assert engine.HARD_LIMIT_BYTES > 2 * 2**20
