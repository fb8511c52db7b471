"""Real servers for tests: started on free ports of the loopback, ended by pid."""

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import httpx

from deploy import programs

ROOT = Path(__file__).resolve().parents[2]
_WORKERS: Final = 8
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_PAIRS: Final = range(10_000 + 2 * _WORKER, 20_000, 2 * _WORKERS)
"""Ports below the kernel's range for outgoing connections (ip_local_port_range), each the first of two neighbours.

Every test worker has its own: a server may take its port long after it was named. What tests start chooses its own
from 20,000 on (deploy/readiness.py).
"""
_pairs: Final = itertools.cycle(random.sample(_PAIRS, len(_PAIRS)))
RECORDINGS = ROOT.parent / "shared" / "data" / "binance"


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now, and that no outgoing connection is given."""
    return next(port for port in _pairs if _is_free(port))


def two_free_ports() -> int:
    """The first of two such ports that follow each other."""
    return next(port for port in _pairs if _is_free(port) and _is_free(port + 1))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Return as soon as `condition` holds, and who is asked for it answers; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not _holds(condition):
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {timeout_s} s: {what}")
        time.sleep(0.02)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except httpx.TransportError:
        return False


def accepts(port: int) -> bool:
    """Whether something listens on `port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that somebody writes now: the last one only once it is whole."""
    return path.read_bytes().rpartition(b"\n")[0].splitlines()


def run_to_end(
    command: Sequence[str], env: Mapping[str, str], limit_s: float, patience_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """What `command` says, with these variables besides, and its exit status.

    One that takes longer than `limit_s` fails; it is asked to end (SIGTERM), so that it ends what it has started, and
    killed when that takes longer than `patience_s`.
    """
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said, errors = process.communicate(timeout=limit_s)
        except BaseException:
            process.terminate()
            try:
                process.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, errors)


class Process:
    """One child process; its output goes to a log file that a failing test can show.

    It is ready once `port` accepts connections; with port 0, which listens nowhere, at once.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.port = port
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._child is None:
            raise AssertionError(f"not running: {self.command}")
        return self._child.pid

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and return once the port accepts connections."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(self.command, stdout=log, stderr=log, env=self._env, cwd=ROOT)
        child = self._child
        try:
            wait_until(
                lambda: not self.port or accepts(self.port) or child.poll() is not None,
                f"{self.command} does not listen on {self.port}; its log: {self.log}",
                timeout_s,
            )
        except BaseException:
            self.kill()
            raise
        if child.poll() is not None:
            raise AssertionError(f"{self.command} ended with {child.returncode}:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End the child at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the child politely (SIGTERM), and firmly after 15 s."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=5)


def redis_server(directory: Path, port: int | None = None) -> Process:
    """A Redis that keeps nothing on disk."""
    port = port or free_port()
    options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(directory)]
    return Process(["redis-server", "--port", str(port), *options], port, directory / f"redis-{port}.log")


def nats_server(directory: Path, port: int | None = None, *options: str, jetstream: bool = True) -> Process:
    """A NATS server that keeps nothing beyond its own life; more options as on its command line."""
    port = port or free_port()
    values = ["-js", "-sd", str(directory / f"nats-{port}")] if jetstream else []
    return Process(
        [programs.find("nats-server"), "-a", "127.0.0.1", "-p", str(port), *values, *options],
        port,
        directory / f"nats-{port}.log",
    )


def tickcast(role: str, port: int, directory: Path, env: Mapping[str, str]) -> Process:
    """One of our own processes: `python -m app <role>` with these settings."""
    settings = {"PORT": str(port), "HOST": "127.0.0.1", **env}
    return Process([sys.executable, "-m", "app", role], port, directory / f"{role}-{port}.log", settings)


def redis_cluster_node(directory: Path) -> Process:
    """A Redis that is a node of a cluster of its own until it is told to meet others; a lost slot stops no other."""
    port, bus_port = free_port(), free_port()
    folder = directory / f"node-{port}"
    folder.mkdir()
    options = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": "1500",
        "cluster-require-full-coverage": "no",
        "cluster-port": str(bus_port),
        "save": "",
        "bind": "127.0.0.1",
        "dir": str(folder),
        # A master without a replica whose slots nobody took over comes back as it was.
        "cluster-replica-validity-factor": "0",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Process(["redis-server", "--port", str(port), *words], port, folder / "redis.log")
