"""What the Socket.IO engine relies on in foreign code, and how it treats slow and broken clients, on the wire."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
import engineio
import pytest
import socketio
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpRequestParser
from aiohttp.web_protocol import RequestHandler
from websockets.asyncio.client import connect

from server.doors.heartbeat import Heartbeat
from tests.server.conftest import Client, Served, until

SEPARATOR = "\x1e"


@pytest.mark.parametrize(
    ("package", "release"),
    [("python-socketio", "5.18."), ("python-engineio", "4.15."), ("aiohttp", "3.14."), ("websockets", "17.")],
)
def test_the_releases_are_the_ones_this_was_written_for(package: str, release: str) -> None:
    """Read the changes of a new release, run this file against it, then raise the number."""
    assert version(package).startswith(release)


def _parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_what_is_overridden_still_has_the_shape_that_its_callers_rely_on() -> None:
    engine, server, manager = engineio.AsyncServer, socketio.AsyncServer, socketio.AsyncManager
    assert _parameters(engine.attach) == ["self", "app", "engineio_path"]
    assert _parameters(engine.handle_request) == ["self", "args", "kwargs"]
    assert _parameters(engine.generate_id) == ["self"]
    assert _parameters(server._handle_connect) == ["self", "eio_sid", "namespace", "data"]
    assert _parameters(server._handle_eio_disconnect) == ["self", "eio_sid", "reason"]
    assert _parameters(server._send_packet) == ["self", "eio_sid", "pkt"]
    assert _parameters(server._send_eio_packet) == ["self", "eio_sid", "eio_pkt"]
    assert _parameters(server._handle_event_internal) == [
        "self", "server", "sid", "eio_sid", "data", "namespace", "id",
    ]  # fmt: skip
    assert _parameters(manager.pre_connect) == ["self", "eio_sid", "namespace"]


def test_what_is_called_inside_of_foreign_code_is_still_there() -> None:
    engine, server = engineio.AsyncServer, socketio.AsyncServer
    assert _parameters(engine._trigger_event) == ["self", "event", "args", "kwargs"]
    assert _parameters(engine._cors_allowed_origins) == ["self", "environ"]
    assert _parameters(engine._get_socket) == ["self", "sid"]
    assert _parameters(server._handle_event) == ["self", "eio_sid", "namespace", "id", "data"]
    assert _parameters(server._handle_ack) == ["self", "eio_sid", "namespace", "id", "data"]
    assert _parameters(server._handle_disconnect) == ["self", "eio_sid", "namespace", "reason"]
    assert _parameters(socketio.packet.Packet.add_attachment) == ["self", "attachment"]
    assert _parameters(RequestHandler.connection_lost) == ["self", "exc"]
    assert {"_message_tail", "_current_request"} <= set(RequestHandler.__slots__)
    assert _parameters(web.Request._cancel) == ["self", "exc"]
    assert _parameters(web.Response.prepare) == ["self", "request"]
    assert _parameters(web.Response.write_eof) == ["self", "data"]
    assert isinstance(inspect.getattr_static(web.Response, "keep_alive"), property)
    assert rfc822_formatted_time().endswith(" GMT")


def test_aiohttp_parses_requests_with_its_compiled_parser() -> None:
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"


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


async def test_a_second_poll_at_once_ends_the_session_and_the_first_is_answered(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        session = await _open_polling(http, served.url)
        first = asyncio.create_task(_until_answered(http, session))
        await asyncio.sleep(0.3)  # until one of its polls waits: nothing outside shows that
        assert await _status(http, session) == 400
        async with asyncio.timeout(5):
            await first
        assert await _status(http, session) == 400


async def _status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        await response.read()
        return response.status


async def _until_answered(http: aiohttp.ClientSession, url: str) -> None:
    while await _status(http, url) == 200:
        pass


@pytest.mark.parametrize("packet", ["4abc", "42{}", '42["subscribe"', "49[]", "45", '42["x"' + "[" * 5000, "42[]"])
async def test_a_malformed_packet_ends_its_own_session_and_no_other(served: Served, packet: str) -> None:
    neighbour = Client()
    await neighbour.connect(served.url, "websocket")
    await neighbour.call("subscribe", {"streams": ["btcusdt@trade"]})
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        await ws.send_str("40")
        await ws.send_str(packet)
        async with asyncio.timeout(5):
            async for _ in ws:
                pass
    await served.publish("btcusdt@trade")
    await until(lambda: neighbour.named("trade"), "the neighbour's trade")
    await neighbour.io.disconnect()


@pytest.mark.parametrize(
    "event", ["[7]", '["nothing like it"]', '["subscribe"]', '["subscribe",{}]', '["subscribe",{"streams":[1]}]']
)
async def test_an_event_that_asks_for_something_wrong_is_refused_and_harms_nobody(served: Served, event: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        for packet in ("40", f"42{event}", '420["subscriptions"]'):
            await ws.send_str(packet)
        texts: list[str] = []
        async with asyncio.timeout(5):
            while not texts or not texts[-1].startswith("430"):
                texts.append((await ws.receive()).data)
    assert texts[-2].startswith('42["error",{"code":"')


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


BIG = b'"' + b"x" * 10_000 + b'"'
SLOW = {"slow_consumer_s": 1.0, "client_buffer_bytes": 200_000}


def frame(text: bytes) -> bytes:
    """A masked client frame (RFC 6455, 5.2) of a short text; the mask is zero."""
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


@asynccontextmanager
async def raw_websocket(
    url: str, extensions: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket whose bytes the test reads itself, or does not; already connected to the main namespace."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=64 * 1024)
    offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        + offer.encode()
        + b"\r\n"
    )
    writer.write(frame(b"40"))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def metric(served: Served, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"tickcast_{name} "))


@pytest.mark.parametrize("served", [SLOW], indirect=True)
async def test_a_websocket_that_never_reads_is_let_go_and_others_are_served(served: Served) -> None:
    healthy = Client()
    await healthy.connect(served.url, "websocket")
    await healthy.call("subscribe", {"streams": ["btcusdt@trade"]})
    async with raw_websocket(served.url) as (_, writer):
        writer.write(frame(b'42["subscribe",{"streams":["btcusdt@trade"]}]'))
        sent = 0

        async def let_go() -> bool:
            nonlocal sent
            sent += len(await served.publish("btcusdt@trade", BIG, count=20))
            return await metric(served, "slow_consumers_total") == 1

        await until(let_go, "the replica lets the client go")
        assert await metric(served, "lagging_clients") == 0
        assert await metric(served, 'client_dropped_messages_total{reason="buffer_full"}') > 0
        await until(lambda: len(healthy.named("trade")) == sent, "the healthy client has everything")
    await healthy.io.disconnect()


@pytest.mark.parametrize("served", [SLOW], indirect=True)
async def test_a_polling_client_that_never_polls_again_is_let_go(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        session = await _open_polling(http, served.url)
        async with http.post(session, data='42["subscribe",{"streams":["btcusdt@trade"]}]'):
            pass
        await served.publish("btcusdt@trade", BIG, count=100)
        await until(lambda: _is(served, "slow_consumers_total", 1), "let go")
        async with http.get(session) as response:
            assert response.status == 400


async def _is(served: Served, name: str, value: float) -> bool:
    return await metric(served, name) == value


async def _events(http: aiohttp.ClientSession, session: str) -> list[tuple[str, dict[str, Any]]]:
    async with http.get(session) as response:
        packets = (await response.text()).split(SEPARATOR)
    return [tuple(json.loads(packet[2:])) for packet in packets if packet.startswith("42")]


@pytest.mark.parametrize("served", [{"client_buffer_bytes": 200_000}], indirect=True)
async def test_a_lagging_client_is_told_how_many_messages_it_missed_and_where(served: Served) -> None:
    """Events are queued, then dropped and counted; state streams come as their latest value."""
    async with aiohttp.ClientSession() as http:
        session = await _open_polling(http, served.url)
        async with http.post(session, data='42["subscribe",{"streams":["btcusdt@trade","btcusdt@depth20"]}]'):
            pass
        trades = await served.publish("btcusdt@trade", BIG, count=100)
        books = await served.publish("btcusdt@depth20", BIG, count=50)
        received: list[tuple[str, dict[str, Any]]] = []
        while not any(event == "depth" for event, _ in received):
            received += await _events(http, session)
        after = await served.publish("btcusdt@trade", b"1")
        while received[-1][1].get("cursor") != after[0].cursor:
            received += await _events(http, session)
    got = [body["cursor"] for event, body in received if event == "trade"]
    gaps = {body["stream"]: body for event, body in received if event == "gap"}
    dropped = gaps["spot:btcusdt@trade"]
    assert got[:-1] == [message.cursor for message in trades[: len(got) - 1]]
    assert (dropped["missed"], dropped["until"]) == (len(trades) - len(got) + 1, trades[-1].cursor)
    assert dropped["reason"] == "dropped"
    assert [body["cursor"] for event, body in received if event == "depth"] == [books[-1].cursor]
    assert gaps["spot:btcusdt@depth20"] == {
        "stream": "spot:btcusdt@depth20", "missed": len(books) - 1, "until": books[-2].cursor, "reason": "conflated",
    }  # fmt: skip


async def test_a_client_that_reads_again_catches_up_and_is_not_let_go(served: Served) -> None:
    async with raw_websocket(served.url) as (reader, writer):
        writer.write(frame(b'42["subscribe",{"streams":["btcusdt@trade","btcusdt@depth20"]}]'))
        await reader.readuntil(b'"replica"')
        while await metric(served, "lagging_clients") == 0:
            await served.publish("btcusdt@depth20", BIG, count=50)
        latest = (await served.publish("btcusdt@depth20", BIG, count=3))[-1]
        (trade,) = await served.publish("btcusdt@trade", b"1")
        wanted = {b'"cursor":%d,' % latest.cursor, b'"cursor":%d,' % trade.cursor, b'42["gap"'}
        seen = b""
        async with asyncio.timeout(10):
            while not all(mark in seen for mark in wanted):
                seen = seen[-200:] + await reader.read(65536)
                wanted = {mark for mark in wanted if mark not in seen}
        await until(lambda: _is(served, "lagging_clients", 0), "caught up")
        assert await metric(served, 'client_dropped_messages_total{reason="conflated"}') > 0


async def test_frames_of_a_kilobyte_go_compressed_to_clients_that_can_read_them(served: Served) -> None:
    url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
    plain = Client()
    compressed: list[Any] = []
    await plain.connect(served.url, "websocket")
    await plain.call("subscribe", {"streams": ["btcusdt@depth20", "btcusdt@trade"]})
    async with connect(url.replace("http", "ws"), compression="deflate") as ws:
        await ws.recv()
        for text in ("40", '42["subscribe",{"streams":["btcusdt@depth20","btcusdt@trade"]}]' + " " * 2000):
            await ws.send(text)
        await until(lambda: served_members(served), "subscribed")
        await served.publish("btcusdt@depth20", BIG, count=3)
        await served.publish("btcusdt@trade", b"1", count=3)
        async with asyncio.timeout(5):
            while len(compressed) < 6:
                text = str(await ws.recv())
                if text.startswith(('42["depth"', '42["trade"')):
                    compressed.append(json.loads(text[2:])[1])
    await until(lambda: len(plain.named("depth") + plain.named("trade")) == 6, "the plain client's")
    assert compressed == plain.named("depth") + plain.named("trade")
    async with raw_websocket(served.url, "permessage-deflate") as (reader, writer):
        writer.write(frame(b'42["subscribe",{"streams":["btcusdt@depth20"]}]'))
        await until(lambda: served_members(served), "subscribed")
        await reader.readuntil(b'"replica"')
        await served.publish("btcusdt@depth20", BIG)
        async with asyncio.timeout(5):
            read = b""
            while b"\xc1" not in read:  # FIN, RSV1, text: a compressed frame
                read = await reader.read(4096)
        assert len(read) < 1000
    await plain.io.disconnect()


async def served_members(served: Served) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/stats") as response:
        counts = (await response.json())["data"]["subscriptions_by_stream"]
    return bool(counts.get("spot:btcusdt@depth20", 0) >= 2)


async def test_a_session_that_does_not_answer_pings_is_closed_and_one_that_does_is_not() -> None:
    beat = Heartbeat(interval_s=0.1, timeout_s=0.2)
    silent, lively = Pinged(beat, answers=False), Pinged(beat, answers=True)
    beat.add(silent)
    beat.add(lively)
    await until(lambda: silent.ended, "the silent one is given up")
    assert silent.pings == 1
    await until(lambda: lively.pings >= 4, "the lively one is pinged on")
    assert not lively.ended
    beat.remove(lively)
    beat.close()


class Pinged:
    """A session as the heartbeat knows it."""

    def __init__(self, beat: Heartbeat, *, answers: bool) -> None:
        self.slot = -1
        self.pings = 0
        self.ended = False
        self._beat = beat
        self._answers = answers

    def ping(self) -> None:
        self.pings += 1
        if self._answers:
            self._beat.answered(self)

    def timed_out(self) -> None:
        self.ended = True
        self._beat.remove(self)
