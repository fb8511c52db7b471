"""Replicas that ask for credentials."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from server.access import expiry as expiry_module
from server.access.api_keys import make_key
from tests.server.access.minting import SECRET, bearer, mint
from tests.server.conftest import Served, serving
from tests.support.processes import Process

DESK = make_key("desk")
ETHER = 'claims = {streams = ["spot:eth*", "futures:ethusdt@markPrice*"]}\n'
GUARDED = make_key("guarded")


class Guarded(NamedTuple):
    """A replica with `AUTH=required`, and its file of API keys: `DESK` for everything, `GUARDED` for `ETHER`."""

    served: Served
    keys_file: Path

    @property
    def url(self) -> str:
        return self.served.url


def write_keys(path: Path) -> None:
    path.write_text(DESK.lines + GUARDED.lines + ETHER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(exchange: Process, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One for all tests of a module that run in the module's loop."""
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    write_keys(keys)
    settings = {"auth": "required", "auth_jwt_secret": SECRET, "api_keys_file": keys}
    async with serving(exchange, bearer(mint()), **settings) as served:
        yield Guarded(served, keys)


class Clock:
    """The wall clock by which grants end, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s

    def end_tokens(self) -> None:
        """Let the tokens end that are good for an hour."""
        self.ahead_s = 3700.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the test's own, looked at often."""
    clock = Clock()
    monkeypatch.setattr(expiry_module, "STEP_S", 0.05)
    monkeypatch.setattr(expiry_module, "time", clock)
    return clock
