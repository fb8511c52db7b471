"""A replayed recording of both markets, clients of all doors at once: each hears all of it, once, byte for byte."""

import asyncio
import gzip
import heapq
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from market.streams import StreamName
from server.doors.msgpack import encode_packet
from server.doors.packets import CONNECT, EVENT
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

LINES = {"spot-btc-eth-20240808.ndjson.gz": 7_000, "futures-btc-eth-20240808.ndjson.gz": 14_000}
"""Lines of each recording: half a minute of it."""
SPEED = 3
LEAD_MS = 3_600_000
"""How long the recording is silent behind its first line until everybody has subscribed."""
MARKETS = ("spot", "futures")
NAMES = ("btcusdt@trade", "btcusdt@bookTicker")
STREAMS = tuple(f"{market}:{name}" for market in MARKETS for name in NAMES)
POLLING, CONFLATED = "Socket.IO polling", "conflated"
"""Between two polls values of state streams may be replaced by later ones, which is told."""
SOCKET_IO = {
    "Socket.IO websocket": ("127.0.1.1", "websocket"),
    POLLING: ("127.0.2.1", "polling"),
    "Socket.IO upgrade": ("127.0.1.2", "upgrade"),
}
ENGINE_PATH = "/socket.io/?EIO=4&transport=websocket"
TIMEOUT_S = 60
PLAIN = ("JSON typed", "JSON raw", "Binance raw", "Binance combined")

Received: TypeAlias = dict[str, dict[str, list[bytes]]]
"""Payloads by client and stream."""
_EVENT = re.compile(rb'2\["\w+",\{"stream":"(?P<stream>[^"]+)","cursor":\d+,"ts":\d+,"data":(?P<payload>.*)\}\]\Z')
_TS = re.compile(rb'\A\{"ts":(\d+)')


class Line(msgspec.Struct):
    """One line of a recording."""

    market: str
    raw: msgspec.Raw


class Combined(msgspec.Struct):
    """A message as it was recorded."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()


class Recording(NamedTuple):
    """A file to replay, its lines, and what they have of each stream."""

    path: Path
    lines: list[bytes]
    expected: dict[str, list[bytes]]

    def write(self, lead_ms: int) -> None:
        """Write the file anew, its first line followed by a silence."""
        first = _TS.sub(b'{"ts":%d' % (_ts(self.lines[0]) - lead_ms * SPEED), self.lines[0])
        beside = self.path.with_suffix(".new")
        beside.write_bytes(gzip.compress(b"".join([first, *self.lines[1:]]), 1))
        beside.replace(self.path)


@pytest.fixture(scope="module")
def recording(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The beginnings of both recordings of 2024-08-08 as one, in the order of their receive times."""
    lines = list(heapq.merge(*(_head(recordings / "ws" / name, count) for name, count in LINES.items()), key=_ts))
    expected: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
    for line in map(msgspec.json.Decoder(Line).decode, lines):
        message = msgspec.json.decode(line.raw, type=Combined)
        if f"{line.market}:{message.stream}" in expected:
            expected[f"{line.market}:{message.stream}"].append(bytes(message.data))
    return Recording(tmp_path_factory.mktemp("recording") / "both.ndjson.gz", lines, expected)


def _head(path: Path, count: int) -> list[bytes]:
    with gzip.open(path) as file:
        return list(islice(file, count))


