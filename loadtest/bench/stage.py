"""One server with everything around it: Redis, its publisher, clients and, where asked for, Nginx."""

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

import psutil

from deploy import nginx
from deploy.readiness import free_port
from loadtest.bench.frames import Parser, handshake, receiver_arguments
from loadtest.bench.metronome import Metronome, Pace
from loadtest.bench.processes import LOOPBACK, BenchError, Child
from loadtest.bench.samples import Connecting, Cpu, Sample, Usage
from loadtest.bench.servers import Contestant
from loadtest.bench.updates import stream_names
from loadtest.bench.usage import read_usage

SETTLE_S: Final = 1.0
"""Between a change of load and the window that is measured."""
IDLE_SETTLE_S: Final = 2.0
IN_FLIGHT: Final = 64
"""How many clients connect at the same time."""
OPEN_S: Final = 10.0
OPEN_EACH_S: Final = 0.01
"""How long clients may take to connect and subscribe: altogether, and each."""
MEASURED: Final = "receiver"
SLOW: Final = "slow receiver"
SLOW_WINDOW_BYTES: Final = 8192
_PUBLISHED_MIN: Final = 0.97


class Ground(NamedTuple):
    """What all stages stand on."""

    directory: Path
    server_core: int
    other_core: int
    receiver: Path
    """The compiled receiver.c."""


class Setup(NamedTuple):
    """What differs from stage to stage."""

    streams: int = 5
    parser: Parser = Parser.JSON
    through_nginx: bool = False
    polling: bool = False


