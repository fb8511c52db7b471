"""Clients that flood a replica with commands: refused, then closed; their neighbours notice nothing."""

import asyncio
import json

import aiohttp
import pytest

from tests.server.access.attackers import (
    CONTINUATION,
    PING,
    TEXT,
    frame,
    leave,
    refused,
    socketio_wire,
    wire,
)
from tests.server.conftest import Client, Served, until
from tests.server.json_client import json_client

FEW = {"commands_per_second": 2}
TOO_MANY = (1008, "Too many requests")


@pytest.mark.parametrize("served", [FEW], indirect=True)
async def test_commands_past_the_rate_are_answered_one_by_one_with_the_time_to_wait(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    answers = await asyncio.gather(*(client.call("subscriptions") for _ in range(28)))
    refusals = [answer for answer in answers if not answer["ok"]]
    assert 4 <= len(refusals) <= 10, "20 at once, one of which was CONNECT; the others are refused, each by itself"
    wait_s = refusals[0].pop("retryAfter")
    assert refusals[0] == {"ok": False, "code": "rate_limited", "message": "At most 2 commands a second"}
    assert 1 <= wait_s <= 10
    await client.io.emit("subscriptions")
    await until(lambda: client.named("error"), "a refusal without an acknowledgement")
    assert client.named("error")[0]["code"] == "rate_limited"
    assert await refused(served.url) == {"commands": len(refusals) + len(client.named("error"))}
    await leave(client)


@pytest.mark.parametrize("served", [FEW], indirect=True)
async def test_a_polling_client_is_limited_like_the_others(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "polling")
    answers = await asyncio.gather(*(client.call("subscriptions") for _ in range(25)))
    assert {answer.get("code") for answer in answers} == {None, "rate_limited"}
    await leave(client)


@pytest.mark.parametrize("served", [{}], indirect=True)
async def test_forty_commands_in_one_tick_get_forty_acknowledgements(served: Served) -> None:
    for transport in ("polling", "websocket"):
        client = Client()
        await client.connect(served.url, transport)
        answers = await asyncio.gather(*(client.call("subscribe", {"streams": ["btcusdt@trade"]}) for _ in range(40)))
        assert [answer["ok"] for answer in answers] == [True] * 40
        await leave(client)


async def test_twenty_thousand_subscribe_commands_end_their_connection_and_nobody_else_s(served: Served) -> None:
    flood = frame(b'42["subscribe",{"streams":["btcusdt@trade"]}]') * 20_000
    async with json_client(served.url, local_addr=("127.0.1.2", 0)) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade"])
        async with socketio_wire(served.url) as attacker:
            sending = asyncio.create_task(attacker.send(flood))
            closed = asyncio.create_task(attacker.closed_with())
            await served.publish("ethusdt@trade", count=50)
            await until(lambda: len(neighbour.of_stream("ethusdt@trade")) == 50, "the neighbour's trades")
            await neighbour.settle()
            assert await closed == TOO_MANY
            await sending
    counts = await refused(served.url)
    assert counts["flood"] == 1
    assert counts["commands"] < 1000, "read no further than where it was closed"


@pytest.mark.parametrize("served", [FEW], indirect=True)
async def test_a_flood_at_the_json_door_is_refused_and_then_closed(served: Served) -> None:
    async with wire(served.url) as attacker:
        assert (await attacker.upgrade("/"))[0] == 101
        await attacker.send(frame(b'{"type":"PING"}') * 60)
        frames = [(opcode, payload) async for opcode, payload in attacker.frames()]
    assert frames[-1] == (8, (1008).to_bytes(2, "big") + b"Too many requests")
    told = [json.loads(payload) for opcode, payload in frames if opcode == TEXT]
    refusals = [body for body in told if body.get("code") == "rate_limited"]
    assert 10 <= len(refusals) <= 30
    assert refusals[0]["type"] in ("error", "ERROR")
    assert refusals[0]["retryAfter"] >= 1


@pytest.mark.parametrize("served", [FEW], indirect=True)
async def test_a_flood_in_one_polling_body_ends_the_session_with_429(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/socket.io/?EIO=4&transport=polling") as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        url = f"{served.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        async with http.post(url, data="40") as connected:
            assert connected.status == 200
        async with http.post(url, data="\x1e".join(['42["subscriptions"]'] * 2000)) as flooded:
            assert (flooded.status, (await flooded.json())["code"]) == (429, "rate_limited")
        async with http.post(url, data="\x1e" * 10_000) as gone:
            assert gone.status == 400


@pytest.mark.parametrize("served", [FEW], indirect=True)
@pytest.mark.parametrize("path", ["/", "/socket.io/?EIO=4&transport=websocket", "/ws"])
@pytest.mark.parametrize(
    "noise", [frame(b"", PING), frame(b"x", TEXT, fin=False) + frame(b"", CONTINUATION, fin=False) * 50]
)
async def test_frames_that_say_nothing_are_commands_as_well(served: Served, path: str, noise: bytes) -> None:
    async with wire(served.url) as attacker:
        assert (await attacker.upgrade(path))[0] == 101
        await attacker.send(noise * 2000)
        code, _ = await attacker.closed_with()
        assert code in (1002, 1008), "closed as too many, or because a message began within another"


async def test_the_log_says_once_what_was_refused_a_hundred_times(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    async def offend() -> int:
        async with socketio_wire(served.url) as attacker:
            await attacker.send(frame(b"4x"))
            return (await attacker.closed_with())[0]

    assert set(await asyncio.gather(*(offend() for _ in range(100)))) == {1000}
    lines = [line for line in capsys.readouterr().out.splitlines() if "packet refused" in line]
    assert len(lines) == 1
