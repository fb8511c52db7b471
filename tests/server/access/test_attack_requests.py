"""Requests that mean one thing to who checks and another to who answers; names that are made to be something else."""

import asyncio
import json

import httpx
import pytest

from tests.server.access.attackers import CLOSE, SOCKETIO, frame, refused, socketio_wire, wire
from tests.server.access.conftest import GUARDED, Guarded
from tests.server.access.minting import SECRET, bearer, by_hand, mint, payload
from tests.server.conftest import Served, serving, until
from tests.server.json_client import json_client
from tests.support.processes import Process

module_loop = pytest.mark.asyncio(loop_scope="module")
SMUGGLED = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LINES = "\\n2026-01-01T00:00:00Z [error] forged\\u0000\\u001b[31m"  # as JSON has it


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 0\r\nContent-Length: 32",
        b"Content-Length: +0",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding : chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
    ],
)
async def test_a_request_of_two_lengths_is_refused_and_nothing_behind_it_is_read(
    served: Served, framing: bytes
) -> None:
    async with wire(served.url) as attacker:
        request = b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n0\r\n\r\n"
        await attacker.send(request + SMUGGLED)
        answer = await attacker.reader.read(-1)
    assert answer.split(b" ", 2)[1] == b"400"
    assert answer.count(b"HTTP/1.") == 1
    assert await refused(served.url) == {"malformed": 1}


@module_loop
@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("symbol={}&symbol={}", "ticker/price"),
        ("symbol={}&symbol={}", "ticker/24hr"),
        ("symbol={}&symbol={}", "ticker/bookTicker"),
        ("symbol={}&symbol={}", "depth"),
        ("interval=1m&symbol={}&symbol={}", "klines"),
        ("symbol={}&symbols=[%22{}%22]", "ticker/price"),
        ("symbol={}&SYMBOL={}", "ticker/price"),
        ("symbol={}%26symbol%3D{}", "ticker/price"),
        ("symbol={};symbol={}", "ticker/price"),
    ],
)
async def test_a_parameter_given_twice_leads_around_no_grant(guarded: Guarded, query: str, kind: str) -> None:
    plain = f"/api/v3/{kind}?symbol=ETHUSDT"
    async with httpx.AsyncClient(base_url=guarded.url, headers={"X-MBX-APIKEY": GUARDED.key}) as http:
        assert (await http.get(plain.replace("ETH", "BTC"))).status_code in {400, 401}
        for first, second in (("BTCUSDT", "ETHUSDT"), ("ETHUSDT", "BTCUSDT")):
            answer = await http.get(f"/api/v3/{kind}?{query.format(first, second)}")
            assert answer.status_code in {200, 400, 401}
            if answer.status_code == 200:
                own = await http.get(f"/api/v3/{kind}?interval=1m&symbol=ETHUSDT" if kind == "klines" else plain)
                assert _shape(answer) == _shape(own), "what is answered is what was allowed"


def _shape(answer: httpx.Response) -> object:
    """What tells one symbol's answer from another's: its symbol, or the magnitude of its first price."""
    body = answer.json()
    if isinstance(body, list):
        return body[0]["symbol"] if isinstance(body[0], dict) else len(body[0][1])
    return body.get("symbol") or len(body["bids"][0][0])


async def test_a_session_answers_to_its_whole_id_alone(served: Served) -> None:
    async with httpx.AsyncClient(base_url=f"{served.url}/socket.io/") as http:
        opened = await http.get("?EIO=4&transport=polling")
        sid = json.loads(opened.text[1:])["sid"]
        assert len(sid) == 20, "120 random bits"
        for guess in ("x", "__proto__", f"..%2f{sid}", f"{sid}%00", sid[:-1], sid.swapcase(), f"{sid}&sid=x"):
            answer = await http.get(f"?EIO=4&transport=polling&sid={guess}")
            assert (answer.status_code, answer.json()["code"]) == (400, 1)
        assert (await http.post(f"?EIO=4&transport=polling&sid={sid}", content="40")).text == "ok"


