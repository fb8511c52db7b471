"""How much the generator can take, and what bare system calls cost: a sender that does nothing else (blast.py)."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.readiness import free_port
from loadtest.bench.frames import handshake, receiver_arguments
from loadtest.bench.metronome import Metronome, Pace
from loadtest.bench.processes import LOOPBACK, BenchError, Child
from loadtest.bench.samples import Sample
from loadtest.bench.stage import Ground
from loadtest.bench.usage import read_usage

CLIENTS: Final = 200
FRAMES_PER_WRITE: Final = (1, 20)
_SECONDS: Final = 1.5
_SOURCE: Final = Path(__file__).with_name("receiver.c")


def compile_receiver(directory: Path) -> Path:
    """The receiver, compiled into `directory`. Raises BenchError where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("the load generator is compiled, and there is no C compiler; on Debian: apt-get install gcc")
    target = directory / "receiver"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(target), str(_SOURCE)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # our own source
    if outcome.returncode:
        raise BenchError(f"receiver.c does not compile: {outcome.stderr}")
    return target


def measure_capacity(ground: Ground, frames_per_write: int) -> Sample:
    """What the receiver takes from a blast of so many frames a write; the sample's `server` is the sender."""
    with _sender(ground, frames_per_write) as children:
        return _window(ground, children, _SECONDS)


def measure_floor(ground: Ground, rate: float) -> Sample:
    """What one `send` for each client and update costs, and nothing else, at `rate` updates a second, one by one."""
    with _sender(ground, 0) as children:
        metronome = Metronome(children["server"].tell, Pace(rate))
        metronome.start()
        try:
            return _window(ground, children, 2 * _SECONDS)
        finally:
            metronome.stop()


@contextmanager
def _sender(ground: Ground, frames_per_write: int) -> Iterator[dict[str, Child]]:
    """Sender and receiver, connected."""
    port = free_port()
    blast = (sys.executable, "-m", "loadtest.bench.blast", str(port), str(CLIENTS), str(frames_per_write))
    script = receiver_arguments(handshake(f"{LOOPBACK}:{port}", []))
    with Child("blast", blast, ground.server_core, ground.directory) as sender:
        sender.ask("?")  # it listens once it answers
        argv = (str(ground.receiver), LOOPBACK, str(port), "0", *script)
        with Child("receiver", argv, ground.other_core, ground.directory) as receiver:
            receiver.ask(f"open {CLIENTS} {CLIENTS}")
            yield {"server": sender, "receiver": receiver}


def _window(ground: Ground, children: dict[str, Child], seconds: float) -> Sample:
    receiver, cores = children["receiver"], (ground.server_core, ground.other_core)
    time.sleep(_SECONDS / 3)
    receiver.ask("take")
    before = read_usage(children, cores)
    time.sleep(seconds)
    seen = receiver.ask("take")
    usage = read_usage(children, cores).since(before)
    return Sample(
        clients=CLIENTS,
        published=0,
        delivered=seen["messages"],
        reads=seen["reads"],
        lost_clients=seen["closed"],
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        rss_mb=0,
        usage=usage,
    )
