"""When a rolling restart refuses to go on; how it goes well is in tests/system/test_rolling_restart.py."""

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy import rolling
from deploy.plan import PIDS, ROLL_PLAN, cluster_plan
from tests.support.processes import free_port


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def healthy_port() -> Iterator[int]:
    """A port on which every question is answered with 200."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def child(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command)


def write_plan(directory: Path, *ports: int) -> None:
    parts = [{"name": f"app{number}", "port": port} for number, port in enumerate(ports, start=1)]
    plan = {"nginx_port": 1, "drain_s": 0.0, "replicas": parts, "ingestors": []}
    (directory / ROLL_PLAN).write_text(json.dumps(plan))
    (directory / PIDS).mkdir()


async def test_where_no_cluster_runs_nothing_is_restarted(tmp_path: Path) -> None:
    with pytest.raises(rolling.RollError, match="no cluster has its state in"):
        await rolling.roll(tmp_path, print)


async def test_nothing_is_restarted_while_anybody_is_not_ready(tmp_path: Path, healthy_port: int) -> None:
    write_plan(tmp_path, healthy_port, free_port())
    with pytest.raises(rolling.RollError, match="app2 is not ready; nothing was restarted"):
        await rolling.roll(tmp_path, print)


async def test_a_process_that_is_not_started_again_ends_the_restart(
    tmp_path: Path, healthy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "LEAVE_S", 0.3)
    write_plan(tmp_path, healthy_port, healthy_port)
    said: list[str] = []
    with child("sleep", "60") as first, child("sleep", "60") as second:
        for number, process in enumerate((first, second), start=1):
            (tmp_path / PIDS / f"app{number}.pid").write_text(str(process.pid))
        with pytest.raises(rolling.RollError, match=r"app1 \(pid \d+\) was not started again"):
            await rolling.roll(tmp_path, said.append)
        assert first.wait(timeout=5) == -15
        assert second.poll() is None, "the next one was left alone"
        second.terminate()
    assert said == [f"app1: takes its leave (pid {first.pid})"]


async def test_a_process_that_ended_by_itself_is_named(tmp_path: Path, healthy_port: int) -> None:
    write_plan(tmp_path, healthy_port)
    with child("true") as gone:
        gone.wait()
    (tmp_path / PIDS / "app1.pid").write_text(str(gone.pid))
    with pytest.raises(rolling.RollError, match="ended by itself meanwhile"):
        await rolling.roll(tmp_path, print)


def test_the_plan_that_a_cluster_writes_is_the_one_that_is_read(tmp_path: Path) -> None:
    plan = cluster_plan(
        state_dir=tmp_path,
        nginx_port=8080,
        replica_ports=(3000, 3001),
        ingestor_ports=(9200,),
        bus_port=6400,
        exchange_port=9100,
        drain_s=7.0,
    )
    plan.write()
    read = rolling.read_plan(tmp_path)
    assert (read.nginx_port, read.drain_s) == (8080, 7.0)
    assert [(part.name, part.port) for part in read.replicas] == [("app1", 3000), ("app2", 3001)]
    assert [(part.name, part.port) for part in read.ingestors] == [("ingestor1", 9200)]
    assert (tmp_path / PIDS).is_dir(), "what the supervisor writes into"
