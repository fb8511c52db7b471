"""The JSON logs of real processes: who says what, about whom, when, and no secrets."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.sync.client import connect

from tests.support.processes import Process, free_port, redis_server, tickcast, wait_until, whole_lines

SECRET = "open-sesame"  # noqa: S105 # the tests look for it where it must not be


class Logs(NamedTuple):
    """Processes whose logs are read."""

    replica: Process
    ingestor: Process
    bus: Process


def lines(process: Process) -> list[dict[str, Any]]:
    """Every line so far, decoded; what is not JSON fails."""
    return [json.loads(line) for line in whole_lines(process.log) if not line.startswith(b"Tickcast serves")]


def said(process: Process, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(process) if line["event"] == event]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    directory = tmp_path_factory.mktemp("logs")
    bus = redis_server(directory)
    exchange_port = free_port()
    settings = {
        "LOG_FORMAT": "json",
        "BUS_URL": f"redis://:{SECRET}@127.0.0.1:{bus.port}/0",
        "EXCHANGE_URL": f"http://127.0.0.1:{exchange_port}",
        "REPLICA": "r7",
        "INSTANCE": "i7",
    }
    bus.command += ["--requirepass", SECRET]
    with (
        bus,
        tickcast("exchange", exchange_port, directory, {"SIM_SYMBOLS": "2"}),
        tickcast("ingestor", free_port(), directory, settings) as ingestor,
        tickcast("replica", free_port(), directory, settings) as replica,
    ):
        wait_until(lambda: bool(said(replica, "catalog loaded")), "the replica has started")
        yield Logs(replica, ingestor, bus)


def misbehave(replica: Process) -> str:
    """Send a replica a packet that is none; the client's id."""
    with connect(f"ws://127.0.0.1:{replica.port}/socket.io/?EIO=4&transport=websocket") as ws:
        opening = str(ws.recv(timeout=5))
        ws.send("nonsense")
        wait_until(lambda: bool(said(replica, "packet refused")), "the refusal is logged")
    return str(json.loads(opening[1:])["sid"])


def test_every_line_says_when_how_grave_and_whose_it_is(logs: Logs) -> None:
    now = datetime.now(UTC)
    for process, key, name in ((logs.replica, "replica", "r7"), (logs.ingestor, "ingestor", "i7")):
        found = lines(process)
        assert found
        for line in found:
            assert line[key] == name
            assert line["level"] in ("info", "warning", "error")
            at = datetime.fromisoformat(line["timestamp"])
            assert at.utcoffset() == timedelta(0)
            assert now - timedelta(minutes=5) < at < now + timedelta(minutes=5)


def test_a_line_about_a_client_names_it_and_is_no_alarm(logs: Logs) -> None:
    client = misbehave(logs.replica)
    (line,) = said(logs.replica, "packet refused")
    assert (line["client"], line["level"]) == (client, "info")
    assert not {"sid", "client_id"} & {key for each in lines(logs.replica) for key in each}


def test_a_lost_bus_is_told_without_its_password(logs: Logs) -> None:
    logs.bus.kill()
    for process in (logs.replica, logs.ingestor):
        wait_until(lambda process=process: bool(said(process, "the bus cannot connect")), "told")  # type: ignore[misc] # the loop's value
        assert SECRET not in process.log.read_text()
    logs.bus.start()


def test_the_level_decides_what_is_written(tmp_path: Path) -> None:
    port = free_port()
    with tickcast("exchange", port, tmp_path, {"LOG_LEVEL": "warning", "SIM_SYMBOLS": "1"}) as process:
        assert process.log.read_text() == "", "it says at level info that it is open"
