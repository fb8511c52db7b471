"""The order book, the tapes and the figures of futures, against a whole server and one whose feed the test plays."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from market.cursors import cursor_of
from market.messages import Message
from market.streams import StreamName
from tests.server.conftest import Served, serving, until
from tests.support.processes import Process, free_port, tickcast
from tests.web.browsing import FIGURE, LADDER_CHECK, PHONE, TIMEOUT_MS, open_page, save, url
from tests.web.conftest import simulated

pytestmark = pytest.mark.browser

FUTURES: Final = "/?market=futures&symbol=BTCUSDT"
BOOK: Final = "futures:btcusdt@book"
TRADES: Final = "futures:btcusdt@aggTrade"
MARK: Final = "futures:btcusdt@markPrice@1s"
LIQUIDATIONS: Final = "futures:btcusdt@forceOrder"
# As browsers are of a box that is hidden; Chromium tells of it when it is shown again.
NO_SCROLL_EVENTS: Final = "document.addEventListener('scroll', (event) => event.stopPropagation(), true)"
CLOCK: Final = re.compile(r"\d\d:\d\d:\d\d")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The exchange stand-in, for symbols and history only."""
    directory = tmp_path_factory.mktemp("exchange")
    with tickcast("exchange", free_port(), directory, {"SIM_SYMBOLS": "2", "EXCHANGE": "simulate"}) as process:
        yield process


@pytest.fixture
async def fed(exchange: Process) -> AsyncIterator[Served]:
    """A replica in this process whose feed is what the test publishes."""
    async with serving(exchange) as replica:
        yield replica


async def say(fed: Served, text: str, *bodies: dict[str, Any]) -> None:
    """Publish messages of one stream, in one batch."""
    stream = StreamName.parse(text)
    payloads = [json.dumps(body, separators=(",", ":")).encode() for body in bodies]
    now_us = time.time_ns() // 1_000
    await fed.publisher.publish([Message(stream, cursor_of(stream, payload), now_us, payload) for payload in payloads])


def trade(number: int) -> dict[str, Any]:
    """One whose price and time tell its number: 1,001 is the first of the second hour of 1970."""
    event_ms = number * 1000
    body = {"e": "aggTrade", "E": event_ms, "a": number, "s": "BTCUSDT", "p": str(number), "q": "0.005"}
    return body | {"nq": "0.005", "f": number, "l": number, "T": event_ms, "m": number % 2 == 0}


def liquidation(number: int, side: str) -> dict[str, Any]:
    order = {"s": "BTCUSDT", "S": side, "o": "LIMIT", "f": "IOC", "q": "0.020", "p": "9", "ap": f"{number}.5"}
    return {"e": "forceOrder", "E": number, "o": order | {"X": "FILLED", "l": "0.010", "z": "0.020", "T": number}}


def mark(price: str, next_funding_s: int) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    body = {"e": "markPriceUpdate", "E": now_ms, "s": "BTCUSDT", "p": price, "ap": price, "P": price, "i": "99.96"}
    return body | {"r": "-0.00012300", "T": now_ms + next_funding_s * 1000}


def snapshot(update_id: int, bids: Sequence[list[str]], asks: Sequence[list[str]]) -> dict[str, Any]:
    return {"e": "bookSnapshot", "E": update_id, "s": "BTCUSDT", "u": update_id, "b": list(bids), "a": list(asks)}


def change(update_id: int, bids: Sequence[list[str]], asks: Sequence[list[str]]) -> dict[str, Any]:
    body = {"e": "depthUpdate", "E": update_id, "T": update_id, "s": "BTCUSDT", "U": update_id, "u": update_id}
    return body | {"pu": update_id - 1, "b": list(bids), "a": list(asks)}


async def subscribed(page: Page, stream: str) -> None:
    """Wait until the page is subscribed to a stream."""

    async def is_subscribed() -> bool:
        stats = await (await page.request.get(urljoin(page.url, "/stats"))).json()
        return stream in stats["data"]["subscriptions_by_stream"]

    await until(is_subscribed, f"the page wants {stream}")


