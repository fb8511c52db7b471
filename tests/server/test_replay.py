"""Replays on the wire, at both doors."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import connect

from market.streams import StreamName
from server.replay import replays as replays_module
from server.replay.reader import RecordingReader
from tests.market.samples import sample
from tests.server.conftest import Client, Served, until
from tests.server.json_client import JsonClient, json_client
from tests.server.stored import START, Row, mixed, store, trade, trades

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the replica finds recordings."""
    monkeypatch.setenv("RECORDINGS", str(tmp_path))
    return tmp_path


@pytest.fixture
async def ws_client(served: Served) -> AsyncIterator[JsonClient]:
    async with json_client(served.url) as connected:
        yield connected


@pytest.fixture
async def io_client(served: Served) -> AsyncIterator[Client]:
    connected = Client()
    await connected.connect(served.url, "websocket")
    yield connected
    await connected.io.disconnect()


async def metric(served: Served, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as answer:
        found = re.search(rf"^tickcast_{re.escape(name)}(?:_total)? (\S+)$", await answer.text(), re.MULTILINE)
    assert found, name
    return float(found[1])


async def dropped_messages(served: Served, reason: str) -> float:
    return await metric(served, f'client_dropped_messages_total{{reason="{reason}"}}')


async def nothing_is_replayed(served: Served) -> bool:
    return await metric(served, "replays") == 0


async def test_a_replay_comes_as_live_events_marked_as_what_they_are(client: Client, folder: Path) -> None:
    recording = store(folder, "spot", mixed(trades(300), trades(300, symbol="ethusdt")))
    reply = await client.call("getReplay", {"recording": recording, "streams": ["btcusdt@trade", "no"], "speed": 0})
    assert reply.pop("rejected")[0]["code"] == "invalid_stream"
    assert reply == {
        "ok": True,
        "id": reply["id"],
        "recording": recording,
        "streams": ["spot:btcusdt@trade"],
        "startTime": START + 10,
        "endTime": START + 3_000,
        "speed": 0.0,
    }
    await until(lambda: client.named("replayEnd"), "the end")
    assert client.events[-1] == ("replayEnd", {"id": reply["id"], "sent": 300, "reason": "finished"})
    assert client.named("trade") == [
        {
            "source": "replay",
            "replay": reply["id"],
            "stream": "spot:btcusdt@trade",
            "cursor": number,
            "ts": row.ts,
            "data": json.loads(row.payload),
        }
        for number, row in enumerate(trades(300), start=1)
    ]


async def test_without_an_acknowledgement_the_replay_announces_itself(io_client: Client, folder: Path) -> None:
    recording = store(folder, "spot", trades(2))
    await io_client.io.emit("getReplay", {"recording": recording, "streamType": "trade", "symbols": ["btcusdt"]})
    await until(lambda: io_client.named("replayEnd"), "the end")
    names = [name for name, _ in io_client.events if name not in ("connected", "status")]
    assert names == ["replayStart", "trade", "trade", "replayEnd"]
    assert "ok" not in io_client.named("replayStart")[0]


async def test_document_002_s_clients_get_their_own_events(io_client: Client, folder: Path) -> None:
    ticker = sample("spot:btcusdt@ticker")
    recording = store(folder, "spot", [Row(START, StreamName.parse("btcusdt@ticker"), ticker)])
    await io_client.call("getReplay", {"recording": recording, "symbols": ["BTCUSDT"]})
    await until(lambda: io_client.named("replayEnd"), "the end")
    (update,) = io_client.named("price_update")
    assert (update["source"], update["symbol"]) == ("replay", "BTCUSDT")
    assert update["price"] == float(json.loads(ticker)["c"])


async def test_the_payload_s_bytes_travel_untouched_at_both_doors(served: Served, folder: Path) -> None:
    payload = b'{"e":"trade", "E":1,"s":"BTCUSDT","t":7,"p":"1.50000000","x":[1.0,2.50]}'
    recording = store(folder, "spot", [trade(7, START)._replace(payload=payload)])
    async with json_client(served.url) as plain:
        await plain.send(type="getReplay", recording=recording, rawStreams=["btcusdt@trade"])
        await plain.wait_for("replayEnd")
        (text,) = [text for text in plain.texts if b'"t":7' in text]
    inside = payload[1:-1]
    assert text == (
        b'{"source":"replay","replay":"r1","stream":"btcusdt@trade","data":{'
        + inside + b',"stream":"btcusdt@trade","data":' + payload + b"}}"
    )  # fmt: skip
    url = f"{served.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    async with connect(url) as ws, asyncio.timeout(10):
        await ws.send("40")
        await ws.send("420" + json.dumps(["getReplay", {"recording": recording, "streams": ["btcusdt@trade"]}]))
        text = b""
        while b'"t":7' not in text:
            text = await ws.recv(decode=False)
    assert text == (
        b'42["trade",{"source":"replay","replay":"r2","stream":"spot:btcusdt@trade","cursor":7,"ts":%d,"data":%b}]'
        % (START, payload)
    )


async def test_a_msgpack_client_gets_msgpack(served: Served, folder: Path) -> None:
    recording = store(folder, "spot", trades(3))
    url = f"{served.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    events: list[Any] = []
    async with connect(url) as ws, asyncio.timeout(10):
        await ws.send(msgspec.msgpack.encode({"type": 0, "nsp": "/"}))
        request = ["getReplay", {"recording": recording, "streams": ["btcusdt@trade"], "speed": 0}]
        await ws.send(msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": request}))
        while not events or events[-1][0] != "replayEnd":
            packet = await ws.recv()
            if isinstance(packet, bytes) and (data := msgspec.msgpack.decode(packet)).get("type") == 2:
                events.append(data["data"])
    assert [body["cursor"] for name, body in events if name == "trade"] == [1, 2, 3]


async def test_typed_and_raw_forms_of_the_json_door(ws_client: JsonClient, folder: Path) -> None:
    recording = store(folder, "spot", trades(2))
    typed = {"streamType": "trade", "symbols": ["BTCUSDT"], "options": {}}
    start = await ws_client.ask("replayStart", type="getReplay", recording=recording, speed=0, **typed)
    await ws_client.wait_for("replayEnd")
    assert start | typed == start
    assert (start["recording"], start["startTime"], start["speed"]) == (recording, START + 10, 0)
    first, second = ws_client.of_type("trade")
    assert (first["source"], first["replay"], first["data"]["t"], first["data"]["data"]["t"]) == (
        "replay", start["id"], 1, 1,
    )  # fmt: skip
    assert second["data"]["t"] == 2
    assert ws_client.messages[-1] == {"type": "replayEnd", "id": start["id"], "sent": 2, "reason": "finished"}
    await ws_client.send(type="getReplay", recording=recording, speed=0, rawStreams=["btcusdt@trade", "x"])
    await ws_client.wait_for("replayEnd", 2)
    (refused,) = ws_client.of_type("error")
    assert (refused["code"], refused["stream"]) == ("invalid_stream", "x")
    assert [message["data"]["t"] for message in ws_client.of_stream("btcusdt@trade")] == [1, 2]


async def test_a_range_of_time_of_all_symbols(ws_client: JsonClient, folder: Path) -> None:
    recording = store(folder, "spot", mixed(trades(100), trades(100, symbol="ethusdt")), rotate_bytes=500)
    span = {"startTime": START + 200, "endTime": START + 250}
    await ws_client.send(type="getReplay", recording=recording, speed=0, streamType="trade", symbols=["ALL"], **span)
    (end,) = await ws_client.wait_for("replayEnd")
    assert end["sent"] == 12
    found = {(message["data"]["s"], message["data"]["t"]) for message in ws_client.of_type("trade")}
    assert found == {(symbol, number) for symbol in ("BTCUSDT", "ETHUSDT") for number in range(20, 26)}


async def test_a_symbol_named_beside_all_comes_once_in_each_form(ws_client: JsonClient, folder: Path) -> None:
    recording = store(folder, "spot", mixed(trades(3), trades(3, symbol="ethusdt")))
    await ws_client.send(
        type="getReplay", recording=recording, speed=0, rawStreams=["btcusdt@trade", "*@trade", "spot:btcusdt@trade"]
    )
    await ws_client.wait_for("replayEnd")
    for name in ("btcusdt@trade", "spot:btcusdt@trade", "ethusdt@trade"):
        assert [message["data"]["t"] for message in ws_client.of_stream(name)] == [1, 2, 3], name


async def test_messages_keep_their_distance_in_time(ws_client: JsonClient, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    recording = store(folder, "spot", [trade(1, START), trade(2, START + 600)])
    began = loop.time()
    await ws_client.send(type="getReplay", recording=recording, speed=2, rawStreams=["btcusdt@trade"])
    await until(lambda: len(ws_client.of_stream("btcusdt@trade")) == 2, "the second")
    assert loop.time() - began >= 0.29


async def test_a_paced_replay_waits_while_live_messages_pass_it(
    served: Served, io_client: Client, folder: Path
) -> None:
    recording = store(folder, "spot", [trade(1, START), trade(2, START + HOUR_MS)])
    assert (await io_client.call("subscribe", {"streams": ["btcusdt@trade"]}))["ok"]
    reply = await io_client.call("getReplay", {"recording": recording, "streams": ["btcusdt@trade"]})
    await until(lambda: io_client.named("trade"), "the first stored one")
    await served.publish("btcusdt@trade", trade(9, START).payload, count=20)
    await until(lambda: len(io_client.named("trade")) == 21, "the live ones")
    assert [event.get("replay") for event in io_client.named("trade")] == [reply["id"]] + [None] * 20
    assert await io_client.call("stopReplay", {"id": reply["id"]}) == {"ok": True, "id": reply["id"]}
    assert io_client.named("replayEnd") == [{"id": reply["id"], "sent": 1, "reason": "stopped"}]
    await served.publish("btcusdt@trade", trade(10, START).payload)
    await until(lambda: len(io_client.named("trade")) == 22, "live as before")
    assert (await io_client.call("subscriptions"))["streams"] == ["spot:btcusdt@trade"]
    assert await nothing_is_replayed(served)


async def test_a_replay_stopped_at_the_json_door_says_so(served: Served, ws_client: JsonClient, folder: Path) -> None:
    recording = store(folder, "spot", [trade(1, START), trade(2, START + HOUR_MS)])
    start = await ws_client.ask(
        "replayStart", type="getReplay", recording=recording, rawStreams=["btcusdt@trade"], speed=100
    )
    await until(lambda: ws_client.of_stream("btcusdt@trade"), "the first")
    end = await ws_client.ask("replayEnd", type="stopReplay", id=start["id"])
    assert end == {"type": "replayEnd", "id": start["id"], "sent": 1, "reason": "stopped"}
    error = await ws_client.ask("error", type="stopReplay", id=start["id"])
    assert error["code"] == "not_found"
    assert (await ws_client.ask("error", type="stopReplay"))["code"] == "bad_request"


async def test_nobody_stops_another_client_s_replay(served: Served, ws_client: JsonClient, folder: Path) -> None:
    recording = store(folder, "spot", [trade(1, START), trade(2, START + HOUR_MS)])
    start = await ws_client.ask("replayStart", type="getReplay", recording=recording, rawStreams=["btcusdt@trade"])
    async with json_client(served.url) as other:
        assert (await other.ask("error", type="stopReplay", id=start["id"]))["code"] == "not_found"
    assert await metric(served, "replays") == 1


async def test_a_client_that_leaves_ends_its_replays(served: Served, folder: Path) -> None:
    recording = store(folder, "spot", [trade(1, START), trade(2, START + HOUR_MS)])
    async with json_client(served.url) as plain:
        await plain.ask("replayStart", type="getReplay", recording=recording, rawStreams=["btcusdt@trade"])
        io = Client()
        await io.connect(served.url)
        await io.call("getReplay", {"recording": recording, "streams": ["btcusdt@trade"]})
        assert await metric(served, "replays") == 2
        await io.io.disconnect()
        await until(lambda: _replays_are(served, 1), "one has ended")
    await until(lambda: nothing_is_replayed(served), "both have")


async def _replays_are(served: Served, count: int) -> bool:
    return await metric(served, "replays") == count


async def test_a_slow_reader_slows_its_own_replay_and_misses_nothing(served: Served, folder: Path) -> None:
    count, filler = 6_000, 2_000
    recording = store(folder, "spot", trades(count, filler=filler))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    slow.connect(("127.0.0.1", urlsplit(served.url).port))
    url = served.url.replace("http", "ws", 1)
    async with connect(url, sock=slow, max_queue=4, compression=None, max_size=None) as ws, json_client(url) as live:
        await live.ask("subscribed", type="subscribe", rawStreams=["btcusdt@trade"])
        await ws.send(json.dumps({"type": "subscribe", "rawStreams": ["btcusdt@ticker"]}))
        await ws.send(
            json.dumps({"type": "getReplay", "recording": recording, "rawStreams": ["btcusdt@trade"], "speed": 0})
        )
        sent = -1.0
        while (now := await metric(served, "replayed_messages")) != sent or not now:
            sent = now
            await served.publish("btcusdt@trade", trade(1, START).payload)
            await asyncio.sleep(0.1)
        # The kernel's buffers are full, and nothing more waits here.
        assert 0 < sent < count
        assert await metric(served, "lagging_clients") == 0
        await until(lambda: live.of_stream("btcusdt@trade"), "another client goes on")
        await served.publish("btcusdt@ticker", b'{"E":1}')
        found, tickers = [], 0
        async with asyncio.timeout(30):
            while True:
                message = json.loads(await ws.recv())
                if message.get("type") == "replayEnd":
                    break
                tickers += message.get("stream") == "btcusdt@ticker"
                if message.get("replay"):
                    found.append(message["data"]["t"])
        assert found == list(range(1, count + 1))
        assert tickers == 1
        dropped = [await dropped_messages(served, reason) for reason in ("conflated", "buffer_full")]
        assert dropped == [0, 0]


async def test_a_client_that_reads_nothing_at_all_loses_its_replay_alone(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_module, "STALL_S", 0.3)
    recording = store(folder, "spot", trades(6_000, filler=2_000))
    async with connect(served.url.replace("http", "ws", 1), max_queue=4, compression=None) as ws:
        await ws.send(
            json.dumps({"type": "getReplay", "recording": recording, "rawStreams": ["btcusdt@trade"], "speed": 0})
        )
        await until(lambda: _started(served), "it has begun")
        await until(lambda: nothing_is_replayed(served), "it has ended")
        last: dict[str, Any] = {}
        async with asyncio.timeout(30):
            while last.get("type") != "replayEnd":
                last = json.loads(await ws.recv())
        assert (last["reason"], last["sent"] < 6_000) == ("stalled", True)


async def _started(served: Served) -> bool:
    return await metric(served, "replays_started") == 1


async def test_replays_are_bounded_for_a_client_and_for_a_replica(
    served: Served, ws_client: JsonClient, io_client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_module, "MAX_PER_REPLICA", 3)
    recording = store(folder, "spot", [trade(1, START), trade(2, START + HOUR_MS)])
    wish = {"recording": recording, "rawStreams": ["btcusdt@trade"]}
    for _ in range(2):
        await ws_client.ask("replayStart", type="getReplay", **wish)
    assert (await ws_client.ask("error", type="getReplay", **wish))["code"] == "replay_limit"
    wish = {"recording": recording, "streams": ["btcusdt@trade"]}
    first = await io_client.call("getReplay", wish)
    refusal = await io_client.call("getReplay", wish)
    assert (first["ok"], refusal["ok"], refusal["code"]) == (True, False, "replay_limit")
    await io_client.io.emit("getReplay", wish)
    await until(lambda: io_client.named("error"), "the same without an acknowledgement")
    await io_client.call("stopReplay", {"id": first["id"]})
    assert (await io_client.call("getReplay", wish))["ok"]
    assert await metric(served, "replays_refused") == 3


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 2_000), ("MAX_S", 0.2)])
async def test_a_replay_has_an_end(
    ws_client: JsonClient, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(replays_module, limit, value)
    recording = store(folder, "spot", [*trades(100), trade(101, START + HOUR_MS)])
    speed = 0 if limit == "MAX_BYTES" else 100
    await ws_client.send(type="getReplay", recording=recording, rawStreams=["btcusdt@trade"], speed=speed)
    (end,) = await ws_client.wait_for("replayEnd")
    assert (end["reason"], 0 < end["sent"] <= 100) == ("limit", True)


async def test_a_disk_that_fails_ends_the_replay_and_nothing_else(
    ws_client: JsonClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = store(folder, "spot", trades(10))

    def fail(_reader: RecordingReader) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RecordingReader, "_step", fail)
    await ws_client.send(type="getReplay", recording=recording, rawStreams=["btcusdt@trade"])
    (end,) = await ws_client.wait_for("replayEnd")
    assert (end["sent"], end["reason"]) == (0, "failed")
    await ws_client.settle()


REFUSED = [
    ({"recording": "no-such"}, "unknown_recording"),
    ({"recording": "../spot"}, "unknown_recording"),
    ({"recording": "/etc/passwd"}, "unknown_recording"),
    ({"recording": ""}, "bad_request"),
    ({"recording": 7}, "bad_request"),
    ({"speed": 0.5}, "bad_request"),
    ({"speed": 101}, "bad_request"),
    ({"speed": -1}, "bad_request"),
    ({"speed": "fast"}, "bad_request"),
    ({"startTime": START, "endTime": START - 1}, "invalid_time"),
    ({"startTime": -1}, "invalid_time"),
    ({"startTime": "noon"}, "bad_request"),
]


@pytest.mark.parametrize(("change", "code"), REFUSED)
async def test_what_cannot_be_replayed_is_refused_in_each_door_s_shape(
    ws_client: JsonClient, io_client: Client, folder: Path, change: dict[str, Any], code: str
) -> None:
    wish = {"recording": store(folder, "spot", trades(1))} | change
    error = await ws_client.ask("error", type="getReplay", rawStreams=["btcusdt@trade"], **wish)
    reply = await io_client.call("getReplay", {"streams": ["btcusdt@trade"], **wish})
    assert (error["code"], reply["ok"], reply["code"]) == (code, False, code)
    assert error["message"] == reply["message"]


async def test_a_request_without_streams_is_refused(ws_client: JsonClient, io_client: Client, folder: Path) -> None:
    recording = store(folder, "spot", trades(1))
    wishes: list[Any] = [{"streams": []}, {"streams": ["x"]}, {}, None, ["BTC"]]
    for data in wishes:
        body = {"recording": recording, **data} if isinstance(data, dict) else data
        assert (await io_client.call("getReplay", body))["code"] in ("bad_request", "invalid_stream")
    assert (await ws_client.ask("error", type="getReplay", recording=recording))["code"] == "invalid_stream"
    assert (await ws_client.ask("error", type="getReplay", recording=recording, rawStreams=["x"]))["stream"] == "x"


async def test_a_payload_that_cannot_be_written_is_left_out(ws_client: JsonClient, folder: Path) -> None:
    rows = [trade(1, START), Row(START, StreamName.parse("btcusdt@depth5"), b'{"lastUpdateId":1}'), trade(2, START)]
    recording = store(folder, "spot", rows)
    await ws_client.send(
        type="getReplay", recording=recording, streamType="depth", options={"level": 5}, symbols=["btcusdt"]
    )
    (end,) = await ws_client.wait_for("replayEnd")
    assert (end["sent"], end["reason"]) == (0, "finished")
