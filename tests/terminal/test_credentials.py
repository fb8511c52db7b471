"""The terminal at a service that asks who is there."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.access.minting import SECRET, mint
from tests.server.conftest import serving
from tests.support.processes import ROOT, Process, free_port, tickcast


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Process]:
    with tickcast("exchange", free_port(), tmp_path, {"SIM_SYMBOLS": "8", "EXCHANGE": "simulate"}) as process:
        yield process


async def run(url: str, *words: str, token: str = "") -> tuple[int | None, str, str]:
    environment = {**os.environ, "TICKCAST_URL": url, **({"TICKCAST_TOKEN": token} if token else {})}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "clients.terminal", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=ROOT,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), 30)
    return child.returncode, out.decode(), err.decode()


async def test_a_token_is_shown_over_both_protocols_and_its_lack_is_a_sentence(exchange: Process) -> None:
    token = mint()
    async with serving(
        exchange, {"Authorization": f"Bearer {token}"}, auth="required", auth_jwt_secret=SECRET
    ) as served:
        history, symbols, *refused = await asyncio.gather(
            run(served.url, "history", "BTCUSDT", "1m", "-n", "2", "--token", token),
            run(served.url, "symbols", token=token),
            run(served.url, "history", "BTCUSDT"),
            run(served.url, "symbols"),
        )
    assert history[0] == symbols[0] == 0
    assert len(history[1].splitlines()) == 3
    assert "BTCUSDT" in symbols[1].split()
    for status, out, sentence in refused:
        assert (status, out) == (1, "")
        assert "(unauthorized)" in sentence
        assert sentence.count("\n") == 1
