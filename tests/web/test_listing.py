"""The page while the exchange's listing changes, or is known in part."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, Route, expect

from server import catalogs
from tests.server.conftest import Served, serving, until
from tests.support.processes import Process, free_port, tickcast
from tests.web.browsing import TIMEOUT_MS, expect_figures, open_page, row, url
from tests.web.charting import expect_candles
from tests.web.listings import Listings
from tests.web.test_book import BOOK, TRADES, rungs, say, snapshot, subscribed, trade
from tests.web.test_watchlist import OWN_LIST, shown

pytestmark = pytest.mark.browser

TICKER: Final = "futures:btcusdt@ticker"
PAGE: Final = "/?market=futures&symbol=BTCUSDT&watch=futures:BTCUSDT"
LIST: Final = ["spot:BTCUSDT", "futures:ETHUSDT", "spot:ETHUSDT", "futures:BTCUSDT"]
LATER: Final = "10:00"
"""By then the page has asked for the listing again."""


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The exchange stand-in, for symbols and history only."""
    directory = tmp_path_factory.mktemp("exchange")
    with tickcast("exchange", free_port(), directory, {"SIM_SYMBOLS": "2", "EXCHANGE": "simulate"}) as process:
        yield process


@pytest.fixture
async def listings(exchange: Process, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listings]:
    monkeypatch.setattr(catalogs, "REFRESH_S", 0.2)
    listings = Listings(exchange)
    async with listings.serving():
        yield listings


