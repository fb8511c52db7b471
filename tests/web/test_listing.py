"""The page while the exchange's listing changes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, expect

from server import catalogs
from tests.server.conftest import Served, serving, until
from tests.support.processes import Process, free_port, tickcast
from tests.web.browsing import TIMEOUT_MS, open_page, row
from tests.web.charting import expect_candles
from tests.web.listings import Listings
from tests.web.test_book import BOOK, TRADES, rungs, say, snapshot, subscribed, trade

pytestmark = pytest.mark.browser

TICKER: Final = "futures:btcusdt@ticker"
PAGE: Final = "/?market=futures&symbol=BTCUSDT&watch=futures:BTCUSDT"
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
