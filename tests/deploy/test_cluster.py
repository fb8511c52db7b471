"""`make cluster` as a person starts it: all real processes, on ports of the test's own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus

import httpx
import psutil

from deploy.plan import ROOT
from tests.support.processes import accepts, free_port, two_free_ports, wait_until


@contextmanager
def cluster(port: int, replica_port: int) -> Iterator[subprocess.Popen[str]]:
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "REPLICA_PORT": str(replica_port), "SIM_SYMBOLS": "5"}
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.cluster"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **settings},
        start_new_session=True,  # a process group of its own, as a shell gives its jobs
    ) as supervisor:
        try:
            yield supervisor
        finally:
            supervisor.terminate()


def read_until_ready(supervisor: subprocess.Popen[str]) -> str:
    assert supervisor.stdout is not None
    said = ""
    while "Tickcast is ready" not in said:
        line = supervisor.stdout.readline()
        assert line, said
        said += line
    return said


def test_a_cluster_says_what_runs_where_survives_a_killed_replica_and_ends_without_a_trace() -> None:
    port, replica_port = free_port(), two_free_ports()
    health = f"http://127.0.0.1:{port}/health"
    with cluster(port, replica_port) as supervisor:
        said = read_until_ready(supervisor)
        table = {
            name: (int(pid), where) for name, pid, where in re.findall(r"^(\w+) +(\d+) +(\S+)", said, re.MULTILINE)
        }
        assert table.keys() == {"redis", "exchange", "ingestor1", "ingestor2", "app1", "app2", "nginx"}
        assert table["nginx"][1] == f":{port}"
        assert table["app2"][1] == f":{replica_port + 1}"
        assert f"http://localhost:{port}" in said

        processes = [psutil.Process(pid) for pid, _ in table.values()]
        for name in ("app1", "app2"):
            os.kill(table[name][0], signal.SIGKILL)
            assert httpx.get(health).status_code == HTTPStatus.OK
            wait_until(partial(accepts, int(table[name][1].removeprefix(":"))), f"{name} is back")

        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(timeout=20) == 0
        assert not [process for process in processes if process.is_running()]
        assert not accepts(port)
