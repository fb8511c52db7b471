"""The frame of the page: phones and tablets, themes, keys alone, and what axe-core says of all of it."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, ViewportSize, WebSocket, expect

from tests.support.processes import Process
from tests.web.accessibility import violations
from tests.web.browsing import (
    FIGURE,
    PHONE,
    TIMEOUT_MS,
    expect_figures,
    open_page,
    price,
    row,
    save,
    until,
    url,
)

pytestmark = pytest.mark.browser

TABLET = ViewportSize(width=820, height=1180)
NARROW = ViewportSize(width=320, height=640)
PANELS = ("chart", "book", "trades", "watch")
MIN_TARGET_PX = 40
SMALL_TARGETS = """(least) => [...document.querySelectorAll("button, input, select, [role=option]")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest("#chart"))
  .map((one) => [one.textContent.trim() || one.ariaLabel || one.id, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < least)
  .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""

# A tab in the background as the page sees it: hidden, and without frames. Chromium under Playwright hides none.
HIDE = """async () => {
  window.held = [];
  const real = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (draw) => window.held.push(draw);
  Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
  await new Promise((drawn) => real(drawn)); // what was asked for before is drawn before
  window.unseen = 0;
  window.writes = new MutationObserver((records) => (window.unseen += records.length));
  for (const part of document.querySelectorAll("#rows, #quote")) {
    window.writes.observe(part, { subtree: true, childList: true, characterData: true });
  }
}"""
# How many texts were written while nobody looked, and the prices of the list in the first frame after that.
SHOW = """() => {
  const frames = window.held.length;
  for (const draw of window.held) draw(performance.now());
  const targets = window.writes.takeRecords().map(({ target }) => target);
  const drawn = targets.filter(({ dataset }) => dataset?.cell === "price");
  return { unseen: window.unseen, frames, drawn: drawn.length, rows: new Set(drawn).size };
}"""

IN_THE_TREE = "one => one.checkVisibility({ visibilityProperty: true })"
# A browser that lets nobody copy, and what the notice says whenever that changes.
KEEP_WORDS = """() => {
  Object.defineProperty(navigator, "clipboard", { value: undefined });
  window.words = [];
  const notice = document.querySelector("#notice");
  new MutationObserver(() => window.words.push(notice.textContent)).observe(notice, { childList: true });
}"""

FLASHING = "document.getAnimations().some((one) => one.effect.target.dataset.cell === 'price')"


async def test_a_phone_shows_one_panel_at_a_time(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server), PHONE)
    await expect(price(page, "BTCUSDT")).to_have_text(FIGURE, timeout=TIMEOUT_MS)

    for tab in PANELS:
        await page.locator(f"#tabs [data-tab={tab}]").click()
        await expect(page.locator("#tabs [aria-current]")).to_have_attribute("data-tab", tab)
        for panel in PANELS[1:]:
            await expect(page.locator(f"#{panel}-panel")).to_be_visible(visible=panel == tab)
        await expect(page.locator("#chart")).to_be_visible(visible=tab == "chart")
        await expect(page.locator("[data-quote=price]")).to_be_visible(visible=tab != "watch")
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert await page.evaluate("document.documentElement.scrollHeight") == PHONE["height"]
        assert await page.evaluate(SMALL_TARGETS, MIN_TARGET_PX) == []
    await save(page, tmp_path, "phone-watchlist")
    await row(page, "ETHUSDT").click()
    await expect(page.locator("#chart")).to_be_visible()
    await expect(page.locator("[data-quote=base]")).to_have_text("ETH")

    await page.set_viewport_size(NARROW)
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    await page.set_viewport_size(TABLET)
    for panel in PANELS:
        await expect(page.locator(f"#{panel}-panel")).to_be_visible()
    await expect(page.locator("#tabs")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") == TABLET["width"]
    await save(page, tmp_path, "tablet")
    assert errors == []


async def test_the_page_is_used_by_keys_alone_and_keeps_the_theme(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, url(server))
    await expect_figures(page)
    root, help_ = page.locator("html"), page.get_by_role("dialog", name="Keyboard shortcuts")
    await page.evaluate(
        "document.documentElement.addEventListener('themechange', () => { window.changes = (window.changes ?? 0) + 1 })"
    )

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the chart")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("?")
    await expect(help_).to_be_visible()
    await page.keyboard.press("t")  # belongs to nobody while the dialog is open
    await page.keyboard.press("Escape")
    await expect(help_).to_be_hidden()
    await expect(root).to_have_attribute("data-theme", "light")
    await page.keyboard.press("t")
    await expect(root).to_have_attribute("data-theme", "dark")
    await expect(page.get_by_role("button", name="Dark colours")).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate("window.changes") == 1
    await page.keyboard.press("/")
    await page.keyboard.type("t/j")  # is text here
    await expect(page.get_by_role("combobox", name="Search symbols")).to_have_value("t/j")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("combobox", name="Search symbols")).to_have_value("")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("combobox", name="Search symbols")).not_to_be_focused()

    await page.reload()
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.keyboard.press("t")  # agrees with the system, and follows it again
    await expect(root).to_have_attribute("data-theme", "light")
    await page.emulate_media(color_scheme="dark")
    await expect(root).to_have_attribute("data-theme", "dark")
    assert errors == []


