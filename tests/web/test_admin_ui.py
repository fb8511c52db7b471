"""The official Socket.IO admin UI (npm `@socket.io/admin-ui`), as its authors built it, looks at a replica."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.server.access.test_passwords import CHEAP, PASSWORD
from tests.server.conftest import Client, Served, exchange, served, until
from tests.support.processes import ROOT
from tests.web.browsing import TIMEOUT_MS, save

__all__ = ["exchange", "served"]
UI = ROOT / "node_modules" / "@socket.io" / "admin-ui" / "ui" / "dist"
SETTINGS = {"admin_user": "admin", "admin_password_hash": str(CHEAP), "admin_read_only": False}


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    """Where the UI's own files are served: another origin than the replica's."""
    app = web.Application()
    app.router.add_static("/", UI)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/index.html"
    await runner.cleanup()


async def log_in(page: Page, url: str, password: str) -> None:
    await page.get_by_label("Server URL").fill(url)
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Connect").click()


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("served", [SETTINGS], indirect=True)
async def test_the_official_page_shows_servers_clients_and_rooms_and_disconnects_a_client(
    served: Served, page_url: str, browser: Browser, tmp_path: Path
) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    page = await browser.new_page(viewport={"width": 1400, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())  # its icons
    await page.goto(page_url)
    await log_in(page, served.url, "wrong")
    await expect(page.get_by_text("Invalid credentials")).to_be_visible(timeout=TIMEOUT_MS)
    await log_in(page, served.url, PASSWORD)
    await expect(page.get_by_role("row", name="Healthy 1 100.0 %")).to_be_visible(timeout=TIMEOUT_MS)
    await save(page, tmp_path, "admin-dashboard")
    await page.goto(f"{page_url}#/servers/")
    await expect(page.get_by_text("r1", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    await save(page, tmp_path, "admin-servers")
    await page.goto(f"{page_url}#/sockets/")
    sid = client.io.get_sid()
    await expect(page.get_by_text(sid)).to_be_visible(timeout=TIMEOUT_MS)
    await save(page, tmp_path, "admin-sockets")
    await page.goto(f"{page_url}#/rooms/")
    await expect(page.get_by_text("spot:btcusdt@trade")).to_be_visible(timeout=TIMEOUT_MS)
    await page.goto(f"{page_url}#/sockets/")
    await page.get_by_role("row").filter(has_text=sid).get_by_role("button").click()
    await until(lambda: not client.io.connected, "the client is disconnected")
    assert errors == []
    await page.close()
