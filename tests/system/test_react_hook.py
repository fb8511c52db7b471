"""The React hook of document 002, as printed apart from the address, mounted, changed and unmounted."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import ROOT, free_port, tickcast, wait_until, whole_lines

HOOK = Path(__file__).parent / "seeds" / "002_hook.ts"
SCRIPT = ROOT / "tests" / "system" / "clients" / "react_hook.mjs"
FIELDS = {"symbol", "price", "volume", "high", "low", "change", "changePercent", "timestamp"}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with tickcast("run", port, tmp_path, {"SIM_SYMBOLS": "8"}):
        yield f"http://localhost:{port}"


def test_document_002s_react_hook_renders_prices_until_it_is_unmounted(url: str, tmp_path: Path) -> None:
    hook, output = tmp_path / "hook.ts", tmp_path / "shown"
    hook.write_text(HOOK.read_text().replace("http://localhost:5021", url))

    def shown() -> list[dict[str, Any]]:
        lines = whole_lines(output)
        return [json.loads(line.removeprefix(b"shown ")) for line in lines if line.startswith(b"shown {")]

    def subscriptions() -> dict[str, int]:
        counts: dict[str, int] = httpx.get(f"{url}/stats").json()["data"]["subscriptions_by_symbol"]
        return counts

    with output.open("wb") as log:
        page = subprocess.Popen(
            ["node", SCRIPT, hook, "BTCUSDT,ETHUSDT"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT
        )
    try:
        wait_until(lambda: len({str(prices.get("ETHUSDT")) for prices in shown()}) >= 4, f"prices in {output}")
        assert subscriptions() == {"BTCUSDT": 1, "ETHUSDT": 1}
        last = shown()[-1]
        assert set(last) == {"BTCUSDT", "ETHUSDT"}
        for symbol, price in last.items():
            assert (set(price), price["symbol"]) == (FIELDS, symbol)
            assert price["low"] <= price["price"] <= price["high"]

        assert page.stdin is not None
        page.stdin.write(b"SOLUSDT\n")
        page.stdin.flush()
        wait_until(lambda: "SOLUSDT" in shown()[-1], f"the other symbol in {output}")
        wait_until(lambda: subscriptions() == {"SOLUSDT": 1}, "the first effect is cleaned up")

        page.stdin.close()
        assert page.wait(timeout=10) == 0, output.read_text()
        wait_until(lambda: subscriptions() == {}, "unmounting unsubscribes")
    finally:
        page.kill()
        page.wait(timeout=5)