def _ts(line: bytes) -> int:
    found = _TS.match(line)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def received(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    """What clients of every door received of the recording, through Nginx and both replicas."""
    directory = tmp_path_factory.mktemp("doors")
    recording.write(LEAD_MS)
    settings = {"REPLAY_SPEED": str(SPEED), "REPLAY_LOOP": "false"}
    with Cluster(directory, f"replay:{recording.path}", settings) as cluster, ExitStack() as running:
        stock = {
            title: running.enter_context(
                NodeClient.collecting(directory / f"{title}.out", cluster.url, source, how, *STREAMS)
            )
            for title, (source, how) in SOCKET_IO.items()
        }
        for client in stock.values():
            client.wait_for("ack")
        assert {client.lines("connected")[0] for client in stock.values()} == {b"app1", b"app2"}
        heard = asyncio.run(_plain_clients(cluster, recording))
        for client in stock.values():
            for payloads in recording.expected.values():
                _wait_for_packet(client, payloads[-1])
            assert client.lines("disconnect") == []
        yield heard | {title: _payloads(client) for title, client in stock.items()} | _conflated(stock[POLLING])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("client", [*SOCKET_IO, *PLAIN])
def test_a_client_of_each_door_hears_all_of_a_recording_byte_for_byte(
    received: Received, recording: Recording, client: str, stream: str
) -> None:
    heard, expected = received[client][stream], recording.expected[stream]
    assert len(expected) > 100
    if client == POLLING and StreamName.parse(stream).is_state:
        rest = iter(expected)
        assert all(payload in rest for payload in heard), "out of order, or twice"
        assert heard[-1] == expected[-1]
        assert len(heard) + sum(map(int, received[CONFLATED][stream])) == len(expected)
    else:
        assert heard == expected


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_client_that_speaks_messagepack_hears_all_of_a_recording(
    received: Received, recording: Recording, stream: str
) -> None:
    payloads = recording.expected[stream]
    assert received["MessagePack"][stream] == [msgspec.json.encode(msgspec.json.decode(one)) for one in payloads]


def _payloads(client: NodeClient) -> dict[str, list[bytes]]:
    """The payloads of each stream's events, byte for byte as they came."""
    found: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
    for packet in client.lines("packet"):
        event = _EVENT.match(packet)
        if event is not None:
            found[event["stream"].decode()].append(event["payload"])
    return found


def _conflated(client: NodeClient) -> Received:
    """How many values were replaced by later ones before each notice, by stream."""
    found: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
    for packet in client.lines("packet"):
        event, body = json.loads(packet[1:])
        if event == "gap":
            assert body["reason"] == "conflated"
            found[body["stream"]].append(str(body["missed"]).encode())
    return {CONFLATED: found}


def _wait_for_packet(client: NodeClient, payload: bytes) -> None:
    wait_until(
        lambda: any(payload in packet for packet in client.lines("packet")), "the recording's end", timeout_s=TIMEOUT_S
    )


async def _plain_clients(cluster: Cluster, recording: Recording) -> Received:
    """What clients on plain WebSockets received: the recording begins when the last of them has subscribed."""
    ends = {stream: payloads[-1] for stream, payloads in recording.expected.items()}
    found: Received = {}
    async with AsyncExitStack() as opened, asyncio.timeout(2 * TIMEOUT_S):
        listeners = []
        titles = [(title, market) for title in PLAIN for market in MARKETS]
        for count, (title, market) in enumerate([*titles, ("MessagePack", "")]):
            path = _path(title, market)
            source = (f"127.0.{1 + count % 2}.9", 0)
            url = cluster.url.replace("http", "ws", 1) + path
            socket = await opened.enter_async_context(
                connect(url, local_addr=source, compression=None, max_queue=None, ping_interval=None)
            )
            await _subscribe(socket, title, market)
            listeners.append(_hear(socket, title, market, ends))
        _replay(cluster, recording)
        for (title, _), streams in zip([*titles, ("MessagePack", "")], await asyncio.gather(*listeners), strict=True):
            found.setdefault(title, {}).update(streams)
    return found


def _replay(cluster: Cluster, recording: Recording) -> None:
    """Play the recording from its beginning, now that the cluster subscribes to all of it."""
    status = f"http://127.0.0.1:{cluster.exchange_port}/control/status"
    wait_until(lambda: set(httpx.get(status).json()["streams"]) >= set(STREAMS), "the streams are subscribed to")
    recording.write(0)
    cluster.control("replay", {"action": "restart"})


def _path(title: str, market: str) -> str:
    route = "" if market == "spot" else "/public"
    paths = {
        "Binance raw": f"{route}/ws/{'/'.join(NAMES)}",
        "Binance combined": f"{route}/stream?streams={'/'.join(NAMES)}",
        "MessagePack": ENGINE_PATH,
    }
    return paths.get(title, "/")


async def _subscribe(socket: ClientConnection, title: str, market: str) -> None:
    """Subscribe, unless the URL has done it, and wait for the answer."""
    kinds = [name.partition("@")[2] for name in NAMES]
    common = {"type": "subscribe", "snapshot": False, "market": market}
    typed = [{**common, "streamType": kind, "symbols": ["btcusdt"]} for kind in kinds]
    requests: dict[str, list[bytes | str]] = {
        "JSON typed": [json.dumps(request) for request in typed],
        "JSON raw": [json.dumps({**common, "rawStreams": NAMES})],
        "MessagePack": [
            encode_packet(CONNECT, None),
            encode_packet(EVENT, ["subscribe", {"streams": STREAMS, "snapshot": False}], number=1),
        ],
    }
    listing = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    answer = {"JSON": b'"subscribed"', "Binance": b'"result":["btcusdt', "MessagePack": b"subscribed"}
    for request in requests.get(title, [listing]):
        await socket.send(request)
        if request != requests["MessagePack"][0]:
            while answer[title.partition(" ")[0]] not in await socket.recv(decode=False):
                pass


async def _hear(socket: ClientConnection, title: str, market: str, ends: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Payloads by stream until the last of each stream that the client listens to."""
    heard: dict[str, list[bytes]] = {stream: [] for stream in STREAMS if stream.startswith(market)}
    open_ends = set(heard)
    while open_ends:
        frame = await socket.recv(decode=False)
        if frame == b"2":
            await socket.send("3")
            continue
        stream, payload = _cut(frame, title, market)
        heard[stream].append(payload)
        if payload == ends[stream]:
            open_ends.discard(stream)
    return heard


def _cut(frame: bytes, title: str, market: str) -> tuple[str, bytes]:
    """The stream and the payload in one frame of market data."""
    if title == "MessagePack":
        body = msgspec.msgpack.decode(frame)["data"][1]
        return body["stream"], msgspec.json.encode(body["data"])
    if title == "Binance raw":
        name = NAMES[0] if frame.startswith(b'{"e":"trade"') else NAMES[1]
        return f"{market}:{name}", frame
    for name in NAMES:
        mark = b'"stream":"%b","data":' % name.encode()
        at = frame.rfind(mark)
        if at >= 0:
            return f"{market}:{name}", frame[at + len(mark) : -1 if title == "Binance combined" else -2]
    raise AssertionError(f"not market data: {frame[:200]!r}")
