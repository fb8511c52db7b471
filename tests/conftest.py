"""Fixtures that several packages' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RECORDINGS, Process, redis_server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Process]:
    """A real Redis of the test's own; its URL is `redis://127.0.0.1:<port>/0`."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded Binance messages; tests that need it are skipped where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}: this test replays real Binance messages")
    return RECORDINGS
