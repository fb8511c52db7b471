"""The bar of the page: lights, latency, the replica's badge."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from market.announcements import FEED_TOPIC, FeedStatus, Source, encode
from market.figures import FeedFigures, HopFigures
from tests.server.conftest import Served, exchange, served
from tests.web.accessibility import violations
from tests.web.browsing import PHONE, TIMEOUT_MS, open_page, save

__all__ = ["exchange", "served"]
pytestmark = pytest.mark.browser
HOUR_AHEAD = "const now = Date.now; Date.now = () => now() + 3_600_000;"
EXCHANGE_MS = 30
DRAINS = {"drain_seconds": 2.0}


@contextlib.asynccontextmanager
async def repeated(work: Callable[[], object]) -> AsyncIterator[None]:
    """`work` (plain or async) ten times a second, until the end of the block."""

    async def repeat() -> None:
        while True:
            done = work()
            if asyncio.iscoroutine(done):
                await done
            await asyncio.sleep(0.1)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def tick(served: Served) -> None:
    """A ticker that happened EXCHANGE_MS before it was received."""
    at = time.time_ns() // 1_000_000 - EXCHANGE_MS
    ticker = (
        b'{"e":"24hrTicker","E":%d,"s":"BTCUSDT","p":"1.00","P":"1.0","c":"100.00","h":"101","l":"99","q":"5"}' % at
    )
    await served.publish("spot:btcusdt@ticker", ticker)


async def feed(served: Served, last_message_ms: int, *, connected: bool = True) -> None:
    """What an ingestor says."""
    figures = FeedFigures(phase="live", publish=HopFigures(2_000, 5_000, 10))
    status = FeedStatus("one", Source.SIMULATED, connected, 3, last_message_ms, figures=figures)
    await served.publisher.announce(FEED_TOPIC, encode(status))


async def test_latency_is_split_into_parts_although_the_clock_is_an_hour_off(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, "about:blank")
    await page.add_init_script(HOUR_AHEAD)
    await page.goto(served.url)

    async def speak() -> None:
        await tick(served)
        await feed(served, time.time_ns() // 1_000_000)

    async with repeated(speak):
        await expect(page.locator("[data-latency=figure]")).to_have_text(
            re.compile(r"^\d+ ms|^\d\.\d\d s"), timeout=TIMEOUT_MS
        )
        await page.locator("#latency summary").click()
        await expect(page.locator("[data-part=exchange] [data-p50]")).to_have_text(re.compile("^(29|30|31) ms$"))
        await expect(page.locator("[data-part=ingest] [data-p50]")).to_have_text("2.0 ms")
        await expect(page.locator("[data-part=ingest] [data-p95]")).to_have_text("5.0 ms")
        for part in ("bus", "browser", "total"):
            for percentile in ("p50", "p95"):
                await expect(page.locator(f"[data-part={part}] [data-{percentile}]")).to_have_text(
                    re.compile(r"^\W?\d.* m?s$")
                )
        await expect(page.locator("[data-latency=clock]")).to_have_text(
            re.compile(r"^Your clock is 3(600|599)\.\d+ s ahead")
        )
        widths = await page.locator(".shares span").evaluate_all("spans => spans.map((span) => span.offsetWidth)")
        assert len(widths) == 4
        assert widths[0] > 0
        assert await violations(page, "#status") == []
        await save(page, tmp_path, "latency")
        await page.keyboard.press("Escape")
        await expect(page.locator(".latency-panel")).to_be_hidden()
    assert errors == []
    await page.close()


@pytest.mark.parametrize("served", [DRAINS], indirect=True)
async def test_the_lights_tell_a_silent_exchange_a_lost_feed_and_a_replica_that_ends(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    page, _ = await open_page(browser, served.url, PHONE)
    light, words = page.locator("[data-light=exchange]"), page.locator("[data-light=exchange] [data-words]")
    long_ago = time.time_ns() // 1_000_000 - 14_000
    async with repeated(lambda: feed(served, long_ago)):
        await expect(light).to_have_attribute("data-state", "stale", timeout=TIMEOUT_MS)
        await expect(words).to_have_text("stale, silent")
        await expect(light.locator("[data-age]")).to_have_text(re.compile(r"^\d+ s$"))
        await expect(words).to_be_visible()
        await expect(page.locator("[data-replica]")).to_be_visible()
        await expect(page.locator("[data-replica]")).to_have_text("r1")
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        await save(page, tmp_path, "silent")
    async with repeated(lambda: feed(served, time.time_ns() // 1_000_000)):
        await expect(light).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    async with repeated(lambda: feed(served, long_ago, connected=False)):
        await expect(words).to_have_text("down", timeout=TIMEOUT_MS)
    drain = asyncio.create_task(served.replica.drain())
    await expect(page.locator("#notice")).to_have_text(
        re.compile(r"r1 is being replaced: we move to another one in \d+ s")
    )
    await page.close()
    await drain


async def test_a_lost_server_is_told_with_its_age(served: Served, browser: Browser) -> None:
    page, _ = await open_page(browser, served.url)
    light = page.locator("[data-light=connection]")
    await expect(light).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    await page.context.set_offline(True)
    await served.replica.close()
    await expect(light.locator("[data-words]")).to_have_text("lost, retrying", timeout=TIMEOUT_MS)
    await expect(light.locator("[data-age]")).to_have_text(re.compile(r"^[1-9]\d* s$"), timeout=TIMEOUT_MS)
    await expect(page.locator("[data-light=exchange] [data-words]")).to_have_text("unknown")
    await page.close()
