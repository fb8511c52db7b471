"""The upgrade of Engine.IO 4 on the wire: what the published suite asks for, and whatever can go wrong on the way."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conformance.peers import (
    SEPARATOR,
    WAIT_S,
    get,
    is_over,
    next_text,
    opened,
    polling,
    post,
    until_closed,
    waiting,
    websocket,
)
from tests.conformance.targets import Target
from tests.server.conftest import until


async def _probed(http: aiohttp.ClientSession, target: Target, sid: str) -> aiohttp.ClientWebSocketResponse:
    ws = await http.ws_connect(websocket(target.engine, sid))
    await ws.send_str("2probe")
    assert (await ws.receive(timeout=WAIT_S)).data == "3probe"
    return ws


async def test_a_session_upgrades_and_a_poll_meanwhile_gets_a_noop(target: Target, http: aiohttp.ClientSession) -> None:
    sid = await opened(http, target.engine)
    async with await _probed(http, target, sid) as ws:
        status, body = await get(http, polling(target.engine, sid))
        assert (status, body.split(SEPARATOR)[-1]) == (200, "6")
        await ws.send_str("5")
        await ws.send_str("4hello")
        assert await next_text(ws) == "4hello"


async def test_a_poll_that_waits_when_the_upgrade_begins_gets_a_noop(
    target: Target, http: aiohttp.ClientSession
) -> None:
    sid = await opened(http, target.engine)
    poll = await waiting(http, target.engine, sid)
    async with await _probed(http, target, sid) as ws:
        assert await poll == (200, "6")
        await ws.send_str("5")
        await ws.send_str("4hello")
        assert await next_text(ws) == "4hello"


async def test_http_requests_after_the_upgrade_are_refused(target: Target, http: aiohttp.ClientSession) -> None:
    sid = await opened(http, target.engine)
    async with await _probed(http, target, sid) as ws:
        await ws.send_str("5")
        await ws.send_str("4first")
        assert await next_text(ws) == "4first"
        assert (await get(http, polling(target.engine, sid)))[0] == 400
        assert (await post(http, polling(target.engine, sid), "4lost"))[0] == 400
        await ws.send_str("4hello")
        assert await next_text(ws) == "4hello"


@pytest.mark.parametrize("begun", ["upgraded", "probing", "websocket"])
async def test_a_second_websocket_of_a_session_is_accepted_and_closed(
    target: Target, http: aiohttp.ClientSession, begun: str
) -> None:
    if begun == "websocket":
        ws = await http.ws_connect(websocket(target.engine))
        sid = json.loads((await ws.receive()).data[1:])["sid"]
        if not target.is_ours:
            await ws.close()
            pytest.skip("Node lets a session that began on a WebSocket upgrade to another one")
    else:
        sid = await opened(http, target.engine)
        ws = await _probed(http, target, sid)
    async with ws:
        if begun == "upgraded":
            await ws.send_str("5")
        async with http.ws_connect(websocket(target.engine, sid)) as second:
            await second.send_str("4nobody hears it")
            assert await until_closed(second) == []
        if begun == "probing":
            await ws.send_str("5")
        await ws.send_str("4hello")
        assert await next_text(ws) == "4hello"


async def test_what_waits_for_a_poll_moves_to_the_websocket_in_order(
    target: Target, http: aiohttp.ClientSession
) -> None:
    sid = await opened(http, target.engine)
    await post(http, polling(target.engine, sid), "41\x1ebAQI=\x1e42")
    async with http.ws_connect(websocket(target.engine, sid)) as ws:
        for packet in ("2probe", "5", "43"):
            await ws.send_str(packet)
        assert (await ws.receive(timeout=WAIT_S)).data == "3probe"
        got = [message.data async for message in _messages(ws, 4)]
    assert got == ["41", b"\x01\x02", "42", "43"]


async def _messages(ws: aiohttp.ClientWebSocketResponse, count: int) -> AsyncIterator[aiohttp.WSMessage]:
    while count:
        message = await ws.receive(timeout=WAIT_S)
        if message.data != "2":
            count -= 1
            yield message


@pytest.mark.parametrize("packets", [["4hello"], ["3probe"], ["2probe", "4hello"], ["2probe", "4hello", "5"], ["abc"]])
async def test_an_upgrade_that_goes_wrong_is_closed_and_polling_goes_on(
    target: Target, http: aiohttp.ClientSession, packets: list[str]
) -> None:
    sid = await opened(http, target.engine)
    async with http.ws_connect(websocket(target.engine, sid)) as ws:
        for packet in packets:
            await ws.send_str(packet)
        assert set(await until_closed(ws)) <= {"3probe"}
    assert await post(http, polling(target.engine, sid), "4still here") == (200, "ok")
    got = ""
    while "4still here" not in got:
        status, got = await get(http, polling(target.engine, sid))
        assert status == 200


async def test_an_upgrade_that_its_client_drops_leaves_polling_as_it_was(
    target: Target, http: aiohttp.ClientSession
) -> None:
    sid = await opened(http, target.engine)
    async with await _probed(http, target, sid):
        pass
    assert await post(http, polling(target.engine, sid), "4still here") == (200, "ok")
    async with await _probed(http, target, sid) as ws:
        await ws.send_str("5")
        assert await next_text(ws) == "4still here"


async def test_polling_is_over_with_its_session(target: Target, http: aiohttp.ClientSession) -> None:
    sid = await opened(http, target.engine)
    async with await _probed(http, target, sid) as ws:
        await ws.send_str("5")
        await ws.send_str("4hello")
        assert await next_text(ws) == "4hello"
    await until(lambda: _is_unknown(http, target.engine, sid), "the session ends with its WebSocket")
    assert await is_over(http, target.engine, sid)


async def _is_unknown(http: aiohttp.ClientSession, url: str, sid: str) -> bool:
    _, body = await get(http, polling(url, sid))
    return bool(json.loads(body)["code"] == 1)
