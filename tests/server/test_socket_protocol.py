"""Socket.IO 5 on the wire, over both transports: what the published protocol suite asks for, as strictly as it does."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from server.doors.socket_server import Answer, ClientEvent, Reply
from tests.server.conftest import until
from tests.server.engine_server import EngineService, get, open_polling, post, serving, texts_until_closed

MALFORMED = [
    "abc",  # an unknown packet type
    "7",
    "9[]",
    "",
    "2{}",  # no array
    "2null",
    "2[]",  # no name
    "2[{}]",
    "2[true]",
    '2["connect"]',  # a reserved name
    '2["subscribe"',  # cut short
    '2abc["echo"]',  # no number
    '2["echo"]x',
    "2" + "1" * 50 + '["echo"]',
    '2["x"' + "[" * 5000,
    "0[]",  # no object
    "0null",
    "3{}",
    '4{"message":"x"}',  # not for servers
    "5",  # illegal attachments
    '5["echo"]',
    '5-["echo"]',
    '50-["echo"]',
    '511-["echo"]',
    '5x-["echo"]',
    "51-[]",
    "0",  # a second CONNECT
    '2/nowhere,["echo"]',  # namespaces that this client is not in
    '51-/nowhere,["echo"]',
    "1/nowhere",
    "1{}",
]


class Peer:
    """A client on either transport: sends packets, and takes those it gets one by one."""

    def __init__(self, http: aiohttp.ClientSession, service: EngineService, transport: str) -> None:
        self._http = http
        self._service = service
        self._transport = transport
        self._waiting: list[str] = []

    async def open(self) -> None:
        """Open the session."""
        if self._transport == "polling":
            self._sid = await open_polling(self._http, self._service)
        else:
            self._ws = await self._http.ws_connect(self._service.websocket())
            await self._ws.receive()

    async def send(self, packet: str) -> None:
        """Send one Socket.IO packet."""
        if self._transport == "polling":
            await post(self._http, self._service.polling(self._sid), "4" + packet)
        else:
            await self._ws.send_str("4" + packet)

    async def receive(self) -> str:
        """The next Socket.IO packet."""
        if self._transport == "websocket":
            return str((await self._ws.receive(timeout=5)).data[1:])
        while not self._waiting:
            status, body = await get(self._http, self._service.polling(self._sid))
            assert status == 200
            self._waiting += body.split("\x1e")
        return self._waiting.pop(0)[1:]

    async def connect(self) -> None:
        """Join the main namespace."""
        await self.send("0")
        assert (await self.receive()).startswith('0{"sid"')
        assert await self.receive() == '2["welcome"]'

    async def is_closed(self) -> bool:
        """Whether the session is over; waits for a WebSocket to close."""
        if self._transport == "polling":
            return (await get(self._http, self._service.polling(self._sid)))[0] == 400
        await texts_until_closed(self._ws)
        return True


@pytest.fixture
async def service() -> AsyncIterator[EngineService]:
    async with serving() as running:
        yield running


@pytest.fixture(params=["websocket", "polling"])
async def peer(service: EngineService, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        opened = Peer(http, service, request.param)
        await opened.open()
        yield opened


@pytest.mark.parametrize("packet", ["0", '0{"token":"123"}', "0/,"])
async def test_a_client_connects_to_the_main_namespace(peer: Peer, packet: str) -> None:
    await peer.send(packet)
    answer = await peer.receive()
    assert list(json.loads(answer.removeprefix("0"))) == ["sid"]
    assert await peer.receive() == '2["welcome"]'


@pytest.mark.parametrize("packet", ["0/other", "0/other,", '0/other,{"token":"abc"}', "0/other?x=1,"])
async def test_a_client_connects_to_another_namespace(peer: Peer, packet: str) -> None:
    await peer.send(packet)
    assert (await peer.receive()).startswith('0/other,{"sid":"')
    await peer.send('2/other,7["echo",1,{"a":[true]}]')
    assert await peer.receive() == '3/other,7[1,{"a":[true]}]'


async def test_an_unknown_namespace_is_refused_in_the_words_that_clients_read(peer: Peer) -> None:
    await peer.send("0/random")
    assert await peer.receive() == '4/random,{"message":"Invalid namespace"}'
    await peer.connect()


@pytest.mark.parametrize("packet", MALFORMED)
async def test_a_packet_that_is_none_ends_its_session(service: EngineService, peer: Peer, packet: str) -> None:
    await peer.connect()
    await peer.send(packet)
    assert await peer.is_closed()
    assert service.left == ["transport error"]
    assert not service.events
    assert not service.server.eio.sockets
    assert not service.server._binary_packet


@pytest.mark.parametrize("packet", ['2["echo"]', '20["echo"]', "30[]", "1", '51-["echo"]'])
async def test_a_packet_before_connect_ends_the_session(service: EngineService, peer: Peer, packet: str) -> None:
    await peer.send(packet)
    assert await peer.is_closed()
    assert not service.events


@pytest.mark.parametrize("between", ['421["echo"]', "bAQ==\x1ebAQ=="])
async def test_text_between_attachments_or_one_too_many_ends_the_session(service: EngineService, between: str) -> None:
    async with aiohttp.ClientSession() as http:
        sid = await open_polling(http, service)
        await post(http, service.polling(sid), "40")
        packet = '451-["echo",{"_placeholder":true,"num":0}]'
        assert (await post(http, service.polling(sid), f"{packet}\x1e{between}"))[0] == 400
        assert (await get(http, service.polling(sid)))[0] == 400


async def test_a_placeholder_without_an_attachment_ends_the_session(service: EngineService) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40")
        await ws.send_str('451-["echo",{"_placeholder":true,"num":7}]')
        await ws.send_bytes(b"x")
        await texts_until_closed(ws)
    assert not service.events


async def test_attachments_arrive_and_return_as_they_are(service: EngineService) -> None:
    holes = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    async with aiohttp.ClientSession() as http, http.ws_connect(service.websocket()) as ws:
        await ws.send_str("40/other")
        await ws.send_str(f'452-/other,9["echo",{holes}]')
        await ws.send_bytes(b"\x01\x02")
        await ws.send_bytes(b"")
        assert (await _after_opening(ws))[1:] == [f"462-/other,9[{holes}]", b"\x01\x02", b""]
        sid = await open_polling(http, service)
        await post(http, service.polling(sid), "40/other")
        await get(http, service.polling(sid))
        await post(http, service.polling(sid), f'452-/other,9["echo",{holes}]\x1ebAQI=\x1eb')
        assert (await get(http, service.polling(sid)))[1] == f"462-/other,9[{holes}]\x1ebAQI=\x1eb"


async def _after_opening(ws: aiohttp.ClientWebSocketResponse) -> list[object]:
    assert (await ws.receive()).data.startswith("0{")
    return [(await ws.receive(timeout=5)).data for _ in range(4)]


async def test_a_client_leaves_a_namespace_and_stays_in_the_others(service: EngineService, peer: Peer) -> None:
    await peer.connect()
    await peer.send("0/other")
    assert (await peer.receive()).startswith("0/other,")
    await peer.send("1/other")
    await peer.send('21["echo","still here"]')
    assert await peer.receive() == '31[["still here"]]'
    await peer.send("1")
    await peer.connect()
    assert service.left == ["client disconnect"]
    await peer.send('2/other,["echo"]')
    assert await peer.is_closed()


async def test_only_what_a_handler_answers_is_acknowledged(peer: Peer) -> None:
    await peer.connect()
    await peer.send("0/other")
    await peer.receive()
    await peer.send('21["silence"]')
    await peer.send('2/other,2["silence"]')
    await peer.send('2/other,3["unknown"]')
    await peer.send('2["echo"]')
    await peer.send('24["echo"]')
    assert await peer.receive() == "34[[]]"


async def test_events_without_a_text_for_a_name_reach_the_handler(service: EngineService, peer: Peer) -> None:
    await peer.connect()
    for packet in ("21[7]", "22", '23["1.5",null]'):
        await peer.send(packet)
    assert [await peer.receive() for _ in range(3)] == ["31[[]]", "32[[]]", "33[[null]]"]
    assert [event.name for event in service.events] == [7, None, "1.5"]


async def test_an_acknowledgement_that_nobody_waits_for_is_ignored(peer: Peer) -> None:
    await peer.connect()
    await peer.send("399[1]")
    await peer.send("3")
    await peer.send('20["echo"]')
    assert await peer.receive() == "30[[]]"


async def test_an_acknowledgement_reaches_who_waits_for_it(service: EngineService, peer: Peer) -> None:
    await peer.connect()
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
    await peer.connect()
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
    assert (await peer.receive()).startswith("4{")
    await peer.send('0{"token":"right"}')
    assert (await peer.receive()).startswith('0{"sid"')
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
