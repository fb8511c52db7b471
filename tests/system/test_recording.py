"""Recorded Binance messages, from the exchange to socket.io-client through the whole cluster."""

import gzip
import re
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.plan import BusServer
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
LINES = 20_000
SPEED = 8
CLIENTS = {
    "websocket on one replica": ("127.0.1.1", "websocket"),
    "websocket on the other": ("127.0.2.1", "websocket"),
    "upgrade on one replica": ("127.0.1.2", "upgrade"),
    "upgrade on the other": ("127.0.2.2", "upgrade"),
    "polling only": ("127.0.1.3", "polling"),
}


_TS = re.compile(rb'^\{"ts":(\d+)')


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Line(msgspec.Struct):
    conn: str
    raw: msgspec.Raw


@pytest.fixture
def recording(recordings: Path, tmp_path: Path) -> Path:
    """The first LINES lines of the spot recording: about a minute and a half of two symbols."""
    short = tmp_path / "spot.ndjson.gz"
    with gzip.open(recordings / "ws/spot-btc-eth-20240808.ndjson.gz") as lines:
        short.write_bytes(gzip.compress(b"".join(islice(lines, LINES)), 1))
    return short


def begin_with_silence(recording: Path) -> bytes:
    """Put an hour before the second line; returns the recording as it was."""
    whole = gzip.decompress(recording.read_bytes())
    first, _, rest = whole.partition(b"\n")
    earlier = _TS.sub(lambda ts: b'{"ts":%d' % (int(ts[1]) - 3_600_000 * SPEED), first)
    recording.write_bytes(gzip.compress(earlier + b"\n" + rest, 1))
    return whole


def recorded_payloads(recording: Path, stream: str) -> list[bytes]:
    """Every payload of `stream` in the recording, byte for byte."""
    with gzip.open(recording) as file:
        lines = [msgspec.json.decode(line, type=_Line) for line in file]
    frames = [msgspec.json.decode(line.raw, type=_Combined) for line in lines if not line.conn.startswith("/api/")]
    return [bytes(frame.data) for frame in frames if frame.stream == stream]


@pytest.mark.timeout(180)
@pytest.mark.long
@pytest.mark.parametrize("bus", ["redis", "nats"])
def test_every_recorded_payload_arrives_byte_for_byte_once_and_in_order_on_both_replicas(
    recording: Path, tmp_path: Path, bus: BusServer
) -> None:
    whole = begin_with_silence(recording)
    settings = {"REPLAY_SPEED": str(SPEED), "REPLAY_LOOP": "false"}
    with Cluster(tmp_path, f"replay:{recording}", settings, bus) as cluster, ExitStack() as running:
        clients = {
            name: running.enter_context(
                NodeClient.collecting(tmp_path / f"{name}.out", cluster.url, source, how, *STREAMS)
            )
            for name, (source, how) in CLIENTS.items()
        }
        for client in clients.values():
            client.wait_for("ack")
        assert {client.lines("connected")[0] for client in clients.values()} == {b"app1", b"app2"}
        status = f"http://127.0.0.1:{cluster.exchange_port}/control/status"
        subscribed = {f"spot:{stream}" for stream in STREAMS}
        wait_until(lambda: set(httpx.get(status).json()["streams"]) >= subscribed, "the streams are subscribed to", 60)
        recording.write_bytes(gzip.compress(whole, 1))
        cluster.control("replay", {"action": "restart"})
        expected = {stream: recorded_payloads(recording, stream) for stream in STREAMS}
        for client in clients.values():
            for payloads in expected.values():
                wait_until(partial(_has, client, payloads[-1]), "the recording's end", 60)
        for name, client in clients.items():
            expected_end = {"upgrade": b"websocket"}.get(name.split()[0], name.split()[0].encode())
            assert client.lines("transport")[-1] == expected_end, name
            assert client.lines("disconnect") == [], name
            for stream in STREAMS:
                received = client.messages(f"spot:{stream}")
                if "polling" in name and "bookTicker" in stream:  # a state, which a client between two polls may miss
                    rest = iter(expected[stream])
                    assert all(payload in rest for payload in received), f"{name}: {stream}"
                else:
                    assert received == expected[stream], f"{name}: {stream}"


def _has(client: NodeClient, payload: bytes) -> bool:
    return any(payload in packet for packet in client.lines("packet"))
