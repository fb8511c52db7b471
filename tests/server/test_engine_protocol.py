"""Engine.IO 4 on the wire: our bounds, and what the application is told. The protocol itself: tests/conformance."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.server.conftest import until
from tests.server.engine_server import FRIEND, EngineService, get, open_polling, post, serving, texts_until_closed

SHORT = {"ping_interval": 0.3, "ping_timeout": 0.2}


@pytest.fixture
async def service() -> AsyncIterator[EngineService]:
    async with serving() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_session_takes_neither_put_nor_a_transport_it_is_not_on(
    service: EngineService, http: aiohttp.ClientSession
) -> None:
    sid = await open_polling(http, service)
    async with http.put(service.polling(sid)) as response:
        assert response.status == 400
    assert (await get(http, service.websocket(sid)))[0] == 400
    assert await post(http, service.polling(sid), "40") == (200, "ok")


async def test_a_server_that_stops_opens_no_session(service: EngineService, http: aiohttp.ClientSession) -> None:
    await service.server.close()
    status, body = await get(http, service.polling())
    assert (status, body) == (503, "Server shutting down")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await http.ws_connect(service.websocket())


async def test_percent_signs_in_a_query_are_read(service: EngineService) -> None:
    reader, writer = await asyncio.open_connection(*_address(service))
    writer.write(b"GET /socket.io/?%45IO=4&transport=p%6flling HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("body", ["b!", "b", "40\x1e"])
async def test_a_post_that_is_no_packet_ends_the_session(
    service: EngineService, http: aiohttp.ClientSession, body: str
) -> None:
    sid = await open_polling(http, service)
    assert (await post(http, service.polling(sid), body))[0] == 400
    assert (await get(http, service.polling(sid)))[0] == 400


async def test_a_poll_that_its_client_gives_up_ends_the_session(
    service: EngineService, http: aiohttp.ClientSession
) -> None:
    sid = await open_polling(http, service)
    await post(http, service.polling(sid), "40")
    await get(http, service.polling(sid))
    given_up = asyncio.create_task(get(http, service.polling(sid)))
    await until(lambda: _waits(service, sid), "the poll waits")
    given_up.cancel()
    await until(lambda: service.left, "the application is told")
    assert service.left == ["transport close"]
    assert (await get(http, service.polling(sid)))[0] == 400


async def test_a_polling_client_that_closes_gets_its_waiting_poll_answered(
    service: EngineService, http: aiohttp.ClientSession
) -> None:
    sid = await open_polling(http, service)
    await post(http, service.polling(sid), "40")
    await get(http, service.polling(sid))
    poll = asyncio.create_task(get(http, service.polling(sid)))
    await until(lambda: _waits(service, sid), "the poll waits")
    assert await post(http, service.polling(sid), "1\x1e42[]") == (200, "ok")
    assert await poll == (200, "6")
    assert service.left == ["client disconnect"]
    assert (await get(http, service.polling(sid)))[0] == 400


async def test_a_websocket_client_that_closes_is_closed(service: EngineService, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40")
        await ws.send_str("1")
        await texts_until_closed(ws)
    assert service.left == ["client disconnect"]


@pytest.mark.parametrize("packet", ["abc", "b!"])
async def test_a_websocket_message_that_is_no_packet_closes_it(
    service: EngineService, http: aiohttp.ClientSession, packet: str
) -> None:
    async with http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40")
        await ws.send_str(packet)
        await texts_until_closed(ws)
    assert service.left == ["transport error"]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_does_not_answer_pings_is_dropped(transport: str, http: aiohttp.ClientSession) -> None:
    async with serving(**SHORT) as service:
        if transport == "polling":
            sid = await open_polling(http, service)
            await post(http, service.polling(sid), "40")
            await until(lambda: service.left, "the application is told")
            assert (await get(http, service.polling(sid)))[0] == 400
        else:
            async with http.ws_connect(service.websocket()) as ws:
                await ws.send_str("40")
                await texts_until_closed(ws)
        assert service.left == ["ping timeout"]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_never_connects_to_a_namespace_is_dropped(
    transport: str, http: aiohttp.ClientSession
) -> None:
    async with serving(connect_timeout_s=0.2) as service, http.ws_connect(service.websocket()) as connected:
        await connected.send_str("40")
        if transport == "polling":
            sid = await open_polling(http, service)
            assert await get(http, service.polling(sid)) == (200, "1")
        else:
            async with http.ws_connect(service.websocket()) as ws:
                await texts_until_closed(ws)
        assert len(service.server.eio.sockets) == 1
        await connected.send_str('427["echo"]')
        async with asyncio.timeout(5):
            while (await connected.receive()).data != "437[[]]":
                pass


async def test_only_allowed_origins_may_connect(service: EngineService, http: aiohttp.ClientSession) -> None:
    async with http.get(service.polling(), headers={"Origin": "https://stranger.example"}) as response:
        assert response.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(service.websocket(), headers={"Origin": "https://stranger.example"})
    async with http.get(service.polling(), headers={"Origin": FRIEND}) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
    asked = {"Origin": FRIEND, "Access-Control-Request-Headers": "x-token"}
    async with http.options(service.polling(), headers=asked) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Headers"] == "x-token"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
    async with http.ws_connect(service.websocket(), headers={"Origin": FRIEND}) as ws:
        assert (await ws.receive()).data.startswith("0")


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, deflate", "gzip"), ("identity", None)])
async def test_long_answers_are_compressed_for_those_who_can_read_them(
    service: EngineService, accepted: str, encoding: str | None
) -> None:
    async with aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": accepted}) as http:
        sid = await open_polling(http, service)
        await post(http, service.polling(sid), f'40\x1e420["echo","{"x" * 3000}"]')
        async with http.get(service.polling(sid)) as response:
            body = await response.read()
    assert response.headers.get("Content-Encoding") == encoding
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_length == len(body)
    assert (gzip.decompress(body) if encoding else body).endswith(b'xxx"]]')
    assert len(body) < 300 or not encoding


async def test_short_answers_are_never_compressed(service: EngineService, http: aiohttp.ClientSession) -> None:
    async with http.get(service.polling(), headers={"Accept-Encoding": "gzip"}) as response:
        assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("head", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"])
async def test_a_client_that_keeps_no_connection_gets_its_answer_and_the_end(
    service: EngineService, head: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*_address(service))
    writer.write(b"GET /socket.io/?EIO=4&transport=polling " + head + b"\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert b" 200 OK\r\n" in answer
    assert answer.partition(b"\r\n\r\n")[2].startswith(b'0{"sid"')
    writer.close()
    await writer.wait_closed()


async def test_a_chunked_post_is_read_and_a_huge_one_refused(
    service: EngineService, http: aiohttp.ClientSession
) -> None:
    async def parts(count: int) -> AsyncIterator[bytes]:
        yield b"40"
        for _ in range(count):
            yield b"x" * 65536

    sid = await open_polling(http, service)
    async with http.post(service.polling(sid), data=parts(0)) as response:
        assert (response.status, await response.text()) == (200, "ok")
    try:
        async with http.post(service.polling(sid), data=parts(80)) as response:
            assert response.status == 400
    except aiohttp.ClientConnectionError:
        pass  # closed before all of it was sent
    assert (await get(http, service.polling(sid)))[0] == 400


async def test_a_message_over_the_limit_is_refused_alone(service: EngineService, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40")
        await ws.send_str(f'42["echo","{"x" * 1_000_000}"]')
        await ws.send_str('421["echo"]')
        texts = [(await ws.receive(timeout=5)).data for _ in range(5)]
    assert json.loads(texts[3].removeprefix("42"))[1]["code"] == "message_too_large"
    assert texts[4] == "431[[]]"


def _address(service: EngineService) -> tuple[str, int]:
    return "127.0.0.1", int(service.url.removeprefix("http://127.0.0.1:").partition("/")[0])


def _waits(service: EngineService, sid: str) -> bool:
    polling = service.server.eio.sockets[sid]._polling
    return polling is not None and polling.is_awaited