def ticker(price: str) -> dict[str, Any]:
    body = {"e": "24hrTicker", "E": time.time_ns() // 1_000_000, "s": "BTCUSDT", "c": price}
    return body | {"p": "1", "P": "1", "h": "101", "l": "98", "q": "5"}


async def listed(page: Page, served: Served, **changes: str) -> None:
    """Wait until the server lists BTCUSDT with these words, then let the page ask for the listing again."""

    async def is_listed() -> bool:
        await asyncio.sleep(0.1)  # an address may ask so often, and no more
        body = await (await page.request.get(f"{served.url}/symbols")).json()
        info = next(one for one in body["data"]["markets"]["futures"] if one["symbol"] == "BTCUSDT")
        return all(info[name] == text for name, text in changes.items())

    await until(is_listed, f"the server lists BTCUSDT with {changes}")
    await page.clock.fast_forward(LATER)


async def test_a_symbol_that_was_halted_comes_to_life_when_it_trades_again(
    exchange: Process, listings: Listings, browser: Browser
) -> None:
    listings.change("futures", "BTCUSDT", status="HALT")
    async with serving(exchange, exchange_url=listings.url) as served:
        page, _ = await open_page(browser, "about:blank")
        await page.clock.install()
        await page.goto(served.url + PAGE)
        await expect(page.locator("#chart-note")).to_have_text(re.compile("not trading"), timeout=TIMEOUT_MS)
        await expect(page.locator("[data-quote=stale]")).to_have_text("halted")

        listings.change("futures", "BTCUSDT")
        await listed(page, served, status="TRADING")
        for stream in (TICKER, TRADES, BOOK):
            await subscribed(page, stream)
        await say(served, TICKER, ticker("99.0"))
        await say(served, TRADES, trade(99))
        await say(served, BOOK, snapshot(1, [["99.0", "1"]], [["101.0", "1"]]))
        await expect(row(page, "BTCUSDT", "futures").locator("[data-cell=price]")).to_have_text("99.0")
        await expect(page.locator("[data-quote=price]")).to_have_text("99.0")
        await expect(page.locator("#trades [data-tape=price]").first).to_have_text("99.0")
        await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced")
        await expect_candles(page)
        await page.close()


async def test_prices_and_sizes_are_rounded_anew_everywhere_when_the_exchange_changes_their_steps(
    exchange: Process, listings: Listings, browser: Browser
) -> None:
    async with serving(exchange, exchange_url=listings.url) as served:
        page, _ = await open_page(browser, "about:blank")
        await page.clock.install()
        await page.goto(served.url + PAGE)
        await subscribed(page, TICKER)
        await say(served, TICKER, ticker("99.0"))
        in_row = row(page, "BTCUSDT", "futures").locator("[data-cell=price]")
        await expect(in_row).to_have_text("99.0", timeout=TIMEOUT_MS)
        await expect_candles(page)

        listings.change("futures", "BTCUSDT", tickSize="0.001", stepSize="0.00001")
        await listed(page, served, tickSize="0.001", stepSize="0.00001")
        await expect(in_row).to_have_text("99.000")
        await expect(page.locator("[data-quote=price]")).to_have_text("99.000")
        await expect(page.locator("[data-legend=close]")).to_have_text(re.compile(r"\.\d{3}$"), timeout=TIMEOUT_MS)
        for stream in (TRADES, BOOK):
            await subscribed(page, stream)
        await say(served, TRADES, trade(99))
        await say(served, BOOK, snapshot(1, [["99.0", "1"]], [["101.0", "1"]]))
        await expect(page.locator("#trades [data-tape=price]").first).to_have_text("99.000")
        await expect(page.locator("#trades [data-tape=size]").first).to_have_text("0.00500")
        await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
        assert await rungs(page, "bids") == ["99.000 1.00000 1.00000"]
        await page.close()


class Futures:
    """What the server says of futures: nothing while `is_known` is false."""

    def __init__(self) -> None:
        self.is_known = True

    async def answer(self, route: Route) -> None:
        body = await (await route.fetch()).json()
        if not self.is_known:
            body["data"]["markets"]["futures"] = []
        await route.fulfill(body=json.dumps(body), content_type="application/json")


async def test_what_is_listed_and_asked_for_of_a_market_that_is_not_known_yet_is_kept_until_it_is(
    server: Process, browser: Browser
) -> None:
    page, errors = await open_page(browser, "about:blank")
    futures = Futures()
    # A server that has just started; but for the market that it lacks it is the server's own answer.
    await page.route("**/symbols", futures.answer)
    await page.clock.install()
    await page.goto(url(server))
    await expect_figures(page)
    await page.evaluate("list => localStorage.setItem('tickcast.watchlist', JSON.stringify(list))", LIST)

    futures.is_known = False
    await page.goto(f"{url(server)}/?market=futures&symbol=ETHUSDT&interval=5m")
    await expect(row(page, "BTCUSDT")).to_have_attribute("data-selected", "")
    assert await shown(page) == ["spot:BTCUSDT", "spot:ETHUSDT"]
    await row(page, "BTCUSDT").locator("[data-select]").focus()
    await page.keyboard.press("Alt+ArrowDown")
    assert await shown(page) == ["spot:ETHUSDT", "spot:BTCUSDT"]
    kept = ["spot:ETHUSDT", "futures:BTCUSDT", "spot:BTCUSDT", "futures:ETHUSDT"]
    assert await page.evaluate(OWN_LIST) == kept
    await page.keyboard.press("3")
    await expect(page).to_have_url(f"{url(server)}/?market=futures&symbol=ETHUSDT&interval=15m")

    futures.is_known = True
    await page.clock.fast_forward("00:40")
    await expect(row(page, "ETHUSDT", "futures")).to_have_attribute("data-selected", "", timeout=TIMEOUT_MS)
    assert await shown(page) == kept
    await expect(page).to_have_url(f"{url(server)}/?market=futures&symbol=ETHUSDT&interval=15m")
    await expect_figures(page)

    futures.is_known = False
    link = f"{url(server)}/?market=futures&symbol=ETHUSDT&interval=1m&watch=futures:ETHUSDT,SOLUSDT"
    await page.goto(link)
    await expect(page.locator("[data-quote=base]")).to_have_text("SOL")
    await expect(page).to_have_url(link)
    await row(page, "SOLUSDT").click()
    await expect(page).to_have_url(f"{url(server)}/?symbol=SOLUSDT&interval=1m&watch=futures:ETHUSDT,SOLUSDT")
    await page.get_by_role("button", name="Keep it").click()
    assert await page.evaluate(OWN_LIST) == ["futures:ETHUSDT", "spot:SOLUSDT"]
    assert errors == []
