"""The candle chart in a real browser, against a real server."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.processes import Process
from tests.web.browsing import PHONE, TIMEOUT_MS, expect_drawn, open_page, save
from tests.web.charting import (
    candles_in_view,
    candles_once,
    chart_url,
    expect_candles,
    expect_pixels,
    pixels,
    steps,
    utc,
)

pytestmark = pytest.mark.browser
MINUTE_MS = 60_000
CLOSE = "[data-legend=close]"
FUTURES_INTERVALS = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]


async def press(page: Page, *keys: str) -> None:
    await page.locator("#chart").focus()
    for key in keys:
        await page.keyboard.press(key)


def month_number(open_ms: int) -> int:
    """Months since the year 0."""
    return utc(open_ms).year * 12 + utc(open_ms).month


def menu(page: Page) -> Locator:
    return page.get_by_role("listbox", name="All intervals")


async def test_scrolling_back_loads_older_candles_each_interval_once_and_the_latest_are_one_click_away(
    server: Process, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, chart_url(server, "BTCUSDT", "1m"))
    await expect_candles(page)
    await expect_drawn(page)
    await save(page, tmp_path, "chart-light")
    latest = await candles_in_view(page)
    assert steps(latest) == {MINUTE_MS}
    await press(page, "Home")
    await expect(page.get_by_role("button", name="Latest")).to_be_visible(timeout=TIMEOUT_MS)
    # The first 500 are drawn; the ones before them come while they are in view.
    start = max(latest) - 499 * MINUTE_MS
    await candles_once(page, lambda shown: min(shown) <= start + MINUTE_MS)
    await press(page, *["ArrowLeft"] * 5)
    seam = await candles_once(page, lambda shown: min(shown) < start - 10 * MINUTE_MS)
    assert min(seam) < start < max(seam)
    await expect(page.get_by_role("button", name="Latest")).to_be_visible()
    assert steps(seam) == {MINUTE_MS}
    await press(page, "-", "-")
    assert steps(await candles_once(page, lambda shown: min(shown) < min(seam))) == {MINUTE_MS}
    await press(page, "End")
    assert max(await candles_once(page, lambda shown: min(shown) > max(seam))) >= max(latest)
    await expect(page.get_by_role("button", name="Latest")).to_be_hidden()
    assert errors == []
    await page.close()


@pytest.mark.long
async def test_any_interval_is_chosen_by_keyboard_and_months_lead_back_to_where_the_history_begins(
    server: Process, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, chart_url(server, "SHIBUSDT", "1s"))
    await expect_candles(page)
    await expect(page.locator(CLOSE)).to_have_text(re.compile(r"^0\.\d{8}$"))
    assert steps(await candles_in_view(page)) == {1000}
    opener = page.get_by_role("button", name="1s intervals")
    await opener.press("Enter")
    await expect(menu(page).get_by_role("option")).to_have_count(16)
    await expect(page.get_by_role("option", name="1 second")).to_be_focused()
    await save(page, tmp_path, "chart-intervals")
    await page.keyboard.press("Escape")
    await expect(opener).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="1M intervals")).to_be_focused()
    await expect(page).to_have_url(re.compile("interval=1M"))
    await expect_candles(page)
    shown = await candles_in_view(page)
    assert all(utc(open_ms).day == 1 for open_ms in shown)
    months = [month_number(open_ms) for open_ms in shown]
    assert months == list(range(months[0], months[-1] + 1))
    await press(page, "Home", *["ArrowLeft"] * 3)
    # The first 500 are drawn; older ones come while they are in view.
    await candles_once(page, lambda shown: month_number(min(shown)) < months[-1] - 499)
    await press(page, "Home")
    await expect(page.locator("[data-chart=older]")).to_have_text("Here the history begins", timeout=TIMEOUT_MS)
    assert (utc(min(await candles_in_view(page))).year, errors) == (1970, [])
    await page.close()


async def test_futures_have_their_own_candles_and_intervals(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, chart_url(server, "BTCUSDT", "1s", "futures"))
    await expect_candles(page)
    await expect(page.get_by_role("button", name="1m", exact=True)).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="More intervals").click()
    options = menu(page).get_by_role("option")
    offered = await options.evaluate_all("all => all.map((option) => option.dataset.interval)")
    assert offered == FUTURES_INTERVALS
    await page.get_by_role("option", name="1 hour").click()
    await expect(page.get_by_role("button", name="1h", exact=True)).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("[data-legend=time]")).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:00$"))
    await expect_candles(page)
    shown = await candles_in_view(page)
    assert steps(shown) == {60 * MINUTE_MS}
    base = page.url.partition("/?")[0]
    answer = await page.request.get(f"{base}/klines/BTCUSDT?market=futures&interval=1h&limit=3")
    rows = (await answer.json())["data"]["klines"][:2]
    assert [tuple(map(float, shown[row[0]])) for row in rows] == [tuple(map(float, row[1:5])) for row in rows]
    await expect(page.locator("[data-chart=countdown]")).to_have_text(re.compile(r"^\d\d:\d\d$"), timeout=TIMEOUT_MS)
    assert errors == []
    await page.close()


async def test_on_a_phone_the_chart_fits_and_is_told_in_words(
    server: Process, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, chart_url(server, "ETHUSDT", "15m"), PHONE)
    await expect_candles(page)
    await expect_drawn(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    told = re.compile(r"^Candles of ETH in USDT, spot, 15 minutes each\. The last one, .* close [\d,]+\.\d\d, ")
    await expect(page.locator("#chart")).to_have_accessible_description(told)
    # The page's own switch of colours tells of a change by this event.
    before = await pixels(page, "--surface")
    await page.evaluate("""() => {
        document.documentElement.style.setProperty("--surface", "#123456");
        document.documentElement.dispatchEvent(new Event("themechange"));
    }""")
    await expect_pixels(page, "--surface", lambda count: count > before / 2)
    await save(page, tmp_path, "chart-phone")
    assert errors == []
    await page.close()
