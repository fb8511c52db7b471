import itertools
from typing import Any

import pytest

from tests.exchange.client import Client, closing_of, eventually, receive, receive_until


async def test_status_tells_mode_connections_and_streams(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade")
    await receive(socket)
    status = (await client.http.get("/control/status")).json()
    assert status["mode"] == "simulated"
    assert status["symbols"] == 6
    assert status["connections"] == {"spot": 1, "futures": 0}
    assert status["streams"] == ["spot:btcusdt@trade"]
    assert status["published_total"] >= 1


async def test_dropping_cuts_one_market_or_all(client: Client) -> None:
    spot, futures = await client.socket("/ws"), await client.socket("/market/ws")
    assert (await client.control("drop", market="spot"))["dropped"] == 1
    assert (await closing_of(spot))[0] == 1006
    assert client.exchange.status()["connections"] == {"spot": 0, "futures": 1}
    assert (await client.control("drop"))["dropped"] == 1
    assert (await closing_of(futures))[0] == 1006


async def test_a_silenced_stream_says_nothing_while_others_speak(client: Client) -> None:
    await client.control("silence", streams="btcusdt@*")
    socket = await client.socket("/stream?streams=btcusdt@trade/ethusdt@trade")
    for _ in range(8):
        assert (await receive(socket))["stream"] == "ethusdt@trade"
    await eventually(lambda: client.exchange.status()["suppressed_total"] > 0, "messages are swallowed")
    await client.control("reset")
    await receive_until(socket, lambda message: message["stream"] == "btcusdt@trade")


async def test_silence_ends_by_itself(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade")
    last = await receive(socket)
    await client.control("silence", seconds=0.5)
    following = (await receive_until(socket, lambda message: message["t"] != last["t"]))[-1]
    found = [last, following]
    while found[-1]["t"] == found[-2]["t"] + 1:
        found.append(await receive(socket))
    assert found[-1]["T"] - found[-2]["T"] >= 400


async def test_silence_can_be_of_one_market(client: Client) -> None:
    await client.control("silence", market="futures")
    spot, futures = await client.socket("/ws/btcusdt@trade"), await client.socket("/public/ws/btcusdt@trade")
    await receive(spot)
    await client.control("reset")
    await receive(futures)


async def test_skipped_messages_are_missing_and_no_others(client: Client) -> None:
    socket = await client.socket("/ws/btcusdt@trade")
    before = (await receive(socket))["t"]
    await client.control("skip", market="spot", stream="btcusdt@trade", count=2)
    ids = [before, (await receive(socket))["t"]]
    while ids[-1] == ids[-2] + 1:
        ids.append((await receive(socket))["t"])
    ids += [(await receive(socket))["t"] for _ in range(10)]
    gaps = [following - number for number, following in itertools.pairwise(ids) if following != number + 1]
    assert gaps == [3]


async def test_skipping_leaves_exactly_one_gap(client: Client) -> None:
    await client.control("skip", market="futures", stream="btcusdt@trade", count=3)
    socket = await client.socket("/public/ws/btcusdt@trade")
    ids = [(await receive(socket))["t"] for _ in range(10)]
    assert ids == list(range(ids[0], ids[0] + 10))
    assert client.exchange.status()["suppressed_total"] == 3


@pytest.mark.parametrize(("status", "text"), [(429, "Too much request weight"), (418, "Way too much request weight")])
async def test_refusals_count_down_requests(client: Client, status: int, text: str) -> None:
    await client.control("refuse", status=status, requests=2, retry_after=7)
    for path in ("/api/v3/ping", "/fapi/v1/time"):
        response = await client.http.get(path)
        assert response.status_code == status
        assert response.headers["Retry-After"] == "7"
        assert response.json()["code"] == -1003
        assert response.json()["msg"].startswith(text)
        assert "X-MBX-USED-WEIGHT-1M" in response.headers
    assert (await client.http.get("/api/v3/ping")).status_code == 200


async def test_refusals_end_by_time_or_reset(client: Client) -> None:
    await client.control("refuse", seconds=0.3)
    assert (await client.http.get("/api/v3/ping")).status_code == 429
    async for response in repeatedly(client, "/api/v3/ping"):
        if response == 200:
            break
    await client.control("refuse")
    assert (await client.http.get("/api/v3/ping")).status_code == 429
    await client.control("reset")
    assert (await client.http.get("/api/v3/ping")).status_code == 200


async def repeatedly(client: Client, path: str) -> Any:
    for _ in range(10_000):
        yield (await client.http.get(path)).status_code


async def test_an_announced_shutdown_is_told_in_each_form_and_then_happens(client: Client) -> None:
    raw, combined = await client.socket("/ws"), await client.socket("/stream")
    futures = await client.socket("/public/ws")
    assert (await client.control("shutdown", market="spot", delay_s=0.2))["told"] == 2
    bare = await receive(raw)
    assert bare["e"] == "serverShutdown"
    assert bare["E"] > 0
    wrapped = await receive(combined)
    assert wrapped["stream"] == "!serverShutdown"
    assert wrapped["data"]["e"] == "serverShutdown"
    assert (await closing_of(raw))[0] == 1001
    assert (await closing_of(combined))[0] == 1001
    await eventually(lambda: client.exchange.status()["connections"] == {"spot": 0, "futures": 1}, "spot is closed")
    assert futures.close_code is None


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("drop", {"market": "moon"}),
        ("skip", {"market": "spot"}),
        ("refuse", {"status": 500}),
        ("refuse", {"status": 403, "door": "rest"}),
        ("say", {"garbage": "nonsense"}),
        ("stall", {}),
        ("silence", {"stream": "typo"}),
        ("replay", {"action": "restart"}),
        ("replay", {"action": "dance"}),
    ],
)
async def test_a_wrong_command_is_refused_with_a_reason(client: Client, command: str, body: dict[str, Any]) -> None:
    response = await client.http.post(f"/control/{command}", json=body)
    assert response.status_code == 400
    assert response.json()["ok"] is False
    assert response.json()["error"]
