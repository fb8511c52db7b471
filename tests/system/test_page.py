"""The page through Nginx, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.system.cluster import Cluster
from tests.web.browsing import TIMEOUT_MS, candles_drawn, expect_figures, open_page, price, save


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
    assert await candles_drawn(page)
    await save(page, tmp_path, "screenshot")
    assert errors == []


@pytest.mark.browser
async def test_a_silent_exchange_and_another_replica_are_told(cluster: Cluster, browser: Browser) -> None:
    page, _ = await open_page(browser, cluster.url)
    badge, exchange = page.locator("[data-replica]"), page.locator("[data-light=exchange]")
    await expect(badge).to_have_text(re.compile("^app[12]$"), timeout=TIMEOUT_MS)
    await expect(exchange).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    cluster.control("silence", {})
    await expect(exchange).to_have_attribute("data-state", "stale", timeout=2 * TIMEOUT_MS)
    await expect(exchange).to_contain_text(re.compile(r"stale, silent\s*\d+ s"))
    cluster.control("reset", {})
    await expect(exchange).to_have_attribute("data-state", "connected", timeout=2 * TIMEOUT_MS)

    first = await badge.inner_text()
    cluster.processes[first].kill()
    await expect(badge).not_to_have_text(first, timeout=TIMEOUT_MS)
    second = await badge.inner_text()
    await expect(page.locator("#notice")).to_have_text(f"Moved from {first} to {second}")
    await expect(page.locator("[data-light=connection]")).to_have_attribute("data-state", "connected")
    cluster.processes[first].start()
    await page.close()
