"""Connections, handshakes and streams of one address: the excess is refused, and neighbours notice nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.server.access.attackers import SOCKETIO, Wire, error_of, refused, socketio_wire, wire
from tests.server.conftest import Client, Served, until
from tests.server.json_client import json_client

DOORS = ["/", SOCKETIO, "/ws/btcusdt@trade"]


@pytest.fixture
async def wires() -> AsyncIterator[list[Wire]]:
    opened: list[Wire] = []
    yield opened
    for one in opened:
        await one.close()


async def _crowd(served: Served, wires: list[Wire], path: str, size: int) -> Counter[tuple[int, str]]:
    """`size` clients of one address that ask for a WebSocket all at once; their answers."""

    async def knock() -> tuple[int, str]:
        client = await Wire.open(served.url)
        wires.append(client)
        return await client.upgrade(path)

    return Counter(await asyncio.gather(*(knock() for _ in range(size))))


@pytest.mark.parametrize("served", [{"connections_per_address": 100}], indirect=True)
async def test_exactly_the_excess_of_an_address_is_refused_and_neighbours_go_on(
    served: Served, wires: list[Wire]
) -> None:
    async with json_client(served.url, local_addr=("127.0.1.2", 0)) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["btcusdt@trade"])
        answers = await _crowd(served, wires, SOCKETIO, 300)
        assert sorted((status, count) for (status, _), count in answers.items()) == [(101, 100), (429, 200)]
        (refusal,) = {body for status, body in answers if status == 429}
        assert error_of(refusal) | {"error": ""} == {
            "success": False, "error": "", "code": "too_many_connections", "retryAfter": 5,
        }  # fmt: skip
        assert await refused(served.url) == {"connections": 200}
        await served.publish("btcusdt@trade")
        await until(lambda: neighbour.of_stream("btcusdt@trade"), "the neighbour's trade")
        async with socketio_wire(served.url, "127.0.1.3"):
            pass


@pytest.mark.parametrize("served", [{"connections_per_address": 3}], indirect=True)
async def test_all_doors_count_together_and_who_leaves_makes_room(served: Served, wires: list[Wire]) -> None:
    for path in DOORS:
        assert await _crowd(served, wires, path, 1) == {(101, ""): 1}
    for path in DOORS:
        ((status, body),) = await _crowd(served, wires, path, 1)
        assert status == 429
        assert "At most 3 connections an address" in body
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/socket.io/?EIO=4&transport=polling") as polling:
            assert (polling.status, polling.headers["Retry-After"]) == (429, "5")
        assert "-1003" in (await _crowd(served, wires, "/stream", 1)).popitem()[0][1]
    for one in wires[:2]:
        await one.close()

    async def has_room() -> bool:
        return (await _crowd(served, wires, "/", 1))[101, ""] == 1

    await until(has_room, "the room that two left")


@pytest.mark.parametrize("served", [{"connections_per_address": 2}], indirect=True)
async def test_a_polling_session_and_its_upgrade_are_one_connection(served: Served) -> None:
    first, second = Client(), Client()
    await first.connect(served.url)
    await second.connect(served.url, "polling")
    with pytest.raises(Exception, match=r"too_many_connections|429"):
        await Client().connect(served.url, "polling")
    await first.io.disconnect()
    third = Client()
    await until(lambda: _connects(third, served.url), "room again")
    await second.io.disconnect()
    await third.io.disconnect()


async def _connects(client: Client, url: str) -> bool:
    try:
        await client.connect(url)
    except Exception:  # noqa: BLE001 # whatever the stock client makes of a refusal
        return False
    return True


@pytest.mark.parametrize("served", [{"handshakes_per_second": 1}], indirect=True)
async def test_who_shakes_hands_too_often_is_told_when_to_come_back(served: Served) -> None:
    async def come_and_go(source: str = "127.0.0.1") -> tuple[int, str]:
        async with wire(served.url, source) as client:
            return await client.upgrade("/")

    answers = [await come_and_go() for _ in range(15)]
    assert [status for status, _ in answers[:10]] == [101] * 10
    status, body = answers[-1]
    assert (status, error_of(body)["code"], error_of(body)["retryAfter"] >= 1) == (429, "rate_limited", True)
    assert (await refused(served.url))["handshakes"] >= 4
    assert (await come_and_go("127.0.1.7"))[0] == 101


@pytest.mark.parametrize("served", [{"handshakes_per_second": 1}], indirect=True)
async def test_upgrades_of_one_session_are_handshakes_too(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "polling")
    statuses = []
    for _ in range(12):
        async with wire(served.url) as redundant:
            statuses.append((await redundant.upgrade(f"{SOCKETIO}&sid={client.io.eio.sid}"))[0])
    assert statuses[0] == 101
    assert statuses[-1] == 429
    await client.io.disconnect()


@pytest.mark.parametrize("served", [{"streams_per_address": 10}], indirect=True)
async def test_all_connections_of_an_address_share_its_streams(served: Served) -> None:
    six = [f"btcusdt@kline_{interval}" for interval in ("1m", "3m", "5m", "15m", "30m", "1h")]
    client = Client()
    await client.connect(served.url, "websocket")
    assert (await client.call("subscribe", {"streams": six}))["ok"]
    async with json_client(served.url) as other:
        refusal = await other.ask("error", type="subscribe", rawStreams=six)
        assert (refusal["code"], refusal["message"]) == ("too_many_streams", "At most 10 streams an address")
        await other.ask("subscribed", type="subscribe", rawStreams=six[:4])
        again = await client.call("subscribe", {"streams": ["ethusdt@trade"]})
        assert (again["ok"], again["code"]) == (False, "too_many_streams")
        assert (await client.call("subscribe", {"streams": six}))["ok"], "what it has already costs nothing"
        await client.call("unsubscribe", {"streams": six[:1]})
        assert (await client.call("subscribe", {"streams": ["ethusdt@trade"]}))["ok"]
    assert await refused(served.url) == {"streams": 2}
    async with json_client(served.url, local_addr=("127.0.1.9", 0)) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=six)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{served.url}/ws") as binance:
        await binance.send_json({"method": "SUBSCRIBE", "params": six[:4], "id": 1})
        assert (await binance.receive_json())["result"] is None, "what others left is free again"
        await binance.send_json({"method": "SUBSCRIBE", "params": ["ethusdt@trade", "bnbusdt@trade"], "id": 2})
        assert "At most 10 streams an address" in (await binance.receive_json())["error"]["msg"]
    await client.io.disconnect()
