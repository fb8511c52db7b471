"""The watchlist, its search, and the list and the view in the address."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, ViewportSize, expect

from tests.support.processes import Process
from tests.web.browsing import FIGURE, TIMEOUT_MS, expect_figures, not_watched, open_page, row, save, until, url

pytestmark = pytest.mark.browser

LOW = ViewportSize(width=1440, height=480)
"""A window with room for a few rows."""
OWN_LIST = "JSON.parse(localStorage.getItem('tickcast.watchlist'))"
# Counts how often each row's figures are written.
COUNT_WRITES = """() => {
  window.writes = new Map();
  new MutationObserver((records) => {
    for (const { target } of records) {
      const id = (target.nodeType === 1 ? target : target.parentElement).closest("tr")?.dataset.id;
      window.writes.set(id, (window.writes.get(id) ?? 0) + 1);
    }
  }).observe(document.querySelector("#rows"), { subtree: true, childList: true, characterData: true });
}"""
# Of each row: how far below the list's box it lies, whether its sparkline was drawn (until then a canvas is 300 wide).
ROWS_SEEN = """() => {
  const box = document.querySelector("#watch-box").getBoundingClientRect();
  return [...document.querySelectorAll("#rows tr")].map((row) => {
    const { top } = row.getBoundingClientRect();
    const isDrawn = row.querySelector("canvas").width !== 300;
    return { distance: top - box.bottom, isDrawn, writes: window.writes.get(row.dataset.id) ?? 0 };
  });
}"""


async def shown(page: Page) -> list[str]:
    """The rows' ids from top to bottom."""
    ids: list[str] = await page.locator("#rows tr").evaluate_all("rows => rows.map((row) => row.dataset.id)")
    return ids


