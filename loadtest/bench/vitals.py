"""What a process holds now: memory, descriptors, threads, and, where it tells, asyncio tasks."""

from collections.abc import Iterator
from typing import Final

import psutil

from loadtest.bench.drift import DESCRIPTORS, MEMORY, TASKS, THREADS, Measure
from loadtest.bench.processes import BenchError, get_text

_TASKS: Final = "tickcast_tasks "


def vitals(pid: int, metrics_port: int | None = None) -> Iterator[tuple[Measure, float]]:
    """Of a process and its children together (Nginx has workers); tasks where it serves `/metrics`.

    Raises BenchError for a process that is gone.
    """
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        yield MEMORY, sum(process.memory_info().rss for process in family) / 2**20
        yield DESCRIPTORS, sum(process.num_fds() for process in family)
        yield THREADS, sum(process.num_threads() for process in family)
    except psutil.NoSuchProcess as error:
        raise BenchError(f"process {pid} is gone") from error
    if metrics_port is not None:
        yield TASKS, tasks_in(get_text(metrics_port, "/metrics"))


def tasks_in(metrics: str) -> float:
    """How many asyncio tasks a process has, by its metrics. Raises BenchError where they do not tell."""
    for line in metrics.splitlines():
        if line.startswith(_TASKS):
            return float(line.removeprefix(_TASKS))
    raise BenchError("the metrics have no tickcast_tasks")
