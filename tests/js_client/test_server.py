"""The library, its examples, its package and its React hook against one server in one process."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.processes import ROOT, free_port, tickcast, wait_until, whole_lines

HERE: Final = Path(__file__).parent
PACKAGE: Final = ROOT / "clients" / "js"
FIELDS: Final = {"symbol", "price", "volume", "high", "low", "change", "changePercent", "timestamp"}
SECRET: Final = "a secret of at least 32 bytes for HS256"  # noqa: S105 # signs tokens of this test alone
PRINTED: Final = {
    "trades.mjs": r"(?:(?:BTC|ETH)USDT [\d.]+ x [\d.]+ \(trade \d+\)\n){10}",
    "candles.mjs": r"100 candles up to [\d.]+\n(?:[\d:.TZ-]+ [\d.]+(?: closed)?\n|100 candles up to [\d.]+\n){2,}",
    "order-book.mjs": r"(?:bids(?: [\d.]+,[\d.]+){3} asks(?: [\d.]+,[\d.]+){3}\n){2}",
    "replay.mjs": r"(?:[\d:.TZ-]+ [\d.]+ x [\d.]+\n)*\d+ messages, finished\n",
}
BTC, ETH = "spot:btcusdt@trade", "spot:ethusdt@trade"
COUNTS: Final = {"candles.mjs": "2", "order-book.mjs": "2"}
"""Where as many as an example shows by itself would take long."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("run")
    port = free_port()
    settings = {"SIM_SYMBOLS": "8", "SIM_TRADES_PER_SECOND": "25", "RECORD": str(directory / "recordings")}
    with tickcast("run", port, directory, settings):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/health/ready").status_code == 200, "the replica is ready")
        yield url


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm pack` makes it, installed beside its one dependency."""
    directory = tmp_path_factory.mktemp("packed")
    package = directory / "node_modules" / "tickcast-client"
    package.mkdir(parents=True)
    subprocess.run(["npm", "pack", "--pack-destination", directory], cwd=PACKAGE, capture_output=True, check=True)
    (archive,) = directory.glob("*.tgz")
    subprocess.run(["tar", "-xzf", archive, "-C", package, "--strip-components=1"], check=True)
    (package.parent / "socket.io-client").symlink_to((ROOT / "node_modules" / "socket.io-client").resolve())
    return package


def printed(*command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What a Node script writes until it ends by itself."""
    run = subprocess.run(
        ["node", *command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    return run.stdout


def test_everything_that_the_library_promises_holds_at_a_server(url: str) -> None:
    printed("--test", "--test-reporter=tap", str(HERE / "server.test.mjs"), env={"TICKCAST_URL": url})


@pytest.mark.parametrize("example", sorted(PRINTED))
def test_the_examples_print_what_they_say(url: str, packed: Path, example: str) -> None:
    arguments = [url, COUNTS[example]] if example in COUNTS else [url]
    if example == "replay.mjs":
        wait_until(lambda: bool(recordings(url)), "something is recorded")
        arguments = [recordings(url)[0], url]

    assert re.fullmatch(PRINTED[example], printed(str(packed / "examples" / example), *arguments, cwd=packed))


def recordings(url: str) -> list[str]:
    return [recording["id"] for recording in httpx.get(f"{url}/replay").json()["data"]["recordings"]]


def subscriptions(url: str) -> int:
    return int(httpx.get(f"{url}/stats").json()["data"]["total_subscriptions"])


def test_every_example_is_run_or_compiled() -> None:
    assert {path.name for path in (PACKAGE / "examples").iterdir()} == {*PRINTED, "typed.ts"}


def test_a_refused_client_says_so_and_ends_and_tokens_are_replaced_by_later_and_wider_ones(tmp_path: Path) -> None:
    port = free_port()
    settings = {"SIM_SYMBOLS": "2", "AUTH": "required", "AUTH_JWT_SECRET": SECRET}
    with tickcast("run", port, tmp_path, settings):
        said = printed(str(HERE / "scripts" / "credentials.mjs"), f"http://127.0.0.1:{port}", SECRET)

    asked = "asked unauthorized first unauthorized,unauthorized,token_expired,unauthorized true closed"
    narrowed = f"narrowed {ETH} forbidden {BTC} {BTC},{ETH}"
    assert said.splitlines() == ["refused unauthorized closed unauthorized", "renewed 2", narrowed, asked]


@pytest.mark.parametrize("whose", ["own", "provided"])
def test_a_component_of_document_002_renders_prices_until_it_is_unmounted(url: str, tmp_path: Path, whose: str) -> None:
    output = tmp_path / "shown"

    def shown() -> list[dict[str, Any]]:
        lines = whole_lines(output)
        return [json.loads(line.removeprefix(b"shown ")) for line in lines if line.startswith(b"shown {")]

    with output.open("wb") as log:
        page = subprocess.Popen(
            ["node", HERE / "scripts" / "react_page.mjs", url, whose, "BTCUSDT,ETHUSDT"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        wait_until(lambda: len({str(prices.get("ETHUSDT")) for prices in shown()}) >= 3, f"prices in {output}", 60)
        last = shown()[-1]
        assert set(last) == {"BTCUSDT", "ETHUSDT"}
        for symbol, price in last.items():
            assert (set(price), price["symbol"]) == (FIELDS, symbol)
            assert price["low"] <= price["price"] <= price["high"]
        assert page.stdin is not None
        page.stdin.write(b"SOLUSDT\n")
        page.stdin.flush()
        wait_until(lambda: set(shown()[-1]) == {"SOLUSDT"}, f"the other symbol alone in {output}")
        page.stdin.close()
        assert page.wait(timeout=30) == 0, output.read_text()
        wait_until(lambda: subscriptions(url) == 0, "unmounting unsubscribes")
    finally:
        page.kill()
        page.wait(timeout=5)