class Stage:
    """A context manager: starts everything, and ends everything by pid."""

    def __init__(self, ground: Ground, contestant: Contestant, setup: Setup) -> None:
        self._ground = ground
        self._contestant = contestant
        self._setup = setup
        self._children: dict[str, Child] = {}
        self._exits = contextlib.ExitStack()
        self._clients = 0
        self._port = 0
        self.server_port = 0
        """Where the server itself listens."""

    @property
    def children(self) -> Mapping[str, Child]:
        """All processes, by name."""
        return self._children

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def connect(self, count: int, receiver: str = MEASURED) -> float:
        """Connect and subscribe `count` clients; how long it took, in s. Raises BenchError if one fails.

        Those of the receiver MEASURED are measured. Those of SLOW share a process that can be frozen.
        """
        if receiver not in self._children:
            self._spawn(receiver, self._receiver_argv(SLOW_WINDOW_BYTES if receiver == SLOW else 0))
        answer = self._children[receiver].ask(f"open {count} {IN_FLIGHT}", OPEN_S + count * OPEN_EACH_S)
        if answer["failed"]:
            raise BenchError(f"{answer['failed']} of {count} clients could not connect and subscribe")
        if receiver == MEASURED:
            self._clients += count
        return float(answer["seconds"])

    def measure(self, pace: Pace, seconds: float) -> Sample:
        """Publish at `pace` and look at a window of `seconds`, once it has settled."""
        metronome = Metronome(self._children["publisher"].tell, pace)
        metronome.start()
        try:
            time.sleep(SETTLE_S)
            return self._window(pace, seconds)
        finally:
            metronome.stop()

    def connect_idle(self, step: int, steps: int) -> Connecting:
        """Connect `steps` times `step` clients to a server that is warm, and let them idle after each step."""
        memory_bytes = {0: self._idle_memory()}
        cpu, receiver_cpu, seconds = Cpu(), Cpu(), 0.0
        for number in range(1, steps + 1):
            before = self._usage()
            seconds += self.connect(step)
            used = self._usage().since(before).processes
            cpu += used["server"]
            receiver_cpu += used.get(MEASURED, Cpu())
            memory_bytes[number * step] = self._idle_memory()
        return Connecting(
            clients=step * steps,
            seconds=seconds,
            cpu=cpu,
            memory_bytes=memory_bytes,
            receiver_share=receiver_cpu.total_s / seconds,
        )

    def memory_mb(self) -> float:
        """The server's resident memory, in MB."""
        memory: float = psutil.Process(self._children["server"].pid).memory_info().rss / 2**20
        return memory

    def freeze_slow(self) -> None:
        """Stop the clients of SLOW where they are: connected, and reading nothing."""
        self._children[SLOW].signal(signal.SIGSTOP)

    def _window(self, pace: Pace, seconds: float) -> Sample:
        receiver, publisher = self._children[MEASURED], self._children["publisher"]
        published = publisher.ask("?")["published"]
        receiver.ask("take")
        before = self._usage()
        time.sleep(seconds)
        seen = receiver.ask("take")
        usage = self._usage().since(before)
        published = publisher.ask("?")["published"] - published
        if published < _PUBLISHED_MIN * pace.rate * seconds:
            raise BenchError(f"the publisher cannot publish {pace.rate:.0f} updates/s")
        return Sample(
            clients=self._clients,
            published=published,
            delivered=seen["messages"],
            reads=seen["reads"],
            lost_clients=seen["closed"],
            p50_ms=seen["p50_us"] / 1000,
            p99_ms=seen["p99_us"] / 1000,
            rss_mb=self.memory_mb(),
            usage=usage,
        )

    def _usage(self) -> Usage:
        return read_usage(self._children, (self._ground.server_core, self._ground.other_core))

    def _idle_memory(self) -> int:
        """The server's proportional set size once it has come to rest, in bytes."""
        server = self._children["server"]
        if self._contestant.collects_on_signal:
            server.signal(signal.SIGUSR2)
        time.sleep(IDLE_SETTLE_S)
        memory: int = psutil.Process(server.pid).memory_full_info().pss
        return memory

    def _start(self) -> None:
        redis_port, port = free_port(), free_port()
        self.server_port = port
        redis = self._spawn("redis", redis_argv(redis_port, self._ground.directory))
        redis.await_port(redis_port)
        url = f"redis://{LOOPBACK}:{redis_port}/0"
        launch = self._contestant.launch(port, url, self._setup.parser)
        server = self._spawn("server", launch.argv, launch.env, core=self._ground.server_core)
        server.await_port(port, self._contestant.ready_path)
        self._port = self._start_nginx(port) if self._setup.through_nginx else port
        publisher = self._spawn("publisher", (*self._contestant.publisher, url, *stream_names(self._setup.streams)))
        publisher.ask("?")  # it is ready once it answers

    def _start_nginx(self, server_port: int) -> int:
        port = free_port()
        values = nginx.local_values(
            listen=f"{LOOPBACK}:{port}",
            replicas=[f"{LOOPBACK}:{server_port}"],
            state_dir=self._ground.directory,
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            as_root=os.geteuid() == 0,
        )
        configuration = self._ground.directory / "nginx.conf"
        configuration.write_text(nginx.render(nginx.TEMPLATE.read_text(), values))
        argv = (nginx.executable(), "-e", "stderr", "-c", str(configuration), "-g", "daemon off;")
        self._spawn("nginx", argv).await_port(port)
        return port

    def _receiver_argv(self, window_bytes: int) -> tuple[str, ...]:
        streams = stream_names(self._setup.streams)
        if self._setup.polling:
            return (sys.executable, "-m", "loadtest.bench.polling", LOOPBACK, str(self._port), *streams)
        script = handshake(f"{LOOPBACK}:{self._port}", streams, self._setup.parser)
        return (str(self._ground.receiver), LOOPBACK, str(self._port), str(window_bytes), *receiver_arguments(script))

    def _spawn(
        self, name: str, argv: tuple[str, ...], env: Mapping[str, str] | None = None, core: int | None = None
    ) -> Child:
        where = self._ground.other_core if core is None else core
        child = self._exits.enter_context(Child(name, argv, where, self._ground.directory, env))
        self._children[name] = child
        return child


def redis_argv(port: int, directory: Path) -> tuple[str, ...]:
    """The command of a Redis that keeps nothing on disk."""
    options = ("--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", str(directory))
    return ("redis-server", "--port", str(port), *options)
