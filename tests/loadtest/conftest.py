"""The compiled receiver, and a ground to put servers on."""

import os
from pathlib import Path

import pytest

from loadtest.bench.capacity import compile_receiver
from loadtest.bench.processes import BenchError
from loadtest.bench.stage import Ground


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compile_receiver(tmp_path_factory.mktemp("receiver"))
    except BenchError as error:
        pytest.skip(str(error))


@pytest.fixture
def ground(tmp_path: Path, receiver: Path) -> Ground:
    cores = sorted(os.sched_getaffinity(0))
    return Ground(tmp_path, cores[0], cores[-1], receiver)
