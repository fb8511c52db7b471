"""Clients of documents 000, 001 and 004: as printed apart from the address, and through the whole cluster."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websocket
from websockets.sync.client import ClientConnection, connect

from tests.support.processes import ROOT, Process, free_port, tickcast, wait_until
from tests.system.cluster import Cluster

SEEDS = Path(__file__).parent / "seeds"
RECORDED_LINES = 5_000
REPLAY_SPEED = 8
SILENCE_MS = 10_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """All of Tickcast in one process, as `make run` starts it."""
    directory = tmp_path_factory.mktemp("served")
    with tickcast("run", free_port(), directory, {"SIM_SYMBOLS": "8"}) as process:
        yield process


class Example:
    """A running example client and what it has printed so far."""

    def __init__(self, child: "subprocess.Popen[bytes]", output: Path) -> None:
        self._child = child
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def has_ended(self) -> bool:
        return self._child.poll() is not None

    def type(self, line: str) -> None:
        """Type a line at its prompt."""
        assert self._child.stdin
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()

    def wait_for(self, pattern: str, count: int = 1) -> list[Any]:
        """What matches `pattern`, once it is there `count` times."""
        found = re.compile(pattern, re.MULTILINE)
        wait_until(lambda: len(found.findall(self.text)) >= count, f"{count} x {pattern} in {self._output}")
        return found.findall(self.text)


@contextmanager
def example(name: str, port: int, directory: Path) -> Iterator[Example]:
    """Run one of the documents' clients against the server on `port`."""
    script, output = directory / name, directory / f"{name}.out"
    printed = (SEEDS / name).read_text()
    addressed, count = re.subn(r"ws://(?:localhost|server-address):\d+", f"ws://127.0.0.1:{port}", printed)
    assert count == 1
    script.write_text(addressed)
    command = ["node", str(script)] if script.suffix == ".js" else [sys.executable, "-u", str(script)]
    env = {**os.environ, "NODE_PATH": str(ROOT / "node_modules"), "PYTHONIOENCODING": "utf-8"}
    with output.open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        yield Example(child, output)
    finally:
        child.kill()
        child.communicate(timeout=5)


def test_document_000s_fragments_stream_klines_until_they_unsubscribe(served: Process, tmp_path: Path) -> None:
    with example("000_client.js", served.port, tmp_path) as client:
        client.wait_for("^unsubscribed$")
        klines = client.wait_for(r"^kline (\w+@kline_1m) 1m ([\d.]+) ([\d.]+)$", 6)
    assert {stream for stream, _, _ in klines} == {"btcusdt@kline_1m", "ethusdt@kline_1m"}
    assert client.text.index("connection") < client.text.index("subscribed") < client.text.index("kline ")


def test_document_001s_javascript_client_prints_typed_and_raw_klines(served: Process, tmp_path: Path) -> None:
    with example("001_client.js", served.port, tmp_path) as client:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            client.wait_for(rf"^{symbol}: Giá mở [\d.]+, Giá đóng [\d.]+, Cao [\d.]+, Thấp [\d.]+$", 2)
            client.wait_for(rf"^\[Raw\] {symbol}: Giá mở [\d.]+, Giá đóng [\d.]+$", 2)
    assert re.search(r"^Client ID: client_\d{13}_\w+$", client.text, re.MULTILINE)
    assert client.text.count("Đăng ký thành công:") == 2
    assert "Nhận dữ liệu:" not in client.text, "nothing that the client does not know"


def test_document_001s_python_client_prints_klines_and_fetches_history(served: Process, tmp_path: Path) -> None:
    with example("001_client.py", served.port, tmp_path) as client:
        client.wait_for(r"BTCUSDT: Giá mở [\d.]+, Giá đóng [\d.]+", 2)
        client.type("h")
        client.wait_for("Nhận dữ liệu: {'type': 'historicalKlines', 'symbol': 'btcusdt', 'interval': '1m'")
        client.type("q")
        wait_until(lambda: client.has_ended, "the client has left")
    assert "Lỗi" not in client.text


def test_document_004s_client_gets_exact_prices_about_once_a_second(served: Process, tmp_path: Path) -> None:
    with example("004_client.js", served.port, tmp_path) as client:
        client.wait_for("^UNSUBSCRIBED BTC$")
        prices = [json.loads(line) for line in client.wait_for(r"^price (\{.*\})$", 6)]
    assert re.findall(r"^(?:SUBSCRIBED|PONG).*$", client.text, re.MULTILINE) == [
        "SUBSCRIBED BTC", "SUBSCRIBED ETH", "SUBSCRIBED SOL", "PONG undefined",
    ]  # fmt: skip
    for price in prices:
        assert set(price) == {"symbol", "bidPrice", "askPrice", "decimals", "time"}
        assert all(isinstance(price[key], int) for key in ("bidPrice", "askPrice", "decimals", "time"))
        assert 0 < price["bidPrice"] < price["askPrice"]
        assert abs(price["time"] - time.time()) < 60
    assert {price["symbol"] for price in prices} == {"BTC", "ETH", "SOL"}


