"""`make frames`: what 200 rows that all change cost a browser: time between frames, and time on its main thread."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import CDPSession, async_playwright, expect
from typer import echo

from tests.conftest import ARGUMENTS, CHROMIUM
from tests.support.processes import free_port, tickcast
from tests.web.browsing import FIGURE, TIMEOUT_MS, open_page, url

ROWS: Final = 200
SECONDS: Final = 20
WARM_UP_S: Final = 8
"""In which the first sparklines are fetched."""
_INTERVALS: Final = """async (milliseconds) => {
  const intervals = [];
  let last = await new Promise(requestAnimationFrame);
  const end = last + milliseconds;
  while (last < end) {
    const now = await new Promise(requestAnimationFrame);
    intervals.push(now - last);
    last = now;
  }
  return intervals;
}"""
_DURATIONS: Final = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")


async def _seconds_spent(session: CDPSession) -> dict[str, float]:
    answer: dict[str, Any] = await session.send("Performance.getMetrics")
    return {one["name"]: one["value"] for one in answer["metrics"] if one["name"] in _DURATIONS}


async def measure(address: str) -> None:
    """Open the page with `ROWS` rows and print what its frames cost."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page, errors = await open_page(browser, "about:blank")
        symbols = (await (await page.request.get(f"{address}/symbols")).json())["data"]["markets"]["spot"]
        await page.goto(f"{address}/?watch={','.join(one['symbol'] for one in symbols[:ROWS])}")
        prices = page.locator("#rows [data-cell=price]")
        await expect(prices.filter(has_text=FIGURE)).to_have_count(ROWS, timeout=2 * TIMEOUT_MS)
        await asyncio.sleep(WARM_UP_S)
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        before = await _seconds_spent(session)
        intervals = sorted(await page.evaluate(_INTERVALS, SECONDS * 1000))
        after = await _seconds_spent(session)
        p50, p95, p99 = (intervals[int(len(intervals) * share)] for share in (0.5, 0.95, 0.99))
        echo(f"{ROWS} rows, {len(intervals) / SECONDS:.1f} frames/s over {SECONDS} s")
        echo(f"between frames: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, longest {intervals[-1]:.1f} ms")
        for name in _DURATIONS:
            echo(f"{name.removesuffix('Duration'):>12}: {(after[name] - before[name]) / SECONDS * 1000:6.1f} ms/s")
        echo("\n".join(errors) or "no console error")
        await browser.close()


def main() -> None:
    """Serve `ROWS` simulated symbols and measure a page that watches all of them."""
    with tempfile.TemporaryDirectory() as directory:
        settings = {"SIM_SYMBOLS": str(ROWS)}
        with tickcast("run", free_port(), Path(directory), settings) as server:
            asyncio.run(measure(url(server)))


if __name__ == "__main__":
    main()
