"""The page through Nginx, in a real browser."""

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.system.cluster import Cluster
from tests.web.browsing import TIMEOUT_MS, expect_drawn, expect_figures, open_page, price, save
from tests.web.charting import (
    Candle,
    candles_in_view,
    candles_once,
    chart_url,
    expect_candles,
    expect_pixels,
    pixels,
    steps,
)

HALF_DAY_MS = 12 * 60 * 60 * 1000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), env={"SIM_SYMBOLS": "8"}) as running:
        yield running


@pytest.mark.browser
async def test_the_page_shows_changing_prices_and_a_candle_chart_through_nginx(
    cluster: Cluster, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, cluster.url)
    await expect_figures(page)
    first = await price(page, "BTCUSDT").inner_text()
    await expect(price(page, "BTCUSDT")).not_to_have_text(first, timeout=TIMEOUT_MS)
    await expect(page.locator("[data-mark]")).to_have_text("SIMULATED")
    await expect(page.locator("[data-replica]")).to_contain_text("app")
    await expect_drawn(page)
    await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    await expect(page.locator("#trades .tape-row").first).to_be_visible()
    await save(page, tmp_path, "screenshot")
    assert errors == []


async def closed_candles(page: Page, cluster: Cluster, until_ms: int) -> tuple[dict[int, Candle], dict[int, Any]]:
    """What the page shows and REST answers of the seconds that both have, once they go on to `until_ms`."""
    shown = await candles_once(page, lambda candles: max(candles) > until_ms)
    answer = await page.request.get(f"{cluster.url}/klines/BTCUSDT?interval=1s&limit=1000&startTime={min(shown)}")
    rows = (await answer.json())["data"]["klines"]
    last = max(shown)
    return {open_ms: bar for open_ms, bar in shown.items() if open_ms < last}, {
        row[0]: row[1:5] for row in rows if row[0] < last
    }


@pytest.mark.browser
async def test_a_chart_whose_replica_dies_is_complete_afterwards_and_says_so(
    cluster: Cluster, browser: Browser, tmp_path: Path
) -> None:
    page, _ = await open_page(browser, chart_url(cluster.url, "BTCUSDT", "1s"))
    await expect_candles(page)
    badge = page.locator("[data-replica]")
    await expect(badge).to_contain_text("app")
    replica = await badge.inner_text()
    cluster.processes[replica].kill()
    await expect(page.locator("#notice")).to_have_text(re.compile(r"^Recovered, \d+ s$"), timeout=TIMEOUT_MS)
    await save(page, tmp_path, "chart-recovered")
    await expect(badge).to_have_text(re.compile(rf"^(?!{replica}$)app"))

    shown, rows = await closed_candles(page, cluster, time.time_ns() // 1_000_000 + 3000)
    assert steps(shown) == {1000}
    assert shown.keys() == rows.keys()
    for open_ms, bar in shown.items():
        assert tuple(map(Decimal, bar)) == tuple(map(Decimal, rows[open_ms])), open_ms

    cluster.processes[replica].start()
    await page.reload()
    await expect(page.get_by_role("button", name="1s intervals")).to_be_visible()
    await expect_candles(page)
    await page.goto("about:blank")
    await page.go_back()
    await expect_candles(page)
    await expect_drawn(page)
    await page.close()


@pytest.mark.browser
async def test_a_silent_exchange_greys_price_and_chart_until_it_speaks_again(
    cluster: Cluster, browser: Browser, tmp_path: Path
) -> None:
    page, _ = await open_page(browser, chart_url(cluster.url, "ETHUSDT", "1m"))
    await expect_candles(page)
    await expect_drawn(page)
    fresh = await pixels(page, "--muted")
    cluster.control("silence", {})
    # Or the ingestors would poll what does not come.
    cluster.control("refuse", {"door": "rest", "status": 429, "retry_after": 1})
    stale = page.locator("[data-quote=stale]")
    await expect(stale).to_have_text(re.compile(r"^stale \d+ s$"), timeout=TIMEOUT_MS)
    # The label of the last price is filled with the colour of its line.
    await expect_pixels(page, "--muted", lambda count: count > fresh + 500)
    await save(page, tmp_path, "chart-stale")
    cluster.control("reset", {})
    await expect(stale).to_have_text("", timeout=TIMEOUT_MS)
    await expect_pixels(page, "--muted", lambda count: count < fresh + 500)
    await page.close()


@pytest.mark.browser
async def test_a_chart_without_its_past_says_why_until_it_comes(cluster: Cluster, browser: Browser) -> None:
    page, _ = await open_page(browser, cluster.url)
    await expect_candles(page)
    refusal = {"door": "rest", "status": 429, "retry_after": 1}
    cluster.control("refuse", refusal)
    await page.get_by_role("button", name="More intervals").click()
    await page.get_by_role("option", name="12 hours").click()
    note = page.locator("#chart-note")
    await expect(note).to_have_text(re.compile(r"^No history: .* Trying again…$"), timeout=TIMEOUT_MS)
    await expect_drawn(page, drawn=False)
    cluster.control("reset", {})
    await expect_candles(page)
    await expect_drawn(page)

    first = max(await candles_in_view(page)) - 499 * HALF_DAY_MS
    cluster.control("refuse", refusal)
    chart = page.locator("#chart")
    await chart.press("Home")
    older = page.locator("[data-chart=older]")
    await expect(older).to_have_text(re.compile(r"^Older candles: .* Trying again…$"), timeout=TIMEOUT_MS)
    await chart.press("ArrowLeft")
    cluster.control("reset", {})
    shown = await candles_once(page, lambda candles: min(candles) < first)
    assert steps(shown) == {HALF_DAY_MS}
    await expect(older).to_be_hidden(timeout=TIMEOUT_MS)
    await page.close()