async def test_axe_finds_nothing_and_nothing_flashes_for_whom_motion_is_too_much(
    server: Process, browser: Browser
) -> None:
    page, _ = await open_page(browser, f"{url(server)}/?watch=BTCUSDT,ETHUSDT,futures:ETHUSDT")
    await expect_figures(page)
    await until(page, FLASHING)
    await page.emulate_media(reduced_motion="reduce")
    await until(page, f"!({FLASHING})")
    first = await price(page, "BTCUSDT").inner_text()
    await expect(price(page, "BTCUSDT")).not_to_have_text(first, timeout=TIMEOUT_MS)
    assert not await page.evaluate(FLASHING)

    assert await violations(page) == []
    await page.get_by_role("combobox", name="Search symbols").fill("btcudst")
    await expect(page.locator("#search-options").get_by_role("option").first).to_be_visible()
    assert await violations(page, "#watch-panel") == []
    await page.get_by_role("combobox", name="Search symbols").fill("")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("combobox", name="Search symbols")).not_to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await violations(page, "#shortcuts") == []
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.keyboard.press("t")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await violations(page) == []
    await page.set_viewport_size(PHONE)
    # What the other panels hold was seen on the wide page.
    for tab in ("chart", "watch"):
        await page.locator(f"#tabs [data-tab={tab}]").click()
        assert await violations(page) == []


async def test_a_notice_is_told_each_time_also_when_it_says_the_same_again(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, url(server))
    await expect_figures(page)
    notice = page.locator("#notice")
    # What is not rendered when words come into it is not read out.
    assert await notice.evaluate(IN_THE_TREE)
    await expect(notice).to_be_hidden()
    await page.evaluate(KEEP_WORDS)
    for times in (1, 2):
        await page.keyboard.press("l")
        await until(page, f"window.words.filter(Boolean).length === {times}")
    words = await page.evaluate("window.words")
    assert words[0].startswith("The link is in the address bar")
    assert words == [words[0], "", words[0]]
    assert await violations(page) == []
    await expect(notice).to_be_hidden(timeout=TIMEOUT_MS)
    assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert errors == []


async def test_a_tab_in_the_background_draws_nothing_and_once_when_it_is_seen_again(
    server: Process, browser: Browser
) -> None:
    page, errors = await open_page(browser, "about:blank")
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 # Playwright marks what it calls
    await page.goto(url(server))
    await expect_figures(page)
    await page.evaluate(HIDE)
    for _ in range(20):
        await sockets[0].wait_for_event("framereceived")

    seen = await page.evaluate(SHOW)
    assert seen["unseen"] == 0
    assert seen["frames"] <= 20  # one for each part of the page, however much has come
    assert 0 < seen["drawn"] == seen["rows"]
    assert errors == []