async def prices(tape: Locator) -> list[int]:
    """The whole prices of a tape's rows, the top one first."""
    texts = await tape.locator("[data-tape=price]").all_inner_texts()
    return [int(text.replace(",", "").partition(".")[0]) for text in texts]


async def rungs(page: Page, side: str) -> list[str]:
    texts = await page.locator(f"[data-book={side}] .level").all_inner_texts()
    return [" ".join(text.split()) for text in texts if text.strip()]


async def checked(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate("window.ladderCheck")
    return found


async def drawn(page: Page, more: int) -> None:
    """Wait until the ladder has been drawn so many times more."""
    enough = (await checked(page))["drawn"] + more
    await page.wait_for_function("enough => window.ladderCheck.drawn >= enough", arg=enough)


async def test_the_ladder_is_sorted_adds_up_and_never_crosses_beside_the_contract_s_figures(
    server: Process, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, url(server) + FUTURES)
    await page.evaluate(LADDER_CHECK.read_text())
    panel = page.locator("#book-panel")
    await expect(panel).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    await drawn(page, 30)
    fine = (await checked(page))["levels"]
    await page.get_by_label("Price grouping").select_option("100")
    await expect(page.locator("[data-book=bids] [data-level=price]").first).to_have_text(re.compile(r"^[\d,]+0$"))
    await drawn(page, 10)
    found = await checked(page)
    assert found["wrong"] == []
    assert fine >= 5
    assert found["resyncs"] == 0

    await page.get_by_role("button", name="5m", exact=True).click()
    await expect(panel).to_have_attribute("data-state", "synced")
    await expect(page.get_by_label("Price grouping")).to_have_value("100")

    depth = page.get_by_role("button", name="Depth chart")
    await depth.click()
    for side in ("bids", "asks"):
        await expect(page.locator(f"[data-depth={side}]")).to_have_attribute("d", re.compile(r"^M50 102H.*Z$"))
    await expect(page.get_by_role("table", name="Order book")).to_be_hidden()
    await save(page, tmp_path, "depth")
    await depth.click()
    await expect(page.get_by_role("table", name="Order book")).to_be_visible()

    contract = page.locator("#contract")
    for name in ("mark", "index", "interest"):
        await expect(contract.locator(f"[data-contract={name}]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await expect(contract.locator("[data-contract=rate]")).to_have_text(re.compile(r"^[+\u2212]?\d\.\d{4}%$"))
    countdown = contract.locator("[data-contract=countdown]")
    before = await countdown.inner_text()
    assert CLOCK.fullmatch(before)
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while not (before.startswith("00:00") or await countdown.inner_text() < before):  # noqa: ASYNC110 # the page's own clock
            await asyncio.sleep(0.1)
    await save(page, tmp_path, "futures")

    await page.locator("#rows [data-market=spot][data-symbol=ETHUSDT] [data-select]").click()
    await expect(contract).to_be_hidden()
    await expect(page.get_by_role("tab")).to_have_count(1)
    await expect(panel).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    await expect(page.locator("#trades .tape-row").nth(20)).to_be_attached(timeout=TIMEOUT_MS)
    assert (await checked(page))["wrong"] == []
    assert errors == []
    await page.close()


async def test_book_and_mark_are_shown_as_told_never_crossed_and_grow_stale(
    fed: Served, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, fed.url + FUTURES)
    await page.evaluate(LADDER_CHECK.read_text())
    panel = page.locator("#book-panel")
    await expect(page.locator("[data-book=note]")).to_have_text("Loading…")
    await subscribed(page, BOOK)
    await say(fed, BOOK, snapshot(1, [["99.0", "1"], ["98.0", "2"]], [["101.0", "1"], ["103.0", "0.5"]]))
    await expect(panel).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    assert await rungs(page, "asks") == ["103.0 0.500 1.500", "101.0 1.000 1.000"]
    assert await rungs(page, "bids") == ["99.0 1.000 1.000", "98.0 2.000 3.000"]
    await expect(page.locator("[data-book=spread]")).to_have_text("2.0")
    await expect(page.locator("[data-book=percent]")).to_have_text("2.0000%")
    await expect(page.locator("[data-book=bid-share]")).to_have_text("67%")
    await expect(page.locator("[data-book=note]")).to_have_text("")

    best = page.locator("[data-book=bids] .level").first
    await say(fed, BOOK, change(2, [["100.0", "3"], ["98.0", "0"]], []))
    await expect(best).to_have_text(re.compile(r"^\s*100\.0\s+3\.000\s+3\.000\s*$"))
    await say(fed, BOOK, change(3, [["102.0", "1"]], []))
    await say(fed, BOOK, snapshot(4, [["102.0", "1"]], [["103.0", "0.5"]]))
    await expect(best).to_have_text(re.compile(r"^\s*102\.0\s+1\.000\s+1\.000\s*$"))
    assert len(await rungs(page, "asks")) == 1
    assert (await checked(page))["wrong"] == []
    assert (await checked(page))["drawn"] >= 3

    await say(fed, MARK, mark("100.05", next_funding_s=3661))
    contract = page.locator("#contract")
    await expect(contract.locator("[data-contract=countdown]")).to_have_text(re.compile(r"^01:0[01]:\d\d$"))
    await expect(contract.locator("[data-contract=mark]")).to_have_text("100.1")
    await expect(contract.locator("[data-contract=index]")).to_have_text("100.0")
    await expect(contract.locator("[data-contract=rate]")).to_have_text("\N{MINUS SIGN}0.0123%")
    for part in ("book", "contract"):
        stale = page.locator(f"[data-{part}=stale]")
        await expect(stale).to_have_text(re.compile(r"^stale \d+ s$"), timeout=TIMEOUT_MS)
    await save(page, tmp_path, "book-stale")
    assert errors == []
    await page.close()


async def test_the_tapes_are_in_order_say_what_is_missing_and_wait_for_who_reads(
    fed: Served, browser: Browser, tmp_path: Path
) -> None:
    page, errors = await open_page(browser, fed.url + FUTURES)
    tape = page.locator("#trades")
    await subscribed(page, TRADES)
    await say(fed, TRADES, trade(1001), trade(1002), trade(1015))
    gap = tape.locator("[data-tape=gap]")
    await expect(gap).to_have_text("12 trades missed (lost by the feed)", timeout=TIMEOUT_MS)
    assert await prices(tape) == [1015, 1002, 1001]
    first = tape.locator(".tape-row").first
    assert " ".join((await first.inner_text()).split()) == "▲ 1,015.0 0.005 00:16:55"
    await expect(first.get_by_role("img", name="bought")).to_be_visible()
    await save(page, tmp_path, "trades-missed")

    await first.hover()
    await expect(first.locator("[data-tape=time]")).to_have_attribute("title", "1970-01-01 00:16:55.000 UTC")
    await say(fed, TRADES, *(trade(number) for number in range(1016, 3016)))
    pill = page.get_by_role("button", name="2000 new")
    await expect(pill).to_be_visible()
    assert (await prices(tape))[0] == 1015
    await pill.click()
    await expect(pill).to_be_hidden()
    assert await prices(tape) == list(range(3015, 2915, -1))
    await page.mouse.move(700, 20)
    await say(fed, TRADES, trade(3016))
    await expect(first.locator("[data-tape=price]")).to_have_text("3,016.0")
    assert await tape.locator(".tape-row").count() == 100

    await page.get_by_role("tab", name="Trades").press("ArrowRight")
    await expect(page.get_by_role("tab", name="Liquidations")).to_be_focused()
    liquidations = page.locator("#liquidations")
    await expect(liquidations.locator("[data-tape=note]")).to_have_text(re.compile(r"^None of BTCUSDT since \d\d:"))
    await say(fed, LIQUIDATIONS, liquidation(7, "SELL"), liquidation(8, "BUY"))
    await expect(liquidations.locator(".tape-row")).to_have_count(2)
    assert [" ".join(text.split()) for text in await liquidations.locator(".tape-row").all_inner_texts()] == [
        "▲ 8.5 0.020 00:00:00",
        "▼ 7.5 0.020 00:00:00",
    ]
    await expect(tape).to_be_hidden()
    await save(page, tmp_path, "liquidations")
    assert errors == []
    await page.close()


async def test_a_scrolled_tape_moves_on_for_the_next_instrument_though_the_browser_does_not_tell_that_it_is_back(
    fed: Served, browser: Browser
) -> None:
    page, errors = await open_page(browser, fed.url + FUTURES + "&watch=futures:BTCUSDT,futures:ETHUSDT")
    tape, box = page.locator("#trades"), page.locator("#trades [data-tape=box]")
    first = tape.locator("[data-tape=price]").first
    await subscribed(page, TRADES)
    await say(fed, TRADES, *(trade(number) for number in range(1001, 1081)))
    await expect(first).to_have_text("1,080.0", timeout=TIMEOUT_MS)
    await box.evaluate("box => { box.scrollTop = 200 }")
    await say(fed, TRADES, trade(1081))
    pill = tape.locator("[data-tape=new]")
    await expect(pill).to_be_visible()

    await page.evaluate(NO_SCROLL_EVENTS)
    await page.get_by_role("tab", name="Liquidations").click()
    await page.locator("#rows [data-symbol=ETHUSDT] [data-select]").click()
    other = TRADES.replace("btc", "eth")
    await subscribed(page, other)
    await page.get_by_role("tab", name="Trades").click()
    await page.mouse.move(700, 20)
    for number in (2001, 2002):
        await say(fed, other, trade(number))
        await expect(first).to_have_text(f"{number:,}.00", timeout=TIMEOUT_MS)
    await expect(pill).to_be_hidden()
    assert await box.evaluate("box => box.scrollTop") == 0
    assert errors == []
    await page.close()


@pytest.mark.long
async def test_the_book_is_in_sync_again_after_the_server_was_restarted(browser: Browser, tmp_path: Path) -> None:
    with simulated(tmp_path) as server:
        page, _ = await open_page(browser, url(server) + FUTURES)
        await page.evaluate(LADDER_CHECK.read_text())
        panel = page.locator("#book-panel")
        await expect(panel).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
        await drawn(page, 1)
        server.kill()
        await expect(panel).to_have_attribute("data-state", "resyncing")
        server.start()
        await expect(panel).to_have_attribute("data-state", "synced", timeout=2 * TIMEOUT_MS)
        await drawn(page, 5)
        found = await checked(page)
        assert (found["wrong"], found["resyncs"]) == ([], 1)
        await page.close()  # a server drains before it ends, and would wait for this client


async def test_on_a_phone_book_and_tapes_fit(server: Process, browser: Browser, tmp_path: Path) -> None:
    page, errors = await open_page(browser, url(server) + FUTURES, PHONE)
    await expect(page.locator("[data-contract=mark]")).to_have_text(FIGURE, timeout=TIMEOUT_MS)
    await page.locator("[data-tab=book]").click()
    await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-book=bids] .level").nth(7)).to_have_text(FIGURE)
    await page.locator("[data-tab=trades]").click()
    await expect(page.locator("#trades .tape-row").first).to_be_visible(timeout=TIMEOUT_MS)
    await page.get_by_role("tab", name="Liquidations").click()
    await expect(page.locator("#liquidations")).to_be_visible()
    await page.get_by_role("tab", name="Trades").click()
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await save(page, tmp_path, "phone-futures")
    assert errors == []
    await page.close()
