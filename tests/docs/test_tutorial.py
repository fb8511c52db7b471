"""The tutorial, typed as it is printed from top to bottom, with its page open in Chromium."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.docs.blocks import Block, blocks_of
from tests.docs.session import Addresses, Session, is_healthy
from tests.support.processes import accepts, free_port, two_free_ports, wait_until
from tests.web.browsing import CANDLE_PIXELS, save

PAGE: Final = "docs/tutorial.md"
READY_S: Final = 60.0
WINDOW: Final = ViewportSize(width=1000, height=760)
SHOWN_MS: Final = 30_000
POLL_MS: Final = 100
# The colours that the chart's library gives candles, put where the browser tests look for a page's own.
COLOURS: Final = (
    "chart => { chart.style.setProperty('--up', '#26a69a'); chart.style.setProperty('--down', '#ef5350'); }"
)

Step = Callable[[Page], Awaitable[None]]


async def is_live(page: Page) -> None:
    """Candles are drawn, trades are counted, and the page says by whom it is served."""
    await expect(page.locator("#status")).to_have_text(re.compile("^connected to .+, simulated$"), timeout=SHOWN_MS)
    await page.locator("#chart").evaluate(COLOURS)
    drawn = f"({CANDLE_PIXELS})(document.querySelector('#chart')) > 500"
    await page.wait_for_function(drawn, timeout=SHOWN_MS, polling=POLL_MS)
    count = int(await page.locator("#trades").inner_text())
    grown = f"Number(document.querySelector('#trades').value) > {count}"
    await page.wait_for_function(grown, timeout=SHOWN_MS, polling=POLL_MS)


async def has_lost(page: Page) -> None:
    """The page has come back and says that nobody has what it missed."""
    await expect(page.locator("#log")).to_contain_text("back: 0 recovered, 1 lost", timeout=SHOWN_MS)
    await expect(page.locator("#log")).to_contain_text("some trades missing: unrecovered", timeout=SHOWN_MS)
    await is_live(page)


async def is_served_by_a_replica(page: Page) -> None:
    await expect(page.locator("#status")).to_have_text(re.compile("^connected to app[12], "), timeout=SHOWN_MS)
    await is_live(page)


async def has_recovered(page: Page) -> None:
    """The other replica serves the page, which misses nothing."""
    await expect(page.locator("#log")).to_have_text(re.compile("back: 1 recovered, 0 lost\n$"), timeout=SHOWN_MS)
    await is_live(page)


STEPS: Final[Mapping[str, Step]] = {
    "the page is open": is_live,
    "the page has come back and says what it lacks": has_lost,
    "the page is served by a replica of the cluster": is_served_by_a_replica,
    "the page has recovered everything at the other replica": has_recovered,
}


@pytest.mark.timeout(240)
async def test_the_tutorial_works_from_top_to_bottom_as_it_is_typed(
    folder: Path, registry: str, browser: Browser, tmp_path: Path
) -> None:
    ports = {8080: free_port(), 5173: free_port(), 3000: two_free_ports()}
    env = {
        "PORT": str(ports[8080]),
        "REPLICA_PORT": str(ports[3000]),
        "TICKCAST_URL": f"http://127.0.0.1:{ports[8080]}",
        "npm_config_registry": registry,
        "npm_config_cache": str(tmp_path / "npm"),
        "npm_config_audit": "false",
    }
    page = await browser.new_page(viewport=WINDOW)
    with Session(folder, Addresses(ports, {}), env) as session:
        for block in blocks_of(PAGE):
            if block.directive == "step":
                if page.url == "about:blank":
                    await page.goto(f"http://localhost:{ports[5173]}")
                await STEPS[block.argument](page)
                await save(page, tmp_path, "tutorial")
            else:
                session.run(await served_by(block, page))
            if block.directive == "terminal":
                wait_until(partial(is_up, session, block, ports), f"{block.where} is up", READY_S)


async def served_by(block: Block, page: Page) -> Block:
    """The block as a reader types it who looks which replica serves him."""
    if "app1.pid" not in block.code:
        return block
    status = await page.locator("#status").inner_text()
    return block._replace(code=block.code.replace("app1", status.split()[2].rstrip(",")))


def is_up(session: Session, block: Block, ports: Mapping[int, int]) -> bool:
    """Whether what a terminal was opened for answers, and says so."""
    if block.argument == "page":
        return accepts(ports[5173])
    return session.says_ready(block.argument) and is_healthy(f"http://127.0.0.1:{ports[8080]}")


def test_every_step_of_the_tutorial_is_checked() -> None:
    assert [block.argument for block in blocks_of(PAGE) if block.directive == "step"] == list(STEPS)
