"""What every measurement stands on: two cores, the compiled receiver, enough open files."""

import os
import resource
import shutil
from pathlib import Path
from typing import Final

from loadtest.bench.capacity import compile_receiver
from loadtest.bench.processes import BenchError
from loadtest.bench.stage import Ground

_CORES: Final = 2


def prepare_ground(directory: Path) -> Ground:
    """Two cores, the compiled receiver in `directory`, and enough open files. Raises BenchError."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _CORES:
        raise BenchError("it takes two cores: one for the server, one for everything else")
    for program in ("redis-server", "node", "taskset"):
        if shutil.which(program) is None:
            raise BenchError(f"{program} is not installed; make setup installs what is missing")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {cores[1]})
    return Ground(directory, cores[0], cores[1], compile_receiver(directory))