@pytest.mark.parametrize("name", ["__proto__", "_handle_connect", LINES])
async def test_a_name_is_never_more_than_a_name(served: Served, name: str) -> None:
    async with (
        json_client(served.url, local_addr=("127.0.1.2", 0)) as neighbour,
        socketio_wire(served.url) as attacker,
    ):
        await attacker.send(frame(f'421["{name}",{{"__proto__":{{"ok":true}}}}]'.encode()))
        await attacker.send(frame(f'422["subscribe",{{"streams":["{name}@trade"],"__proto__":{{}}}}]'.encode()))
        answers = {}
        async for _, payload in attacker.frames():
            if payload.startswith(b"43"):
                answers[payload[:3]] = json.loads(payload[3:])[0]
            if len(answers) == 2:
                break
        assert answers[b"431"]["code"] == "unknown_event"
        assert answers[b"432"]["ok"] is False
        refusal = await neighbour.ask("error", type=json.loads(f'"{name}"'))
        assert refusal["code"] == "unknown_event"


@pytest.mark.parametrize(
    "packet",
    [
        b'451-999999999-["x"]',
        b'4511-["x"]',
        b'43%d["x"]' % 10**30,
        b'42["connect"]',
        b'42/admin,["_disconnect","/",true]',
        b"44{}",
    ],
)
async def test_a_packet_that_no_client_sends_ends_its_session_and_no_other(served: Served, packet: bytes) -> None:
    async with (
        json_client(served.url, local_addr=("127.0.1.2", 0)) as neighbour,
        socketio_wire(served.url) as attacker,
    ):
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade"])
        await attacker.send(frame(packet))
        await served.publish("ethusdt@trade", count=20)
        await until(lambda: len(neighbour.of_stream("ethusdt@trade")) == 20, "the neighbour's trades")
        async for opcode, payload in attacker.frames():
            if opcode == CLOSE:
                assert payload == (1000).to_bytes(2, "big")
                break
        else:
            raise AssertionError("it was not closed")


@pytest.mark.parametrize("packet", [b"40/nowhere%d,", b'43%d["x"]'])
async def test_namespaces_and_acknowledgements_that_nobody_knows_are_commands_like_others(
    served: Served, packet: bytes
) -> None:
    flood = b"".join(frame(packet % number) for number in range(1100))
    async with socketio_wire(served.url) as attacker:
        sending = asyncio.create_task(attacker.send(flood))
        assert await attacker.closed_with() == (1008, "Too many requests")
        await sending
    assert (await refused(served.url))["flood"] == 1


@module_loop
@pytest.mark.parametrize("origin", ["null", "http://x.evil", "http://x@evil", "https://localhost.evil", "file://", ""])
@pytest.mark.parametrize("path", ["/", SOCKETIO, "/ws/btcusdt@trade", "/stream"])
async def test_no_door_opens_to_a_page_of_elsewhere(guarded: Guarded, path: str, origin: str) -> None:
    async with wire(guarded.url) as attacker:
        status, _ = await attacker.upgrade(path, f"Origin: {origin}\r\nX-API-Key: {GUARDED.key}\r\n")
    assert status in {400, 403}


async def test_what_a_token_calls_its_key_stays_one_line_of_the_log(
    exchange: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    token = by_hand({"alg": "HS256", "kid": json.loads(f'"{LINES}"')}, payload(), b"x" * 32)
    settings = {"auth": "required", "auth_jwt_secret": SECRET}
    async with serving(exchange, bearer(mint()), **settings) as served, httpx.AsyncClient() as http:
        assert (await http.get(f"{served.url}/stats", headers=bearer(token))).status_code == 401
    written = capsys.readouterr().out
    told = [line for line in written.splitlines() if "forged" in line]
    assert len(told) == 1
    assert "credentials refused" in told[0]
    assert "\0" not in written
    assert "\x1b[31m" not in told[0]
