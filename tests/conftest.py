"""Fixtures that several packages' tests share."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, async_playwright

from deploy.secure import Secrets
from tests.support.processes import RECORDINGS, Process, nats_server, redis_server

# Examples come slowly on a busy machine; that says nothing about what is tested.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

_SLOW = ["chaos", "system", "web", "clients", "js_client", "docs", "deploy"]
"""Folders whose tests take longest, in this order."""

# Every process of a test ends at once when it is told to; what tests a drain says so.
os.environ["DRAIN_SECONDS"] = "0"

# A job in the background of a shell ignores Ctrl-C, and so would everything that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Process]:
    """A real Redis of the test's own; its URL is `redis://127.0.0.1:<port>/0`."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Process]:
    """A real NATS server with JetStream, of the test's own; its URL is `nats://127.0.0.1:<port>`."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """What deploy/make-secrets.sh makes."""
    made = Secrets(tmp_path_factory.mktemp("secrets"))
    made.make()
    return made


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded Binance messages; tests that need it are skipped where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}: this test replays real Binance messages")
    return RECORDINGS


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    return CHROMIUM


@pytest.fixture
async def browser(chromium_path: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole clusters and browsers: what takes longest must not be left for one worker at the end."""
    items.sort(key=lambda item: _SLOW.index(folder) if (folder := item.path.parent.name) in _SLOW else len(_SLOW))
