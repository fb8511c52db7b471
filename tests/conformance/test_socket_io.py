"""Socket.IO 5 on the wire: what the published suite (socketio/socket.io, v5-test-suite) asks for, on both
transports, and how strictly its reference server reads. Against ours and Node's, with long and with short pings.
"""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conformance.peers import TRANSPORTS, WAIT_S, Peer, get, is_over, opened, polling, until_closed, websocket
from tests.conformance.targets import SHORT, Target

PLACEHOLDERS = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
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
    '2["disconnecting",1]',
    '2["message"',  # cut short
    '2abc["message-with-ack",1,"2",{"3":[false]}]',  # no number
    '2["message"]x',
    "0[]",  # no object
    "0null",
    "3{}",
    '4{"message":"x"}',  # not for servers
    "5",  # illegal attachments
    '5["message"]',
    '5-["message"]',
    '50-["message"]',
    '511-["message"]',
    '5x-["message"]',
    "51-[]",
    "0",  # a second CONNECT
    '2/nowhere,["message"]',  # namespaces that this client is not in
    "1/nowhere",
    "1{}",
]


@pytest.fixture(params=TRANSPORTS)
async def peer(target: Target, http: aiohttp.ClientSession, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    """A client that has opened a session of the application."""
    async with Peer(http, target.socket, request.param) as client:
        yield client


@pytest.mark.parametrize("namespace", ["", "/custom,"])
@pytest.mark.parametrize("payload", ["", '{"token":"123"}', '{"a":{"b":[1,null]}}'])
async def test_a_client_connects_and_hears_of_its_payload(peer: Peer, namespace: str, payload: str) -> None:
    await peer.send(f"0{namespace}{payload}")
    answer = await peer.receive()
    assert isinstance(answer, str)
    assert list(json.loads(answer.removeprefix(f"0{namespace}"))) == ["sid"]
    assert await peer.receive() == f'2{namespace}["auth",{payload or "{}"}]'


@pytest.mark.parametrize("packet", ["0/custom", "0/,"])
async def test_the_comma_behind_a_namespace_may_be_missing_and_the_main_one_may_be_named(
    peer: Peer, packet: str
) -> None:
    await peer.send(packet)
    answer = await peer.receive()
    assert isinstance(answer, str)
    assert answer.startswith("0/custom,{" if packet == "0/custom" else "0{")


async def test_an_unknown_namespace_is_refused_in_the_words_that_clients_read(peer: Peer) -> None:
    await peer.send("0/random")
    assert await peer.receive() == '4/random,{"message":"Invalid namespace"}'
    await peer.connect()


@pytest.mark.parametrize("packet", ["abc", '2["message"]', '20["message"]', "30[]", "1", "0[]"])
async def test_a_packet_that_is_no_connect_ends_a_session_that_has_not_connected(peer: Peer, packet: str) -> None:
    await peer.send(packet)
    assert await peer.is_closed()


async def test_a_client_that_never_connects_is_dropped(target: Target, http: aiohttp.ClientSession) -> None:
    sid = await opened(http, target.socket)
    async with http.ws_connect(websocket(target.socket)) as ws:
        assert (await ws.receive()).data[0] == "0"
        assert await until_closed(ws) in ([], ["1"])
    assert await is_over(http, target.socket, sid)


async def test_a_client_leaves_the_main_namespace_and_its_session_stays(peer: Peer) -> None:
    await peer.connect()
    await peer.connect("/custom,")
    await peer.send("1")
    await peer.send('2/custom,["message"]')
    assert await peer.receive() == '2/custom,["message-back"]'
    await peer.connect()
    await peer.send('2["message","back again"]')
    assert await peer.receive() == '2["message-back","back again"]'


async def test_a_client_leaves_a_namespace_and_stays_in_the_others(peer: Peer) -> None:
    await peer.connect()
    await peer.connect("/custom,")
    await peer.send("1/custom")
    await peer.send('2["message","message to main namespace"]')
    assert await peer.receive() == '2["message-back","message to main namespace"]'
    await peer.send('2/custom,["message"]')
    assert await peer.is_closed()


@pytest.mark.parametrize("namespace", ["", "/custom,"])
async def test_an_event_comes_back(peer: Peer, namespace: str) -> None:
    await peer.connect(namespace)
    await peer.send(f'2{namespace}["message",1,"2",{{"3":[true]}}]')
    assert await peer.receive() == f'2{namespace}["message-back",1,"2",{{"3":[true]}}]'


@pytest.mark.parametrize("namespace", ["", "/custom,"])
async def test_an_event_with_attachments_comes_back(peer: Peer, namespace: str) -> None:
    await peer.connect(namespace)
    await peer.send(f'52-{namespace}["message",{PLACEHOLDERS}]', b"\x01\x02\x03", b"\x04\x05\x06")
    assert await peer.receive() == f'52-{namespace}["message-back",{PLACEHOLDERS}]'
    assert [await peer.receive(), await peer.receive()] == [b"\x01\x02\x03", b"\x04\x05\x06"]


@pytest.mark.parametrize("namespace", ["", "/custom,"])
async def test_an_event_is_acknowledged(peer: Peer, namespace: str) -> None:
    await peer.connect(namespace)
    await peer.send(f'2{namespace}456["message-with-ack",1,"2",{{"3":[false]}}]')
    assert await peer.receive() == f'3{namespace}456[1,"2",{{"3":[false]}}]'


@pytest.mark.parametrize("namespace", ["", "/custom,"])
async def test_an_event_with_attachments_is_acknowledged_with_attachments(peer: Peer, namespace: str) -> None:
    await peer.connect(namespace)
    await peer.send(f'52-{namespace}789["message-with-ack",{PLACEHOLDERS}]', b"\x01\x02\x03", b"")
    assert await peer.receive() == f"62-{namespace}789[{PLACEHOLDERS}]"
    assert [await peer.receive(), await peer.receive()] == [b"\x01\x02\x03", b""]


async def test_attachments_stand_wherever_their_placeholders_do(peer: Peer) -> None:
    await peer.connect()
    await peer.send('51-["message",{"a":[{"_placeholder":true,"num":0}],"_placeholder":false}]', b"\xff")
    assert await peer.receive() == '51-["message-back",{"a":[{"_placeholder":true,"num":0}],"_placeholder":false}]'
    assert await peer.receive() == b"\xff"


@pytest.mark.parametrize("number", ["1", "-1", '"0"', "true", "null"])
async def test_a_placeholder_without_its_attachment_ends_the_session(peer: Peer, number: str) -> None:
    await peer.connect()
    await peer.send(f'51-["message",{{"_placeholder":true,"num":{number}}}]', b"x")
    assert await peer.is_closed()


@pytest.mark.parametrize("packet", ['2["message"]', '51-["message",{"_placeholder":true,"num":0}]', "1"])
async def test_text_where_an_attachment_is_due_ends_the_session(peer: Peer, packet: str) -> None:
    await peer.connect()
    await peer.send('52-["message",{"_placeholder":true,"num":0}]', b"x")
    await peer.send(packet)
    assert await peer.is_closed()


async def test_an_attachment_without_a_packet_ends_the_session(peer: Peer) -> None:
    await peer.connect()
    await peer.send('51-["message",{"_placeholder":true,"num":0}]', b"x", b"y")
    if await peer.receive_or_end() is not None:
        assert await peer.receive_or_end() in {b"x", None}
    assert await peer.is_closed()


@pytest.mark.parametrize("packet", MALFORMED)
async def test_a_packet_that_is_none_ends_its_session(peer: Peer, packet: str) -> None:
    await peer.connect()
    await peer.send(packet)
    assert await peer.is_closed()


async def test_only_what_a_handler_answers_is_acknowledged(peer: Peer) -> None:
    await peer.connect()
    await peer.connect("/custom,")
    for packet in (
        '21["silence"]',
        '2/custom,2["silence"]',
        '2/custom,3["unknown"]',
        "2",
        "2/custom,",
        "25",
        "2/custom,6",
    ):
        await peer.send(packet)
    await peer.send('2["message-with-ack"]')
    await peer.send('27["message-with-ack"]')
    assert await peer.receive() == "37[]"


@pytest.mark.parametrize("packet", ["399[1]", "3", "3[]", "30", "3/custom,1[]"])
async def test_an_acknowledgement_that_nobody_waits_for_is_ignored(peer: Peer, packet: str) -> None:
    await peer.connect()
    await peer.connect("/custom,")
    await peer.send(packet)
    await peer.send('20["message-with-ack",1]')
    assert await peer.receive() == "30[1]"


async def test_every_one_of_forty_events_in_one_request_is_acknowledged(
    target: Target, http: aiohttp.ClientSession
) -> None:
    async with Peer(http, target.socket, "polling") as peer:
        await peer.connect()
        await peer.send("\x1e4".join(f'2{n}["message-with-ack",{n}]' for n in range(40)))
        assert [await peer.receive() for _ in range(40)] == [f"3{n}[{n}]" for n in range(40)]


async def test_a_session_goes_on_when_it_moves_to_a_websocket(target: Target, http: aiohttp.ClientSession) -> None:
    async with Peer(http, target.socket, "polling") as peer:
        await peer.connect()
        await peer.send(f'52-1["message-with-ack",{PLACEHOLDERS}]', b"\x01", b"\x02")
        await peer.upgrade()
        await peer.send('22["message-with-ack"]')
        answers = [await peer.receive() for _ in range(4)]
    assert answers == [f"62-1[{PLACEHOLDERS}]", b"\x01", b"\x02", "32[]"]


async def test_pings_reach_a_client_of_no_namespace_any_more(target: Target, http: aiohttp.ClientSession) -> None:
    if target.pings != SHORT:
        pytest.skip("for short pings")
    async with http.ws_connect(websocket(target.socket)) as ws:
        await ws.send_str("40")
        assert [(await ws.receive(timeout=WAIT_S)).data[:2] for _ in range(3)] == ["0{", "40", "42"]
        await ws.send_str("41")
        assert (await ws.receive(timeout=WAIT_S)).data == "2"
    sid = await opened(http, target.socket)
    assert await get(http, polling(target.socket, sid)) == (200, "2")
