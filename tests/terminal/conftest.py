"""One service for all tests of the terminal."""

from collections.abc import Iterator

import pytest

from tests.server.access.minting import SECRET
from tests.support.processes import Process, free_port, tickcast


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A whole service with a simulated exchange, which lets in whoever shows nothing or something right."""
    settings = {"SIM_SYMBOLS": "8", "AUTH": "optional", "AUTH_JWT_SECRET": SECRET}
    with tickcast("run", free_port(), tmp_path_factory.mktemp("run"), settings) as process:
        yield process


@pytest.fixture(scope="package")
def url(service: Process) -> str:
    """Where it is."""
    return f"http://127.0.0.1:{service.port}"
