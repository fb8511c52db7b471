"""Recorded Binance messages, from the exchange to socket.io-client through the whole cluster."""

import gzip
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from deploy.plan import BusServer
from tests.system.cluster import Cluster, NodeClient, wait_for_silence

STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
LINES = 20_000
CLIENTS = {
    "websocket on one replica": ("127.0.1.1", "websocket"),
    "websocket on the other": ("127.0.2.1", "websocket"),
    "upgrade on one replica": ("127.0.1.2", "upgrade"),
    "upgrade on the other": ("127.0.2.2", "upgrade"),
    "polling only": ("127.0.1.3", "polling"),
}


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Line(msgspec.Struct):
    conn: str
    raw: msgspec.Raw


@pytest.fixture(scope="module")
def recording(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first LINES lines of the spot recording: about a minute and a half of two symbols."""
    short = tmp_path_factory.mktemp("recording") / "spot.ndjson.gz"
    with gzip.open(recordings / "ws/spot-btc-eth-20240808.ndjson.gz") as lines, gzip.open(short, "wb", 1) as kept:
        kept.writelines(islice(lines, LINES))
    return short


def recorded_payloads(recording: Path, stream: str) -> list[bytes]:
    """Every payload of `stream` in the recording, byte for byte."""
    with gzip.open(recording) as file:
        lines = [msgspec.json.decode(line, type=_Line) for line in file]
    frames = [msgspec.json.decode(line.raw, type=_Combined) for line in lines if not line.conn.startswith("/api/")]
    return [bytes(frame.data) for frame in frames if frame.stream == stream]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("bus", ["redis", "nats"])
def test_every_recorded_payload_arrives_byte_for_byte_once_and_in_order_on_both_replicas(
    recording: Path, tmp_path: Path, bus: BusServer
) -> None:
    settings = {"REPLAY_SPEED": "8", "REPLAY_LOOP": "false"}
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
        wait_for_silence(list(clients.values()), "spot:btcusdt@bookTicker", timeout_s=90)
        for name, client in clients.items():
            expected_end = {"upgrade": b"websocket"}.get(name.split()[0], name.split()[0].encode())
            assert client.lines("transport")[-1] == expected_end, name
            assert client.lines("disconnect") == [], name
            for stream in STREAMS:
                received = client.messages(f"spot:{stream}")
                expected = recorded_payloads(recording, stream)
                assert len(received) > 100, f"{name} subscribed too late to say anything"
                assert received == expected[-len(received) :], f"{name}: {stream}"
