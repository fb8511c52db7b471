import asyncio
import gzip
import json
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from binance.recordings import read
from tests.exchange.client import Client, eventually, receive
from tests.exchange.conftest import Start
from tests.exchange.recordings import DAY, trade, write
from tests.support.processes import ROOT


class Recording:
    """Recorders in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []

    async def begin(self, client: Client, market: str, streams: str, **options: Any) -> Process:
        """Start one against an exchange."""
        command = [sys.executable, "-m", "exchange", "record", "--ws-base", client.ws_base, "--market", market]
        command += ["--streams", streams, "--out", str(self.folder)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
        self.processes.append(process)
        return process

    def files(self) -> list[Path]:
        """What it has written, in order."""
        return sorted(self.folder.glob("*.gz"))

    def lines(self) -> list[Any]:
        """Every line on disk; fails where one cannot be read."""
        return [json.loads(line) for path in self.files() for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[Recording]:
    found = Recording(tmp_path / "out")
    yield found
    for process in found.processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> int:
    async with asyncio.timeout(15):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def test_a_recorder_that_is_killed_leaves_files_that_read_to_the_end(start: Start, recording: Recording) -> None:
    client = await start()
    process = await recording.begin(client, "spot", "btcusdt@trade,btcusdt@bookTicker")
    await eventually(lambda: len(recording.lines()) > 30, "lines are on disk")
    process.kill()
    await ended(process)
    lines = recording.lines()
    assert {line["raw"]["stream"] for line in lines} == {"btcusdt@trade", "btcusdt@bookTicker"}
    assert {(line["market"], line["conn"]) for line in lines} == {("spot", "/stream")}
    ids = [line["raw"]["data"]["t"] for line in lines if line["raw"]["stream"] == "btcusdt@trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)


async def test_a_recorder_that_is_asked_to_stop_keeps_everything(start: Start, recording: Recording) -> None:
    client = await start()
    process = await recording.begin(client, "spot", "btcusdt@trade")
    await eventually(lambda: len(recording.lines()) > 0, "recording")
    flushed = [line["raw"]["data"]["t"] for line in recording.lines()]
    socket = await client.socket("/ws/btcusdt@trade")
    seen = [(await receive(socket))["t"] for _ in range(5)]
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0
    kept = [line["raw"]["data"]["t"] for line in recording.lines()]
    assert kept == list(range(flushed[0], kept[-1] + 1))
    assert kept[-1] >= seen[0]


async def test_futures_streams_are_recorded_over_both_routes(start: Start, recording: Recording) -> None:
    client = await start()
    await recording.begin(client, "futures", "btcusdt@bookTicker,btcusdt@aggTrade,btcusdt@markPrice@1s")

    def is_complete() -> bool:
        found = {(line["conn"], line["raw"]["stream"]) for line in recording.lines()}
        return found == {
            ("/public/stream", "btcusdt@bookTicker"),
            ("/market/stream", "btcusdt@aggTrade"),
            ("/market/stream", "btcusdt@markPrice@1s"),
        }

    await eventually(is_complete, "all three streams on disk")


async def test_a_lost_connection_is_opened_again(start: Start, recording: Recording) -> None:
    client = await start()
    await recording.begin(client, "spot", "btcusdt@trade")
    await eventually(lambda: len(recording.lines()) > 0, "recording")
    await client.control("drop")
    await eventually(lambda: client.exchange.status()["connections_total"] == 2, "connected again")
    before = len(recording.lines())
    await eventually(lambda: len(recording.lines()) > before + 5, "recording again")


async def test_what_is_recorded_from_a_replay_equals_the_recording(
    start: Start, recording: Recording, tmp_path: Path
) -> None:
    lines = [(DAY + i, "spot", "/stream", trade(i, DAY + i, "1.50000000", "2.00000000")) for i in range(500)]
    source = write(tmp_path / "source.ndjson.gz", lines)
    client = await start(exchange=f"replay:{source}", replay_speed=100, replay_loop=False)
    await eventually(lambda: client.exchange.status()["replay_messages_total"] == 500, "first round is over")
    process = await recording.begin(client, "spot", "btcusdt@trade")
    await eventually(lambda: client.exchange.status()["streams"] == ["spot:btcusdt@trade"], "subscribed")
    await client.control("replay", action="restart")
    await eventually(lambda: len(recording.lines()) >= 500, "all on disk")
    process.send_signal(signal.SIGINT)
    assert await ended(process) == 0
    recorded = [message.payload for path in recording.files() for message in read(path)]
    assert recorded == [message.payload for message in read(source)]


async def test_a_recorder_without_streams_says_so(start: Start, recording: Recording) -> None:
    client = await start()
    process = await recording.begin(client, "spot", " , ")
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"--streams must name at least one stream" in output
