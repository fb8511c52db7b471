"""The page through Nginx, in a real browser."""

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
    await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    await expect(page.locator("#trades .tape-row").first).to_be_visible()
    await save(page, tmp_path, "screenshot")
    assert errors == []