async def test_a_symbol_is_found_added_kept_and_removed(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server))
    await expect_figures(page)
    other = await not_watched(page)
    field = page.get_by_role("combobox", name="Search symbols")
    options = page.locator("#search-options").get_by_role("option")

    await page.keyboard.press("/")
    await expect(field).to_be_focused()
    await page.keyboard.type("nosuchcoin")
    await expect(page.locator("#search-note")).to_have_text("No match for “nosuchcoin”.")
    await field.fill("btcudst")
    await expect(page.locator("#search-note")).to_contain_text("Did you mean:")
    await expect(page.locator("#search-status")).to_contain_text("Did you mean: BTCUSDT")
    await expect(options.first).to_have_text(re.compile("BTC.*USDT.*in the list"))
    await field.press("Enter")  # nothing is chosen yet: a guess is not taken by itself
    await expect(field).to_be_focused()

    await field.fill(other["baseAsset"].lower())
    await expect(options).to_have_count(2)
    await field.press("ArrowDown")
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert await field.get_attribute("aria-activedescendant") == await options.nth(1).get_attribute("id")
    await save(page, tmp_path, "search")
    await field.press("Enter")
    perpetual = row(page, other["symbol"], "futures")
    await expect(perpetual.locator("[data-cell=price]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect(perpetual).to_have_attribute("data-selected", "")
    await expect(perpetual.locator("[data-select]")).to_be_focused()
    await expect(perpetual.get_by_text("PERP")).to_be_visible()
    await expect(page).to_have_url(re.compile("market=futures"))

    await page.reload()
    await expect(perpetual.locator("[data-cell=price]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await perpetual.hover()
    await page.get_by_label(f"Remove {other['symbol']} perpetual").click()
    await expect(perpetual).to_have_count(0)
    await expect(page.locator("#rows [data-selected]")).to_have_count(1)
    assert f"futures:{other['symbol']}" not in await page.evaluate(OWN_LIST)
    assert errors == []


async def test_the_list_is_sorted_reordered_and_walked_by_keys(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, f"{url(server)}/?watch=BTCUSDT,ETHUSDT,futures:ETHUSDT&symbol=ETHUSDT")
    await expect_figures(page)

    head = page.locator("#watch-columns").get_by_role("columnheader", name="Price")
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "descending")
    assert (await shown(page))[0] == "spot:BTCUSDT"
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "ascending")
    assert (await shown(page))[2] == "spot:BTCUSDT"
    await head.get_by_role("button").click()
    assert await shown(page) == ["spot:BTCUSDT", "spot:ETHUSDT", "futures:ETHUSDT"]

    await page.keyboard.press("j")
    await expect(row(page, "ETHUSDT", "futures")).to_have_attribute("data-selected", "")
    await expect(page).to_have_url(re.compile("market=futures"))
    await page.locator("#rows [data-selected] [data-select]").focus()
    await page.keyboard.press("Home")
    await expect(row(page, "BTCUSDT").locator("[data-select]")).to_be_focused()
    await page.keyboard.press("Alt+ArrowDown")
    assert await shown(page) == ["spot:ETHUSDT", "spot:BTCUSDT", "futures:ETHUSDT"]
    await expect(row(page, "BTCUSDT").locator("[data-select]")).to_be_focused()
    await row(page, "BTCUSDT").drag_to(row(page, "ETHUSDT"))
    assert await shown(page) == ["spot:BTCUSDT", "spot:ETHUSDT", "futures:ETHUSDT"]
    await page.locator("#rows [data-selected] [data-select]").focus()
    await page.keyboard.press("Delete")
    await expect(row(page, "ETHUSDT").locator("[data-select]")).to_be_focused()
    assert await shown(page) == ["spot:ETHUSDT", "futures:ETHUSDT"]
    await expect(page).to_have_url(re.compile("watch=ETHUSDT,futures:ETHUSDT"))
    assert errors == []


async def test_the_way_back_a_reload_and_a_shared_link_show_what_was_shown(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, url(server))
    await expect_figures(page)
    own = await shown(page)
    base, pressed = page.locator("[data-quote=base]"), page.locator("#intervals [aria-pressed=true]")

    await row(page, "ETHUSDT").click()
    await page.keyboard.press("3")
    await expect(page).to_have_url(f"{url(server)}/?symbol=ETHUSDT&interval=15m")
    await expect(pressed).to_have_text("15m")
    await page.go_back()
    await expect(pressed).to_have_text("1m")
    await expect(base).to_have_text("ETH")
    await page.go_back()
    await expect(base).to_have_text("BTC")
    await expect(row(page, "BTCUSDT")).to_have_attribute("data-selected", "")
    await page.evaluate("history.go(2)")
    await expect(pressed).to_have_text("15m")
    await page.reload()
    await expect(base).to_have_text("ETH")
    await expect(pressed).to_have_text("15m")
    await expect(page).to_have_title(re.compile(r"\d ETHUSDT · Tickcast"), timeout=TIMEOUT_MS)

    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy link").click()
    await expect(page.locator("#notice")).to_contain_text("Link copied")
    link = await page.evaluate("navigator.clipboard.readText()")
    watch = f"watch={','.join(own).replace('spot:', '')}"
    assert link == f"{url(server)}/?symbol=ETHUSDT&interval=15m&{watch}"
    # A page that came over plain HTTP from another machine has no clipboard.
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await page.keyboard.press("l")
    await expect(page).to_have_url(link)

    await page.goto(f"{url(server)}/?watch=SOLUSDT,futures:BTCUSDT,NOSUCHCOIN")
    await expect(base).to_have_text("SOL")
    await expect(page.locator("#notice")).to_have_text("Not listed by the exchange: NOSUCHCOIN")
    assert await shown(page) == ["spot:SOLUSDT", "futures:BTCUSDT"]
    await page.get_by_role("button", name="Show mine").click()
    await expect(page.locator("#shared-list")).to_be_hidden()
    assert await shown(page) == own
    await expect(page).to_have_url(f"{url(server)}/?symbol=SOLUSDT&interval=1m")
    assert await page.evaluate(OWN_LIST) is None
    await page.goto(f"{url(server)}/?watch=SOLUSDT,futures:BTCUSDT")
    await page.get_by_role("button", name="Keep it").click()
    await expect(page).not_to_have_url(re.compile("watch="))
    assert await page.evaluate(OWN_LIST) == ["spot:SOLUSDT", "futures:BTCUSDT"]
    assert errors == []


async def test_only_rows_in_sight_are_drawn(server: Process, browser: Browser) -> None:
    page, errors = await open_page(browser, "about:blank", LOW)
    markets = (await (await page.request.get(f"{url(server)}/symbols")).json())["data"]["markets"]
    names = [f"{market}:{one['symbol']}" for market in ("spot", "futures") for one in markets[market]]
    await page.goto(f"{url(server)}/?watch={','.join(names)}")
    await expect_figures(page)  # every row has its first figures
    await until(page, "document.querySelector('#rows canvas').width !== 300")
    await page.evaluate(COUNT_WRITES)
    await until(page, "[...window.writes.values()].filter((count) => count >= 3).length >= 3")

    rows = await page.evaluate(ROWS_SEEN)
    far = [row for row in rows if row["distance"] > 130]  # farther than what is drawn ahead
    assert len(far) >= 4  # a window this low hides some
    assert [(row["isDrawn"], row["writes"]) for row in far] == [(False, 0)] * len(far)
    await page.locator("#rows tr").last.scroll_into_view_if_needed()
    await until(page, "[...document.querySelectorAll('#rows canvas')].at(-1).width !== 300")
    assert errors == []


async def test_a_symbol_that_is_halted_or_delisted_says_so(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, "about:blank")
    statuses = {"BTCUSDT": "HALT"}

    async def change(route: Route) -> None:
        body = await (await route.fetch()).json()
        spot = body["data"]["markets"]["spot"]
        for one in spot:
            one["status"] = statuses.get(one["symbol"], one["status"])
        body["data"]["markets"]["spot"] = [one for one in spot if one["status"] != "gone"]
        await route.fulfill(body=json.dumps(body), content_type="application/json")

    # The simulated exchange halts nothing; but for these words it is the server's own answer.
    await page.route("**/symbols", change)
    await page.clock.install()
    await page.goto(url(server))
    await expect_figures(page)
    words = {name: row(page, name).locator("[data-cell=stale]") for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    await expect(words["BTCUSDT"]).to_have_text("halted")
    await expect(words["ETHUSDT"]).to_have_text("")
    await expect(page.locator("[data-quote=stale]")).to_have_text("halted")

    statuses.update(BTCUSDT="TRADING", ETHUSDT="BREAK", SOLUSDT="gone")
    await page.clock.fast_forward("10:00")
    await expect(words["ETHUSDT"]).to_have_text("break", timeout=TIMEOUT_MS)
    await expect(words["SOLUSDT"]).to_have_text("delisted")
    await expect(words["BTCUSDT"]).not_to_have_text("halted")
    await expect(page.locator("[data-quote=stale]")).not_to_have_text("halted")
    await save(page, tmp_path, "halted")
    assert errors == []
