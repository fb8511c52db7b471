"""What the browser tests do with the page. Screenshots go to TICKCAST_SCREENSHOTS where that is set."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from playwright.async_api import Browser, Locator, Page, ViewportSize, expect

from tests.support.processes import Process

DESKTOP = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
TIMEOUT_MS = 15_000
FIGURE = re.compile(r"\d")
LADDER_CHECK = Path(__file__).with_name("ladder-check.js")
"""A script for the page that reads the order book in every frame, and keeps in `ladderCheck` what is wrong with it."""
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

# Pixels in the first two rows of a canvas that have another colour than its corner.
INK_AT_THE_TOP = """canvas => {
  const copy = document.createElement("canvas");
  Object.assign(copy, { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, 2).data.buffer);
  return pixels.filter((pixel) => pixel !== pixels[0]).length;
}"""

# WCAG's contrast ratio of the watermark to what lies under it; 1 = invisible.
WATERMARK_CONTRAST = """chart => {
  const context = document.createElement("canvas").getContext("2d");
  const luminances = ["--surface", "--watermark"].map((name) => {
    context.fillStyle = getComputedStyle(chart).getPropertyValue(name).trim();
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((part) => (part / 255) ** 2.2);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  });
  return Math.max(...luminances) / Math.min(...luminances);
}"""


def url(server: Process) -> str:
    return f"http://127.0.0.1:{server.port}"


def row(page: Page, symbol: str, market: str = "spot") -> Locator:
    return page.locator(f"#rows [data-market={market}][data-symbol={symbol}]")


def price(page: Page, symbol: str) -> Locator:
    return row(page, symbol).locator("[data-cell=price]")


async def expect_drawn(page: Page, *, drawn: bool = True) -> None:
    """Wait until candles are seen, or none: the library paints in the frame after the one that says what it shows."""
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while (await page.locator("#chart").evaluate(CANDLE_PIXELS) > 500) != drawn:  # noqa: ASYNC110 # the page's canvas
            await asyncio.sleep(0.1)


async def open_page(browser: Browser, address: str, size: ViewportSize = DESKTOP) -> tuple[Page, list[str]]:
    """A page, and the list that collects its errors."""
    page = await browser.new_page(viewport=size)
    page.set_default_timeout(TIMEOUT_MS)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(address)
    return page, errors


async def not_watched(page: Page) -> dict[str, Any]:
    """A symbol of `/symbols` that the page does not show by itself."""
    data = (await (await page.request.get(urljoin(page.url, "/symbols"))).json())["data"]
    found: dict[str, Any] = next(s for s in data["markets"]["spot"] if s["symbol"] not in data["default_symbols"])
    return found


async def until(page: Page, condition: str) -> None:
    """Wait until the page's JavaScript says so; Playwright's own way compiles the text, which the policy forbids."""
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while not await page.evaluate(condition):  # noqa: ASYNC110 # what the page computes has no event
            await asyncio.sleep(0.1)


async def save(page: Page, directory: Path, name: str) -> None:
    target = Path(os.environ.get("TICKCAST_SCREENSHOTS", directory))
    await page.screenshot(path=target / f"{name}.png", full_page=page.viewport_size == PHONE)


async def expect_figures(page: Page) -> None:
    """Wait until every row of the watchlist has a price and the chart has candles."""
    for cell in await page.locator("#rows [data-cell=price]").all():
        await expect(cell).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect(page.locator("#chart-note")).to_have_text("", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
