"""Messages made to hurt: bombs, dribbles, giants and deep nests end or are refused; nobody else notices."""

import json
import time
import tracemalloc
from io import BytesIO

import aiohttp
import pytest

from binance.entrances import MAX_MESSAGE_BYTES
from tests.server.access.attackers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    SOCKETIO,
    TEXT,
    bomb,
    frame,
    refused,
    socketio_wire,
    wire,
)
from tests.server.conftest import Served

PATHS = ["/", SOCKETIO, "/ws"]
HASTY = {"request_timeout_s": 0.3}
DEEP = 100_000
BOMB_BYTES = 100_000_000


@pytest.fixture(scope="module")
def a_bomb() -> bytes:
    return bomb(BOMB_BYTES)


@pytest.mark.parametrize("path", PATHS)
async def test_a_compressed_bomb_is_cut_while_it_inflates(served: Served, path: str, a_bomb: bytes) -> None:
    assert len(a_bomb) < BOMB_BYTES / 900
    async with wire(served.url) as attacker:
        assert (await attacker.upgrade(path, DEFLATE))[0] == 101
        tracemalloc.start()
        await attacker.send(a_bomb)
        code, _ = await attacker.closed_with()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert code == 1009
    assert peak < BOMB_BYTES / 10


@pytest.mark.parametrize("served", [HASTY], indirect=True)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "begun",
    [
        frame(b"x" * 100)[:-1],
        frame(b"x", fin=False),
        frame(b"x", fin=False) + frame(b"y", CONTINUATION, fin=False),
        b"\x81",
    ],
    ids=["frame without its end", "fragment", "two fragments", "half a head"],
)
async def test_a_message_that_is_begun_and_never_finished_ends_the_connection(
    served: Served, path: str, begun: bytes
) -> None:
    async with wire(served.url) as loris:
        assert (await loris.upgrade(path))[0] == 101
        await loris.send(begun)
        assert await loris.closed_with() == (1008, "Message not finished in time")
    assert await refused(served.url) == {"slow_message": 1}


@pytest.mark.parametrize("served", [{"request_timeout_s": 1.0, "commands_per_second": 100_000}], indirect=True)
async def test_whoever_sends_without_a_pause_but_finishes_each_message_may_go_on(served: Served) -> None:
    ping = frame(b'{"type":"PING"}')
    async with wire(served.url) as client:
        assert (await client.upgrade("/"))[0] == 101
        until = time.monotonic() + 2
        unfinished = b""
        while time.monotonic() < until:  # every read of the server's ends within a message
            await client.send(unfinished + ping[:9])
            unfinished = ping[9:]
            opcode, payload = await anext(aiter(client.frames()))
            assert (opcode, b"rate_limited" in payload) == (TEXT, False)


@pytest.mark.parametrize(("path", "limit"), [("/", 1_000_000), (SOCKETIO, 4 * 1024 * 1024), ("/ws", MAX_MESSAGE_BYTES)])
async def test_a_message_over_the_hard_limit_is_not_even_read(served: Served, path: str, limit: int) -> None:
    async with wire(served.url) as attacker:
        assert (await attacker.upgrade(path))[0] == 101
        await attacker.send(frame(b"x" * (limit + 1))[:14])
        assert (await attacker.closed_with())[0] == 1009


async def test_json_nested_deeply_is_refused_at_every_door(served: Served) -> None:
    nest = b"[" * DEEP + b"]" * DEEP
    async with wire(served.url) as client:
        await client.upgrade("/")
        await client.send(frame(b'{"type":"subscribe","symbols":' + nest + b"}") + frame(b'{"type":"PING"}'))
        told = []
        async for _, payload in client.frames():
            told.append(json.loads(payload))
            if told[-1]["type"] == "PONG":
                break
        assert told[1]["code"] == "bad_request"
    async with wire(served.url) as client:
        await client.upgrade("/ws")
        await client.send(frame(b'{"method":"SUBSCRIBE","params":' + nest[: DEEP // 4] + b"}"))
        opcode, payload = await anext(aiter(client.frames()))
        assert opcode == CLOSE or b"error" in payload
    for packet in (frame(b'42["subscribe",' + nest + b"]"), frame(b"\x93" * DEEP, BINARY)):
        async with socketio_wire(served.url) as client:
            await client.send(packet)
            assert (await client.closed_with())[0] == 1000


async def test_json_nested_deeply_in_a_polling_body_ends_its_session(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/socket.io/?EIO=4&transport=polling") as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        url = f"{served.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        async with http.post(url, data=f"40\x1e42[{'[' * DEEP}{']' * DEEP}]") as answer:
            assert answer.status == 400
        async with http.post(url, data=BytesIO(b"x" * (4 * 1024 * 1024 + 1))) as answer:
            assert answer.status == 400
