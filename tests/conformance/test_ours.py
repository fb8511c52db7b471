"""What only our servers can show: their own time limits, and answers where the reference has none or another."""

import asyncio
import json

import aiohttp
import msgspec
import pytest

from server.doors.posts import HARD_LIMIT_BYTES
from server.doors.socket_server import MAX_BEHIND_CONNECT
from tests.conformance.peers import WAIT_S, Peer, get, next_text, opened, polling, post, until_closed, websocket
from tests.conformance.targets import LONG, MAX_PAYLOAD, Target, our_servers
from tests.server.conftest import until
from tests.support.processes import ROOT


async def test_a_stock_client_on_polling_gets_an_answer_to_each_of_forty_events(target: Target) -> None:
    origin, _, path = target.socket.rpartition("/socket.io")
    node = await asyncio.create_subprocess_exec(
        "node", str(ROOT / "tests/conformance/forty.mjs"), origin, f"/socket.io{path}", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(node.communicate(), 20)
    assert json.loads(output) == list(range(40))


async def test_an_upgrade_that_takes_too_long_is_given_up_and_polling_goes_on(http: aiohttp.ClientSession) -> None:
    async with our_servers(LONG, upgrade_timeout_s=0.6) as ours:
        sid = await opened(http, ours.engine)
        for packets in ([], ["2probe"]):
            async with http.ws_connect(websocket(ours.engine, sid)) as ws:
                for packet in packets:
                    await ws.send_str(packet)
                assert set(await until_closed(ws)) <= {"3probe"}
        assert await post(http, polling(ours.engine, sid), "4still here") == (200, "ok")
        assert await get(http, polling(ours.engine, sid)) == (200, "4still here")
        async with http.ws_connect(websocket(ours.engine, sid)) as ws:
            for packet in ("2probe", "5"):
                await ws.send_str(packet)
            assert await next_text(ws) == "3probe"
            await asyncio.sleep(0.8)  # a finished upgrade is not given up when its time is over
            await ws.send_str("4hello")
            assert await next_text(ws) == "4hello"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_session_takes_no_other_method(ours: Target, http: aiohttp.ClientSession, method: str) -> None:
    sid = await opened(http, ours.engine)
    async with http.request(method, polling(ours.engine, sid)) as response:
        assert (response.status, json.loads(await response.text())["code"]) == (400, 3)
    assert await post(http, polling(ours.engine, sid), "4still here") == (200, "ok")


async def test_a_websocket_for_the_polling_transport_is_refused(ours: Target, http: aiohttp.ClientSession) -> None:
    sid = await opened(http, ours.engine)
    for url in (polling(ours.engine, sid), polling(ours.engine)):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
            await http.ws_connect(url)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_message_over_the_announced_size_is_refused_alone(
    ours: Target, http: aiohttp.ClientSession, transport: str
) -> None:
    async with Peer(http, ours.socket, transport) as peer:
        await peer.connect()
        await peer.send(f'2["message","{"x" * MAX_PAYLOAD}"]')
        assert '"code":"message_too_large"' in str(await peer.receive())
        await peer.send('21["message-with-ack"]')
        assert await peer.receive() == "31[]"


async def test_a_message_over_the_hard_limit_ends_the_connection(ours: Target, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(websocket(ours.engine)) as ws:
        await ws.receive()
        head = b"\x81\xff" + (HARD_LIMIT_BYTES + 1).to_bytes(8, "big") + b"mask"
        ws._writer.transport.write(head)  # the length is enough
        while (message := await ws.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert (message.type, ws.close_code) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_a_handler_that_fails_harms_nobody(ours: Target, http: aiohttp.ClientSession) -> None:
    def fail(_sid: str) -> None:
        raise RuntimeError("a fault of the application")

    assert ours.app is not None
    ours.app.on("fault", fail)
    for transport in ("polling", "websocket"):
        async with Peer(http, ours.socket, transport) as peer:
            await peer.connect()
            await peer.send('21["fault"]')
            await peer.send('22["message-with-ack",1]')
            assert await peer.receive() == "32[1]"


async def test_what_is_sent_while_a_handler_decides_goes_out_behind_its_answer(
    ours: Target, http: aiohttp.ClientSession
) -> None:
    app = ours.app
    assert app is not None
    decided = asyncio.Event()

    async def connect(_sid: str, _environ: object, _auth: object) -> bool:
        await app.emit("to everybody", namespace="/")
        await decided.wait()
        return False

    app.on("connect", connect, namespace="/closed")
    async with Peer(http, ours.socket, "websocket") as peer:
        await peer.connect()
        await peer.send("0/closed,")
        await until(lambda: any(app._behind_connect.values()), "the event is kept")
        decided.set()
        assert str(await peer.receive()).startswith("4/closed,")
        assert await peer.receive() == '2["to everybody"]'


async def test_a_client_whose_handler_decides_too_long_is_let_go(ours: Target, http: aiohttp.ClientSession) -> None:
    app = ours.app
    assert app is not None

    async def connect(sid: str, _environ: object, _auth: object) -> None:
        for number in range(MAX_BEHIND_CONNECT + 1):
            await app.emit("kept", number, to=sid, namespace="/slow")

    app.on("connect", connect, namespace="/slow")
    async with http.ws_connect(websocket(ours.socket)) as ws:
        await ws.send_str("40/slow,")
        assert not [text for text in await until_closed(ws) if "kept" in text]
        assert ws.close_code == 4008
    assert app.eio.delivery.slow_consumers_total == 1


async def test_a_binary_message_of_a_client_that_speaks_text_ends_its_session(
    ours: Target, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(websocket(ours.socket)) as ws:
        await ws.send_str("40")
        await ws.send_bytes(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa7message")  # a packet as MessagePack
        assert '42["message-back"]' not in await until_closed(ws)


async def test_attachments_reach_a_client_that_speaks_messagepack_in_one_message(
    ours: Target, http: aiohttp.ClientSession
) -> None:
    assert ours.app is not None
    async with http.ws_connect(websocket(ours.socket)) as ws:
        await ws.send_bytes(msgspec.msgpack.encode({"type": 0, "nsp": "/"}))
        packets: list[dict[str, object]] = []
        while len(packets) < 3:
            message = await ws.receive(timeout=WAIT_S)
            if message.type is aiohttp.WSMsgType.BINARY:
                packets.append(msgspec.msgpack.decode(message.data))
            if len(packets) == 2:
                await ours.app.emit("x", {"a": [b"\x01", b"\x02"]})
    assert [packet["type"] for packet in packets] == [0, 2, 2]
    assert packets[1:] == [
        {"type": 2, "nsp": "/", "data": ["auth", {}]},
        {"type": 2, "nsp": "/", "data": ["x", {"a": [b"\x01", b"\x02"]}]},
    ]
