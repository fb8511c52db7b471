"""What the browser tests read from the chart: the table of the candles in view, and pixels of exactly a colour."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from playwright.async_api import Page, expect

from tests.support.processes import Process
from tests.web.browsing import FIGURE, TIMEOUT_MS, url

Candle = tuple[str, str, str, str]
"""Open, high, low, close as numbers are written in JSON."""

_ROWS = """() => [...document.querySelectorAll("[data-chart=table] tbody tr")].map((row) => [
  Date.parse(row.querySelector("time").dateTime),
  ...[...row.querySelectorAll("td")].slice(0, 4).map((cell) => cell.textContent.replaceAll(",", "")),
])"""

# Pixels of the chart that have exactly a colour of the page.
_PIXELS = """(chart, name) => {
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (width, height) => new Uint32Array(copy.getImageData(0, 0, width, height).data.buffer);
  copy.fillStyle = getComputedStyle(chart).getPropertyValue(name).trim();
  copy.fillRect(0, 0, 1, 1);
  const [colour] = read(1, 1);
  let count = 0;
  for (const canvas of chart.querySelectorAll("canvas")) {
    Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
    copy.drawImage(canvas, 0, 0);
    for (const pixel of read(canvas.width, canvas.height)) if (pixel === colour) count += 1;
  }
  return count;
}"""


def chart_url(server: Process | str, symbol: str, interval: str, market: str = "spot") -> str:
    """The page's address with that chart."""
    base = server if isinstance(server, str) else url(server)
    return f"{base}/?market={market}&symbol={symbol}&interval={interval}"


async def expect_candles(page: Page) -> None:
    """Wait until the chart has candles."""
    await expect(page.locator("#chart-note")).to_have_text("", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)


async def candles_in_view(page: Page) -> dict[int, Candle]:
    """The table of the candles in view, by open time in ms, oldest first; a time that comes twice is an error."""
    button = page.get_by_role("button", name="Table")
    if await button.get_attribute("aria-pressed") == "false":
        await button.click()
    await expect(page.locator("[data-chart=table] tbody tr")).not_to_have_count(0)
    rows: list[Any] = await page.evaluate(_ROWS)
    times = [row[0] for row in rows]
    assert times == sorted(set(times), reverse=True)
    return {open_ms: (o, h, lo, c) for open_ms, o, h, lo, c in reversed(rows)}


async def pixels(page: Page, name: str) -> int:
    """How many pixels of the chart have exactly the colour of the custom property `name`."""
    count: int = await page.locator("#chart").evaluate(_PIXELS, name)
    return count


async def expect_pixels(page: Page, name: str, is_enough: Callable[[int], bool]) -> None:
    """Wait until so many pixels of the chart have the colour of the custom property `name`."""
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while not is_enough(await pixels(page, name)):  # noqa: ASYNC110 # pixels have no event
            await asyncio.sleep(0.1)


async def candles_once(page: Page, is_reached: Callable[[dict[int, Candle]], bool]) -> dict[int, Candle]:
    """The candles in view, once they are as they should be."""
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while not is_reached(shown := await candles_in_view(page)):  # noqa: ASYNC110 # a table has no event
            await asyncio.sleep(0.1)
    return shown


def steps(candles: dict[int, Candle]) -> set[int]:
    """The distances between neighbours, ms."""
    return {later - earlier for earlier, later in pairwise(candles)}


def utc(open_ms: int) -> datetime:
    """When a candle opens."""
    return datetime.fromtimestamp(open_ms / 1000, UTC)
