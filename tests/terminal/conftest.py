"""One service for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.processes import free_port, tickcast


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A whole service with a simulated exchange."""
    with tickcast("run", port := free_port(), tmp_path_factory.mktemp("run"), {"SIM_SYMBOLS": "8"}):
        yield f"http://127.0.0.1:{port}"
