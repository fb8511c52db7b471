"""The page and the operator's page where credentials are asked for."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from server.access import watched_file
from server.access.api_keys import make_key
from tests.server.access.conftest import Clock, clock
from tests.server.access.minting import SECRET, bearer, mint, payload
from tests.server.conftest import Served, exchange, serving
from tests.support.processes import Process
from tests.web.accessibility import violations
from tests.web.browsing import TIMEOUT_MS, open_page, row, save

__all__ = ["clock", "exchange"]
pytestmark = pytest.mark.browser
ELSEWHERE = ["10.9.9.9"]


@pytest.fixture
async def guarded(exchange: Process) -> AsyncIterator[Served]:
    """A replica that asks for credentials, and whose operators are elsewhere."""
    settings = {"auth": "required", "auth_jwt_secret": SECRET, "operators": ELSEWHERE}
    async with serving(exchange, bearer(mint()), **settings) as served:
        yield served


def in_hours(hours: float) -> float:
    return float(payload()["exp"]) + (hours - 1) * 3600


async def give(page: Page, token: str) -> None:
    await page.get_by_label("Token or API key").fill(token)
    await page.keyboard.press("Enter")


async def test_the_page_asks_says_why_it_was_refused_and_renews(
    guarded: Served, browser: Browser, clock: Clock, tmp_path: Path
) -> None:
    page, _ = await open_page(browser, guarded.url)
    dialog, alert = page.locator("#login"), page.get_by_role("alert")
    await expect(dialog).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.locator("[data-light=connection] [data-words]")).to_have_text("not let in")
    assert await violations(page, "#login") == []
    await give(page, "nonsense")
    await expect(alert).to_have_text(re.compile("^Refused: .+"), timeout=TIMEOUT_MS)
    await save(page, tmp_path, "credentials")

    await give(page, mint())
    await expect(row(page, "BTCUSDT")).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.locator("[data-light=connection]")).to_have_attribute(
        "data-state", "connected", timeout=TIMEOUT_MS
    )
    await expect(dialog).to_be_hidden()
    assert await page.evaluate("sessionStorage.length") == 0

    await page.locator("#key").click()
    await give(page, mint(sub="mallory"))
    await expect(alert).to_have_text("The token is of another subject: connect anew")
    await page.get_by_role("button", name="Cancel").click()
    clock.end_tokens()
    await expect(alert).to_have_text("Your token has ended. Show another one.", timeout=TIMEOUT_MS)
    await page.get_by_label("Keep it").check()
    await give(page, mint(exp=in_hours(9)))
    await expect(page.locator("[data-light=connection]")).to_have_attribute(
        "data-state", "connected", timeout=TIMEOUT_MS
    )

    await page.reload()
    await expect(row(page, "BTCUSDT")).to_be_visible(timeout=TIMEOUT_MS)
    await expect(dialog).to_be_hidden()
    await page.locator("#key").click()
    await page.get_by_role("button", name="Forget mine").click()
    await expect(dialog).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    await page.close()


async def test_the_operator_s_page_shows_nothing_to_others(guarded: Served, browser: Browser) -> None:
    page, _ = await open_page(browser, f"{guarded.url}/admin")
    await expect(page.locator("#login")).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.locator("#replicas tbody tr")).to_have_count(0)
    await give(page, mint())
    await expect(page.get_by_role("alert")).to_have_text(
        re.compile("^Refused: This is for operators"), timeout=TIMEOUT_MS
    )
    await give(page, mint(tickcast={"operator": True}))
    await expect(page.get_by_role("row", name=re.compile("^r1"))).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.locator("#login")).to_be_hidden()
    await page.locator("#key").click()
    await give(page, mint())
    await expect(page.get_by_role("alert")).to_have_text(re.compile("^This is for operators"))
    await page.close()


async def test_escape_does_not_close_what_must_be_answered_however_often_it_is_pressed(
    guarded: Served, browser: Browser
) -> None:
    page, _ = await open_page(browser, guarded.url)
    dialog = page.locator("#login")
    await expect(dialog).to_be_visible(timeout=TIMEOUT_MS)
    for _ in range(4):
        await page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await give(page, mint())
    await expect(row(page, "BTCUSDT")).to_be_visible(timeout=TIMEOUT_MS)
    await page.locator("#key").click()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await page.close()


async def test_an_answer_to_other_credentials_does_not_close_what_the_server_asks_meanwhile(
    exchange: Process, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "WATCH_S", 0.05)
    old, new = make_key("old"), make_key("new")
    claims = "claims = {operator = true}\n"
    keys = tmp_path / "keys.toml"
    keys.write_text(old.lines + claims + new.lines + claims)
    settings = {"auth": "required", "api_keys_file": keys, "operators": ELSEWHERE}
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if new.key in route.request.headers["authorization"]:
            asked.set()
            await goes_on.wait()
        await route.continue_()

    async with serving(exchange, bearer(old.key), **settings) as served:
        page, _ = await open_page(browser, f"{served.url}/admin")
        dialog, alert, title = page.locator("#login"), page.get_by_role("alert"), page.locator("#login-title")
        await give(page, old.key)
        await expect(dialog).to_be_hidden(timeout=TIMEOUT_MS)
        await page.route("**/cluster", hold)
        await page.locator("#key").click()
        await expect(title).to_have_text("Other credentials")
        await give(page, new.key)
        await asked.wait()
        keys.write_text(new.lines + claims)
        await expect(alert).to_have_text(re.compile("^Refused: "), timeout=TIMEOUT_MS)
        async with page.expect_response("**/cluster"):
            goes_on.set()
        await page.evaluate("new Promise((done) => setTimeout(done))")
        await expect(dialog).to_be_visible()
        await expect(title).to_have_text("Credentials")
        await give(page, new.key)
        await expect(page.get_by_role("row", name=re.compile("^r1"))).to_be_visible(timeout=TIMEOUT_MS)
        await expect(dialog).to_be_hidden()
        await page.close()
