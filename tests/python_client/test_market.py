"""The library at a whole service with a simulated market, and its examples as a user runs them."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from clients.python.tickcast_client import Candle, OrderBook, RefusedError, connect
from tests.python_client.conftest import Line
from tests.server.conftest import until
from tests.support.processes import ROOT

LIBRARY: Final = ROOT / "clients" / "python"
EXAMPLES: Final = sorted((LIBRARY / "examples").glob("*.py"))
LINES: Final = 6


async def test_candles_of_the_past_and_live_ones_are_a_chain_also_across_a_lost_connection(service: str) -> None:
    line = Line(service)
    await line.mend()
    closed: list[Candle] = []

    async def has_gone_on() -> bool:
        (latest,) = await other.history("BTCUSDT", "1s", limit=1)
        return latest.open_time > closed[-1].close_time + 2000

    async with (
        asyncio.timeout(30),
        connect(service) as other,
        connect(line.url) as client,
        contextlib.aclosing(client.candles("btcusdt", "1s", limit=5)) as candles,
    ):
        async for candle in candles:
            if not candle.is_closed:
                continue
            closed.append(candle)
            if len(closed) == 5:
                await line.cut()
                await until(has_gone_on, "candles close meanwhile")
                await line.mend()
            if len(closed) == 9:
                break
        past = await other.history("BTCUSDT", "1s", start_ms=closed[0].open_time, end_ms=closed[-1].open_time)
    await line.cut()
    past, seen = past[:-1], closed[:-1]  # of the last one, history may be a second old
    for before, after in itertools.pairwise(closed):
        assert after.open_time == before.close_time + 1
    assert [(one.open_time, one.close, one.volume) for one in past] == [
        (one.open_time, one.close, one.volume) for one in seen
    ]


async def test_candles_of_an_unknown_symbol_are_refused(service: str) -> None:
    async with connect(service) as client:
        with pytest.raises(RefusedError, match="unknown_symbol"):
            await anext(client.candles("NOSUCH", "1m"))


async def test_a_book_never_crosses_and_is_the_exchange_s(service: str) -> None:
    async with connect(service) as client, asyncio.timeout(20):
        book, changes = OrderBook("spot:ethusdt@book"), 0
        async for event in await client.subscribe(book.stream):
            if book.apply(event) and book.is_known:
                assert book.bids(1)[0].price < book.asks(1)[0].price
                changes += 1
            if changes == 10:
                break
        prices = [level.price for level in book.bids()]
        assert prices == sorted(prices, reverse=True)
        assert len(prices) > 100


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed; uv builds it itself, without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "build", "--offline", "--wheel", "--quiet", "--out-dir", directory, LIBRARY], check=True, timeout=60
    )
    (built,) = directory.glob("tickcast_client-*.whl")
    return built


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run_with_the_packed_library(service: str, wheel: Path, example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example), service]
    env = {**os.environ, "PYTHONPATH": str(wheel)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(LINES)]
        child.kill()
    assert all(lines)
    if example.stem == "trades":
        ids = [json.loads(line)["id"] for line in lines]
        assert ids == list(range(ids[0], ids[0] + LINES))


def test_the_readme_prints_the_examples_as_they_are() -> None:
    printed = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL)
    assert sorted(printed) == sorted(example.read_text() for example in EXAMPLES)
