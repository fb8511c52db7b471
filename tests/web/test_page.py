"""The page in a real browser, against a real server. Screenshots go to TICKCAST_SCREENSHOTS where that is set."""

import os
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Locator, Page, Route, ViewportSize, expect

from tests.support.processes import Process
from tests.web.conftest import simulated

pytestmark = pytest.mark.browser

DESKTOP = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
TIMEOUT_MS = 15_000
FIGURE = re.compile(r"\d")
# Pixels of the chart that have exactly the colour of a rising or a falling candle.
CANDLE_PIXELS = """chart => {
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (width, height) => copy.getImageData(0, 0, width, height).data;
  const colours = ["--up", "--down"].map((name) => {
    copy.fillStyle = getComputedStyle(chart).getPropertyValue(name).trim();
    copy.fillRect(0, 0, 1, 1);
    return read(1, 1).join();
  });
  let count = 0;
  for (const canvas of chart.querySelectorAll("canvas")) {
    Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
    copy.drawImage(canvas, 0, 0);
    const data = read(canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      if (colours.includes(data.subarray(at, at + 4).join())) count += 1;
    }
  }
  return count;
}"""


def url(server: Process) -> str:
    return f"http://127.0.0.1:{server.port}"


def row(page: Page, symbol: str) -> Locator:
    return page.locator(f"#rows [data-symbol={symbol}]")


def price(page: Page, symbol: str) -> Locator:
    return row(page, symbol).locator("[data-cell=price]")


async def candles_drawn(page: Page) -> bool:
    pixels: int = await page.locator("#chart").evaluate(CANDLE_PIXELS)
    return pixels > 500


async def open_page(browser: Browser, address: str, size: ViewportSize = DESKTOP) -> tuple[Page, list[str]]:
    """A page, and the list that collects its errors."""
    page = await browser.new_page(viewport=size)
    page.set_default_timeout(TIMEOUT_MS)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(address)
    return page, errors


async def save(page: Page, directory: Path, name: str) -> None:
    target = Path(os.environ.get("TICKCAST_SCREENSHOTS", directory))
    await page.screenshot(path=target / f"{name}.png", full_page=page.viewport_size == PHONE)


async def expect_figures(page: Page) -> None:
    """Wait until every row of the watchlist has a price and the chart has candles."""
    for cell in await page.locator("#rows [data-cell=price]").all():
        await expect(cell).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect(page.locator("#chart-note")).to_have_text("", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)


async def test_prices_change_and_candles_are_drawn(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server))

    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect_figures(page)
    first_price = await price(page, "BTCUSDT").inner_text()
    first_close = await page.locator("[data-legend=close]").inner_text()
    await expect(price(page, "BTCUSDT")).not_to_have_text(first_price, timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).not_to_have_text(first_close, timeout=TIMEOUT_MS)
    assert await candles_drawn(page)
    await save(page, tmp_path, "desktop-light")
    assert errors == []


async def test_simulated_data_says_so_and_the_lights_are_on(server: Process, browser: Browser) -> None:
    page, _ = await open_page(browser, url(server))

    await expect(page.locator("[data-mark]")).to_have_text("SIMULATED", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-light=connection]")).to_have_attribute("data-state", "connected")
    await expect(page.locator("[data-light=exchange]")).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-replica]")).not_to_be_empty()


async def test_the_chart_is_empty_until_the_history_can_be_loaded(server: Process, browser: Browser) -> None:
    page, _ = await open_page(browser, "about:blank")

    async def refuse(route: Route) -> None:
        await route.abort()

    await page.route("**/klines/**", refuse)
    await page.goto(url(server))
    await expect(page.locator("#chart-note")).to_contain_text("No history", timeout=TIMEOUT_MS)
    assert not await candles_drawn(page)
    await page.unroute("**/klines/**", refuse)
    await expect(page.locator("#chart-note")).to_have_text("", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).to_have_text(FIGURE)
    assert await candles_drawn(page)


async def test_the_url_keeps_symbol_and_interval(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, url(server))

    await row(page, "ETHUSDT").click()
    await page.get_by_role("button", name="15m").click()
    await expect(page).to_have_url(f"{url(server)}/?symbol=ETHUSDT&interval=15m")
    await page.reload()
    await expect(page.locator("[data-quote=base]")).to_have_text("ETH")
    await expect(page.get_by_role("button", name="15m")).to_have_attribute("aria-pressed", "true")
    await expect(page).to_have_title(re.compile(r"\d ETHUSDT · Tickcast"), timeout=TIMEOUT_MS)
    assert errors == []


async def test_a_symbol_is_added_kept_and_removed(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, url(server))
    await expect(row(page, "BTCUSDT")).to_be_visible()
    known = await (await page.request.get(f"{url(server)}/symbols")).json()
    data = known["data"]
    other = next(s["symbol"] for s in data["markets"]["spot"] if s["symbol"] not in data["default_symbols"])

    await page.get_by_label("Add symbol").fill(other.lower())
    await page.get_by_label("Add symbol").press("Enter")
    await expect(price(page, other)).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await page.reload()
    await expect(price(page, other)).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await row(page, other).hover()
    await page.get_by_label(f"Remove {other}").click()
    await expect(row(page, other)).to_have_count(0)
    await expect(page.locator("#rows [data-selected]")).to_have_count(1)
    assert errors == []


async def test_an_unknown_symbol_is_named_and_changes_nothing(server: Process, browser: Browser) -> None:
    page, _ = await open_page(browser, url(server))
    await expect(row(page, "BTCUSDT")).to_be_visible()
    rows = await page.locator("#rows tr").count()

    await page.get_by_label("Add symbol").fill("NOSUCHCOIN")
    await page.get_by_label("Add symbol").press("Enter")
    await expect(page.get_by_text("Unknown symbol: NOSUCHCOIN")).to_be_visible()
    assert await page.locator("#rows tr").count() == rows


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_has_no_sideways_scroll(
    server: Process, browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    page, errors = await open_page(browser, url(server), PHONE)
    await page.emulate_media(color_scheme=scheme)

    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect_figures(page)
    await save(page, tmp_path, f"phone-{scheme}")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert errors == []


async def test_a_change_of_scheme_reaches_the_chart(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server))
    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect_figures(page)

    await page.emulate_media(color_scheme="dark")
    # The count looks for the colours of the scheme in force.
    await expect(page.locator("body")).to_have_css("background-color", "rgb(13, 14, 18)")
    assert await candles_drawn(page)
    await save(page, tmp_path, "desktop-dark")
    assert errors == []


async def test_values_grow_stale_without_a_server_and_fresh_with_its_return(browser: Browser, tmp_path: Path) -> None:
    with simulated(tmp_path) as server:
        page, _ = await open_page(browser, url(server))
        await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
        await expect_figures(page)

        server.kill()
        await expect(page.locator("[data-light=connection]")).to_have_attribute("data-state", "disconnected")
        stale = row(page, "BTCUSDT").locator("[data-cell=stale]")
        await expect(stale).to_have_text(re.compile(r"stale \d+ s"), timeout=TIMEOUT_MS)
        await expect(row(page, "BTCUSDT")).to_have_attribute("data-stale", "")
        await save(page, tmp_path, "stale")

        server.start()
        await expect(page.locator("[data-light=connection]")).to_have_attribute(
            "data-state", "connected", timeout=TIMEOUT_MS
        )
        await expect(stale).to_have_text("", timeout=TIMEOUT_MS)
        await expect(page.locator("#chart-note")).to_have_text("")
        assert await candles_drawn(page)
        await page.close()  # a server drains before it ends, and would wait for this client
