"""Socket.IO 5 on the wire: our handlers, their order and our bounds. The protocol itself: tests/conformance."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from server.doors.client_events import Answer, ClientEvent, Reply
from tests.conformance.peers import Peer
from tests.server.conftest import until
from tests.server.engine_server import EngineService, serving, texts_until_closed

WELCOME = '["welcome"]'


@pytest.fixture
async def service() -> AsyncIterator[EngineService]:
    async with serving() as running:
        yield running


@pytest.fixture(params=["websocket", "polling"])
async def peer(service: EngineService, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with aiohttp.ClientSession() as http, asyncio.timeout(10), Peer(http, service.url, request.param) as client:
        yield client


async def test_a_query_behind_a_namespace_is_left_out(peer: Peer) -> None:
    await peer.send("0/other?x=1,")
    assert str(await peer.receive()).startswith('0/other,{"sid":"')
    await peer.send('2/other,7["echo",1,{"a":[true]}]')
    assert await peer.receive() == '3/other,7[1,{"a":[true]}]'


@pytest.mark.parametrize(
    "packet",
    ["abc", '2["subscribe"', "2" + "1" * 50 + '["echo"]', '2["x"' + "[" * 5000, "51-[]", "1/nowhere"],
)
async def test_of_a_session_that_sends_no_packet_nothing_is_left(
    service: EngineService, peer: Peer, packet: str
) -> None:
    await peer.connect(greeting=WELCOME)
    await peer.send(packet)
    assert await peer.is_closed()
    assert service.left == ["transport error"]
    assert not service.events
    assert not service.server.eio.sockets
    assert not len(service.server._incomplete)


async def test_a_client_leaves_a_namespace_and_stays_in_the_others(service: EngineService, peer: Peer) -> None:
    await peer.connect(greeting=WELCOME)
    await peer.send("0/other")
    assert str(await peer.receive()).startswith("0/other,")
    await peer.send("1/other")
    await peer.send('21["echo","still here"]')
    assert await peer.receive() == '31[["still here"]]'
    await peer.send("1")
    await peer.connect(greeting=WELCOME)
    assert service.left == ["client disconnect"]
    await peer.send('2/other,["echo"]')
    assert await peer.is_closed()


async def test_events_without_a_text_for_a_name_reach_the_handler(service: EngineService, peer: Peer) -> None:
    await peer.connect(greeting=WELCOME)
    for packet in ("21[7]", "22", '23["1.5",null]'):
        await peer.send(packet)
    assert [await peer.receive() for _ in range(3)] == ["31[[]]", "32[[]]", "33[[null]]"]
    assert [event.name for event in service.events] == [7, None, "1.5"]


async def test_an_acknowledgement_reaches_who_waits_for_it(service: EngineService, peer: Peer) -> None:
    await peer.connect(greeting=WELCOME)
    (client,) = service.server.manager.get_participants("/", None)
    answers: list[str] = []
    await service.server.emit("question", 1, to=client[0], callback=answers.append)
    assert await peer.receive() == '21["question",1]'
    await peer.send('31["answer"]')
    await until(lambda: answers == ["answer"], "the answer")


async def test_an_event_waits_for_the_one_before_unless_that_is_answered_later(
    service: EngineService, peer: Peer
) -> None:
    gate = asyncio.Event()

    async def answer(name: str) -> Reply:
        await gate.wait()
        return Reply(name)

    def handle(event: ClientEvent) -> Answer:
        if event.name == "slow":
            return answer("slow")
        if event.name == "later":
            return Reply(later=answer("later"))
        gate.set()
        return Reply(event.name)

    service.server.on_event = handle
    await peer.connect(greeting=WELCOME)
    await peer.send('21["later"]')
    await peer.send('22["next"]')
    assert {await peer.receive(), await peer.receive()} == {'31["later"]', '32["next"]'}
    gate.clear()
    asyncio.get_running_loop().call_later(0.1, gate.set)
    for packet in ('23["slow"]', '24["next"]', '25["next"]'):
        await peer.send(packet)
    assert [await peer.receive() for _ in range(3)] == ['33["slow"]', '34["next"]', '35["next"]']


async def test_a_flood_of_events_behind_a_slow_one_is_handled_in_order(service: EngineService) -> None:
    gate = asyncio.Event()

    async def answer(event: ClientEvent) -> Reply:
        await gate.wait()
        return Reply(event.arguments[0])

    service.server.on_event = lambda event: answer(event) if event.data == 0 else Reply(event.data)
    async with aiohttp.ClientSession() as http, http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40")
        for number in range(1000):
            await ws.send_str(f'42{number}["x",{number}]')
        gate.set()
        texts = [(await ws.receive(timeout=5)).data for _ in range(1003)]
    assert texts[3:] == [f"43{number}[{number}]" for number in range(1000)]


async def test_a_connect_handler_of_the_application_is_asked(service: EngineService, peer: Peer) -> None:
    def accept(_sid: str, environ: dict[str, str], auth: dict[str, str] | None) -> bool:
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        return auth == {"token": "right"}

    service.server.on("connect", accept)
    await peer.send('0{"token":"wrong"}')
    assert str(await peer.receive()).startswith("4{")
    await peer.send('0{"token":"right"}')
    assert str(await peer.receive()).startswith('0{"sid"')
    assert await peer.receive() == '2["welcome"]'


@pytest.mark.parametrize(
    "packet",
    [
        {"type": 9, "nsp": "/"},
        {"type": -1, "nsp": "/"},
        {"type": 2, "nsp": "/", "data": {}},
        {"type": 2, "nsp": "/", "data": []},
        {"type": 2, "nsp": "/nowhere", "data": ["echo"]},
        {"type": 0, "nsp": "/"},
        {"type": 2, "nsp": 1, "data": ["echo"]},
        [],
    ],
)
async def test_a_msgpack_packet_that_is_none_ends_its_session(service: EngineService, packet: object) -> None:
    encode = msgspec.msgpack.encode
    async with aiohttp.ClientSession() as http, http.ws_connect(service.websocket()) as ws:
        await ws.send_bytes(encode({"type": 0, "nsp": "/"}))
        await ws.send_bytes(encode({"type": 2, "nsp": "/", "data": ["echo", b"\x00"], "id": 5}))
        await ws.receive()
        assert msgspec.msgpack.decode((await ws.receive()).data)["type"] == 0
        await ws.receive()
        answer = msgspec.msgpack.decode((await ws.receive()).data)
        assert answer == {"type": 3, "nsp": "/", "data": [[b"\x00"]], "id": 5}
        await ws.send_bytes(encode(packet))
        await texts_until_closed(ws)
    assert service.left == ["transport error"]


async def test_a_websocket_client_is_told_that_the_server_stops() -> None:
    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        async with serving() as service:
            ws = await http.ws_connect(service.websocket())
            await ws.send_str("40")
            assert [(await ws.receive_str())[0] for _ in range(2)] == ["0", "4"]
        messages = [await ws.receive()]
        while messages[-1].type is aiohttp.WSMsgType.TEXT:
            messages.append(await ws.receive())
        *texts, last = messages
        # Engine.IO's close would keep stock Python clients from reconnecting, Socket.IO's DISCONNECT all of them.
        assert [message.data for message in texts if message.data[0] == "1" or message.data.startswith("41")] == []
        assert (last.data, last.extra) == (1000, "Server shutting down")


async def test_closing_waits_for_no_answer_that_does_not_come() -> None:
    async def never() -> Reply:
        await asyncio.get_running_loop().create_future()
        return Reply()

    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        async with serving() as service:
            service.server.on_event = lambda event: never() if event.data else Reply(later=never())
            ws = await http.ws_connect(service.websocket())
            for packet in ("40", '421["x",0]', '422["x",1]'):
                await ws.send_str(packet)
            await until(lambda: len(service.server.eio._background) == 2, "both are awaited")
        assert await texts_until_closed(ws)
