"""HTTP that never ends, is too long, or is none: refused in JSON and counted, without Nginx."""

import asyncio
import contextlib
import gzip
import json
from contextlib import AsyncExitStack

import aiohttp
import pytest

from bus import open_bus
from server.access import quotas as quotas_module
from server.replica import Replica
from server.transport import server as http_server
from tests.server.access.attackers import Wire, error_of, refused, wire
from tests.server.conftest import Client, Served, replica_settings, until
from tests.support.processes import Process

HASTY = {"request_timeout_s": 0.3}


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_head_that_dribbles_is_given_up_in_time(served: Served) -> None:
    async with wire(served.url) as loris:
        await loris.send(b"GET /health HTTP/1.1\r\nHost: x\r\n")

        async def dribble() -> None:
            while True:
                await loris.send(b"X: y\r\n")
                await asyncio.sleep(0.02)

        dribbling = asyncio.create_task(dribble())
        status, body = await loris.answer()
        dribbling.cancel()
        assert (status, error_of(body)["code"]) == (408, "bad_request")
        with contextlib.suppress(ConnectionResetError):  # what dribbled in last was not read
            assert await loris.reader.read() == b""
    assert await refused(served.url) == {"slow_request": 1}


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_connection_that_never_says_a_word_is_closed(served: Served) -> None:
    async with wire(served.url) as silent:
        assert await silent.reader.read() == b""


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_second_request_that_is_never_finished_is_given_up_too(served: Served) -> None:
    async with wire(served.url) as loris:
        assert (await loris.request("GET /health"))[0] == 200
        await loris.send(b"GET /hea")
        assert (await loris.answer())[0] == 408


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_poll_that_waits_longer_than_a_request_may_take_is_left_alone(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "polling")
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await asyncio.sleep(3 * HASTY["request_timeout_s"])
    await served.publish("btcusdt@trade")
    await until(lambda: client.named("trade"), "a trade after a long wait")
    await client.io.disconnect()


async def test_a_connection_that_idles_between_requests_is_closed(
    monkeypatch: pytest.MonkeyPatch, exchange: Process
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_S", 0.3)
    bus = open_bus("memory://idle")
    replica = Replica(replica_settings(exchange), bus)
    await bus.start()
    async with wire(f"http://127.0.0.1:{await replica.start()}") as idle:
        assert (await idle.request("GET /health"))[0] == 200
        assert await idle.reader.read() == b""
    await replica.close()
    await bus.close()


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_polling_body_that_dribbles_ends_its_session(served: Served) -> None:
    async with wire(served.url) as loris:
        _, opened = await loris.request("GET /socket.io/?EIO=4&transport=polling")
        path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened[1:])['sid']}"
        status, _ = await loris.request(f"POST {path}", "Content-Length: 1000\r\n", b"40")
        assert status == 400
        async with wire(served.url) as other:
            assert (await other.request(f"GET {path}"))[1] == '{"code":1,"message":"Session ID unknown"}'


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 4000) for n in range(20)),
    ],
    ids=["long line", "long header", "many headers", "no HTTP", "long head that is not even whole"],
)
async def test_a_head_that_is_too_much_or_none_is_refused_in_json(served: Served, head: bytes) -> None:
    async with wire(served.url) as attacker:
        await attacker.send(head)
        status, body = await attacker.answer()
        assert (status in (400, 431), error_of(body)["code"]) == (True, "bad_request")
    assert await refused(served.url) == {"malformed": 1}


async def test_a_body_is_never_inflated(served: Served) -> None:
    bomb = gzip.compress(b'42["subscriptions"]\x1e' * 2_000_000)
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/socket.io/?EIO=4&transport=polling") as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        url = f"{served.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        async with http.post(url, data=bomb, headers={"Content-Encoding": "gzip"}) as answer:
            assert answer.status == 400
            assert (await answer.json()) == {"code": 3, "message": "Bad request"}


@pytest.mark.parametrize("served", [{"connections_per_address": 2}], indirect=True)
async def test_an_address_holds_so_many_http_connections_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas_module, "_MORE_SOCKETS", 1)
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(wire(served.url)) for _ in range(5)]
        for one in held:
            assert (await one.request("GET /health"))[0] == 200
        more = await stack.enter_async_context(wire(served.url))
        status, body = await more.answer()
        assert (status, error_of(body)["code"]) == (429, "too_many_connections")
        neighbour = await stack.enter_async_context(wire(served.url, "127.0.1.4"))
        assert (await neighbour.request("GET /health"))[0] == 200
        await held.pop().close()

        async def has_room() -> bool:
            again = await Wire.open(served.url)
            await again.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _ = await again.answer()
            await again.close()
            return status == 200

        await until(has_room, "the room that one left")
