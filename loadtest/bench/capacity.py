"""How much the generator can take: ready frames from a sender that does nothing else (blast.py)."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from loadtest.bench.frames import handshake, receiver_arguments
from loadtest.bench.processes import LOOPBACK, BenchError, Child, free_port
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
    port = free_port()
    blast = (sys.executable, "-m", "loadtest.bench.blast", str(port), str(CLIENTS), str(frames_per_write))
    script = receiver_arguments(handshake(f"{LOOPBACK}:{port}", []))
    cores = (ground.server_core, ground.other_core)
    with Child("blast", blast, ground.server_core, ground.directory) as sender:
        sender.ask("?")  # it listens once it answers
        argv = (str(ground.receiver), LOOPBACK, str(port), "0", *script)
        with Child("receiver", argv, ground.other_core, ground.directory) as receiver:
            receiver.ask(f"open {CLIENTS} {CLIENTS}")
            children = {"server": sender, "receiver": receiver}
            time.sleep(_SECONDS / 3)
            receiver.ask("take")
            before = read_usage(children, cores)
            time.sleep(_SECONDS)
            seen = receiver.ask("take")
            usage = read_usage(children, cores).since(before)
    return Sample(
        clients=CLIENTS,
        published=0,
        delivered=seen["messages"],
        reads=seen["reads"],
        lost_clients=seen["closed"],
        p50_ms=0,
        p99_ms=0,
        rss_mb=0,
        usage=usage,
    )
