"""A real Tickcast in one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Process, free_port, tickcast


def simulated(directory: Path) -> Process:
    """Tickcast with a simulated exchange of eight symbols, not started yet."""
    return tickcast("run", free_port(), directory, {"SIM_SYMBOLS": "8"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server that the tests of a module share and leave alone."""
    with simulated(tmp_path_factory.mktemp("server")) as process:
        yield process
