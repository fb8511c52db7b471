"""CPU time that processes and cores have used so far, read from /proc."""

import time
from collections.abc import Mapping, Sequence

import psutil

from loadtest.bench.processes import Child
from loadtest.bench.samples import Cpu, Usage


def read_usage(children: Mapping[str, Child], cores: Sequence[int]) -> Usage:
    """What each of `children` has used, and how long each of `cores` was busy since the machine started."""
    times = psutil.cpu_times(percpu=True)
    # User time contains guest time already.
    busy = tuple(
        sum(times[core]) - times[core].idle - times[core].iowait - times[core].guest - times[core].guest_nice
        for core in cores
    )
    return Usage(time.monotonic(), {name: _cpu_of(child.pid) for name, child in children.items()}, busy)


def _cpu_of(pid: int) -> Cpu:
    """CPU time of a process and, for Nginx, its workers."""
    process = psutil.Process(pid)
    total = Cpu()
    for member in (process, *process.children()):
        times = member.cpu_times()
        total += Cpu(times.user, times.system)
    return total