def test_a_server_that_is_stopped_says_so_to_its_clients(tmp_path: Path) -> None:
    with tickcast("run", free_port(), tmp_path, {"SIM_SYMBOLS": "8"}) as server:
        clients = [websocket.create_connection(f"ws://127.0.0.1:{server.port}", timeout=10) for _ in range(3)]
        for client in clients:
            assert json.loads(client.recv())["type"] == "connection"
        clients[0].send(json.dumps({"type": "SUBSCRIBE", "symbol": "BTC"}))
        server.stop()
        for client in clients:
            opcode, data = websocket.ABNF.OPCODE_TEXT, b""
            while opcode == websocket.ABNF.OPCODE_TEXT:
                opcode, data = client.recv_data()
            client.shutdown()  # type: ignore[no-untyped-call] # websocket-client is typed in part
            assert opcode == websocket.ABNF.OPCODE_CLOSE
            assert data == (1000).to_bytes(2, "big") + b"Server shutting down"


class _Line(msgspec.Struct):
    conn: str
    raw: msgspec.Raw


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


def earlier(line: bytes) -> bytes:
    """A line of a recording, as if it had been received so long before that a client is there for the next one."""
    return re.sub(rb'^\{"ts":(\d+)', lambda ts: b'{"ts":%d' % (int(ts[1]) - SILENCE_MS * REPLAY_SPEED), line)


def test_a_recording_arrives_byte_for_byte_in_raw_form(recordings: Path, tmp_path: Path) -> None:
    name = "btcusdt@trade"
    short = tmp_path / "spot.ndjson.gz"
    with gzip.open(recordings / "ws/spot-btc-eth-20240808.ndjson.gz") as whole:
        lines = list(islice(whole, RECORDED_LINES))
    with gzip.open(short, "wb", 1) as kept:
        kept.writelines([earlier(lines[0]), *lines[1:]])
    records = [msgspec.json.decode(line, type=_Line) for line in lines]
    frames = [msgspec.json.decode(record.raw, type=_Combined) for record in records if record.conn[:5] != "/api/"]
    expected = [bytes(frame.data) for frame in frames if frame.stream == name]
    settings = {"EXCHANGE": f"replay:{short}", "REPLAY_SPEED": str(REPLAY_SPEED), "REPLAY_LOOP": "false"}
    with tickcast("run", free_port(), tmp_path, settings) as server:
        client = websocket.create_connection(f"ws://127.0.0.1:{server.port}", timeout=40)
        with closing(client):
            client.send(json.dumps({"type": "subscribe", "rawStreams": [name]}))
            received: list[bytes] = []
            while expected[-1:] != received[-1:]:
                _, text = client.recv_data()
                if text.startswith(b'{"stream":'):
                    received.append(_payload(text, name))
    assert len(received) > 50, "subscribed too late to say anything"
    assert received == expected[-len(received) :]


def _payload(text: bytes, name: str) -> bytes:
    """The exchange's payload in a raw message."""
    mark = b',"stream":"%b","data":' % name.encode()
    return text[text.rindex(mark) + len(mark) : -2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), env={"SIM_SYMBOLS": "8"}) as running:
        yield running


def test_all_three_documents_are_served_on_one_connection_through_nginx(cluster: Cluster) -> None:
    """From addresses that lead to either replica."""
    requests: list[dict[str, Any]] = [
        {"type": "subscribe", "streamType": "kline", "symbols": ["btcusdt"]},
        {"type": "subscribe", "streamType": "markPrice", "symbols": ["btcusdt"]},
        {"type": "subscribe", "rawStreams": ["btcusdt@kline_1m"]},
        {"type": "SUBSCRIBE", "symbol": "BTC"},
        {"type": "getHistoricalKlines", "symbol": "btcusdt", "interval": "1m", "limit": 3},
        {"type": "ping"},
    ]
    wanted = {"connection", "subscribed", "SUBSCRIBED", "kline", "markPrice", "raw", "PRICE_UPDATE", "pong"}
    wanted.add("historicalKlines")
    for source in ("127.0.1.1", "127.0.2.1"):
        address = f"ws://127.0.0.1:{cluster.nginx_port}/"
        with connect(address, source_address=(source, 0)) as client:
            for request in requests:
                client.send(json.dumps(request))
            assert _kinds(client, wanted) == wanted


def _kinds(client: ClientConnection, wanted: set[str]) -> set[str]:
    """The types of messages that come until all that are wanted have."""
    kinds: set[str] = set()
    while not wanted <= kinds:
        message = json.loads(client.recv(timeout=20))
        kinds.add(message.get("type", "raw"))
    return kinds
