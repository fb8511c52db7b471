"""The page in a real browser, against a real server."""

import asyncio
import re
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.async_api import Browser, expect

from tests.support.processes import Process
from tests.web.browsing import (
    FIGURE,
    INK_AT_THE_TOP,
    PHONE,
    TIMEOUT_MS,
    WATERMARK_CONTRAST,
    expect_drawn,
    expect_figures,
    open_page,
    price,
    row,
    save,
    url,
)
from tests.web.conftest import simulated

pytestmark = pytest.mark.browser

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


async def test_prices_change_and_candles_are_drawn(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server))

    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect_figures(page)
    first_price = await price(page, "BTCUSDT").inner_text()
    first_close = await page.locator("[data-legend=close]").inner_text()
    await expect(price(page, "BTCUSDT")).not_to_have_text(first_price, timeout=TIMEOUT_MS)
    await expect(page.locator("[data-legend=close]")).not_to_have_text(first_close, timeout=TIMEOUT_MS)
    await expect_drawn(page)
    await save(page, tmp_path, "desktop-light")
    assert errors == []


async def test_the_page_says_what_it_shows_and_leads_to_the_api_documents(server: Process, browser: Browser) -> None:
    page, _ = await open_page(browser, url(server))

    await expect(page.locator("[data-mark]")).to_have_text("SIMULATED", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-light=connection]")).to_have_attribute("data-state", "connected")
    await expect(page.locator("[data-light=exchange]")).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-replica]")).not_to_be_empty()
    for name in ("openapi.yaml", "asyncapi.yaml"):
        address = await page.get_by_role("link", name=name).get_attribute("href")
        answer = await page.request.get(f"{url(server)}{address}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/yaml")
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        assert await page.locator("#chart").evaluate(WATERMARK_CONTRAST) > 1.3, "the mark behind the candles"


async def test_no_price_on_the_scale_is_cut_by_the_chart_s_edge(server: Process, browser: Browser) -> None:
    page, _ = await open_page(browser, url(server), PHONE)
    await expect_figures(page)
    scale = page.locator("#chart td:last-child canvas").first
    box = await scale.bounding_box()
    assert box is not None
    for _ in range(12):
        # The label of the live price may pass by; what is cut stays.
        async with asyncio.timeout(10):
            while await scale.evaluate(INK_AT_THE_TOP):  # noqa: ASYNC110 # pixels have no event
                await asyncio.sleep(0.1)
        # Stretching the scale moves its prices past the edge.
        await page.mouse.move(box["x"] + 30, box["y"] + 120)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 30, box["y"] + 115)
        await page.mouse.up()


async def test_a_phone_has_no_sideways_scroll(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server), PHONE)

    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect_figures(page)
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
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
    await expect_drawn(page)
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
        await expect_drawn(page)
        await page.close()  # a server drains before it ends, and would wait for this client


async def test_another_interval_leaves_the_quote_as_it_is_also_without_a_server(
    browser: Browser, tmp_path: Path
) -> None:
    with simulated(tmp_path) as server:
        page, _ = await open_page(browser, url(server))
        await expect_figures(page)
        server.kill()
        stale = page.locator("[data-quote=stale]")
        await expect(stale).to_have_text(re.compile(r"stale \d+ s"), timeout=TIMEOUT_MS)
        last = await page.locator("[data-quote=price]").inner_text()
        await page.keyboard.press("3")
        await expect(page.locator("#intervals [aria-pressed=true]")).to_have_text("15m")
        await page.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        assert await page.locator("[data-quote=price]").inner_text() == last
        await expect(stale).to_have_text(re.compile(r"stale \d+ s"))
        await page.close()
