"""The compiled receiver, a ground to put servers on, and a replica with a feed."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtest.bench.capacity import compile_receiver
from loadtest.bench.processes import BenchError
from loadtest.bench.stage import Ground
from tests.loadtest.feed import Feed
from tests.server.conftest import Served, exchange, served

__all__ = ["exchange", "served"]


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


@pytest.fixture
async def feed(served: Served) -> AsyncIterator[Feed]:
    feed = Feed(served)
    running = asyncio.create_task(feed.run())
    yield feed
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
