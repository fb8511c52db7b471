"""The supervisor with a real Redis as its only child."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.plan import ROOT
from tests.support.processes import accepts, free_port, wait_until

Supervised = tuple[subprocess.Popen[str], int]


def start_supervisor(state_dir: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.deploy.redis_only", str(state_dir), str(port)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    port = free_port()
    supervisor = start_supervisor(tmp_path, port)
    assert supervisor.stdout is not None
    with supervisor:
        try:
            said: list[str] = []
            while not said or "ready" not in said[-1]:
                line = supervisor.stdout.readline()
                assert line, said
                said.append(line)
            yield supervisor, port
        finally:
            supervisor.terminate()


def redis_of(supervisor: subprocess.Popen[str]) -> psutil.Process:
    children = [child for child in psutil.Process(supervisor.pid).children() if "redis" in child.name()]
    assert len(children) == 1
    return children[0]


def test_a_killed_child_is_started_again(supervised: Supervised) -> None:
    supervisor, port = supervised
    first = redis_of(supervisor)
    first.kill()
    wait_until(lambda: not first.is_running(), "the killed Redis is reaped")
    wait_until(lambda: accepts(port), "another Redis listens")

    assert redis_of(supervisor).pid != first.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(supervised: Supervised, number: signal.Signals) -> None:
    supervisor, port = supervised
    redis = redis_of(supervisor)
    os.kill(supervisor.pid, number)

    said, _ = supervisor.communicate(timeout=10)
    assert supervisor.returncode == 0
    assert said == "", "an orderly end leaves nothing to complain about"
    assert not redis.is_running()
    assert not accepts(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_no_orphan_remains_of_a_supervisor_that_was_killed(supervised: Supervised) -> None:
    supervisor, port = supervised
    redis = redis_of(supervisor)
    supervisor.kill()

    wait_until(lambda: not redis.is_running() or redis.status() == psutil.STATUS_ZOMBIE, "Redis has ended")
    assert not accepts(port)


def test_a_child_that_ends_at_once_is_a_reason_not_to_start_and_its_log_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with start_supervisor(tmp_path, taken.getsockname()[1]) as supervisor:
            said, _ = supervisor.communicate(timeout=30)

    assert supervisor.returncode == 1
    assert "redis ended at once" in said
    assert "Address already in use" in said


def test_what_a_child_says_is_in_its_log(supervised: Supervised, tmp_path: Path) -> None:
    _, port = supervised
    log = tmp_path / "logs" / "redis.log"
    wait_until(lambda: f"port={port}" in log.read_text(), "Redis tells its port")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"REPLICAS": "none"}, "REPLICAS="),
        ({"BUS": "kafka"}, "BUS="),
        ({"EXCHANGE": "kraken"}, "must be simulate, binance or replay:FILE"),
        ({"EXCHANGE": "replay:no/such/tape.gz"}, "EXCHANGE: there is no recording"),
        ({"PORT": "{taken}"}, "port {taken} is taken; PORT=... chooses another"),
        ({"REPLICA_PORT": "{taken}"}, "port {taken} is taken; REPLICA_PORT=... chooses another"),
        ({"PATH": "/nowhere"}, "redis-server is not installed"),
    ],
)
def test_a_cluster_that_cannot_start_says_why_in_a_sentence(settings: dict[str, str], sentence: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        wanted = {name: value.format(taken=taken) for name, value in settings.items()}
        free = {"HOST": "127.0.0.1", "PORT": str(free_port()), "REPLICA_PORT": str(free_port()), "REPLICAS": "1"}
        result = subprocess.run(
            [sys.executable, "-m", "deploy.cluster"],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **free, **wanted},
        )

    assert result.returncode == 1
    assert result.stderr.startswith("Cannot start the cluster: ")
    assert sentence.format(taken=taken) in result.stderr
    assert "Traceback" not in result.stderr
