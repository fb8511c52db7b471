"""The operator's page at `/admin`."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from market.announcements import FEED_TOPIC, FeedStatus, Source, UpstreamFigures, encode
from market.figures import FIGURES_TOPIC, FeedFigures, GroupFigures, StreamFigures
from server.cluster import view as cluster_view
from tests.server.conftest import Client, Served, exchange, served
from tests.server.test_cluster_view import figures
from tests.web.accessibility import violations
from tests.web.browsing import PHONE, TIMEOUT_MS, open_page, save

__all__ = ["exchange", "served"]
pytestmark = pytest.mark.browser
STREAMS = [StreamFigures("spot:btcusdt@trade", 40), StreamFigures("spot:*@ticker", 7)]


class Neighbours:
    """Another replica and an ingestor, as they announce themselves; `silent` ends that."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._began = time.monotonic()
        self.dropped = 0
        self.troubles: dict[str, int] = {}
        self.lag_us = 1_500
        self._task = asyncio.create_task(self._speak())

    async def silence(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _speak(self) -> None:
        while True:
            up_s = time.monotonic() - self._began + 10
            told = figures(
                replica="app2",
                uptime_s=up_s,
                received_total=int(up_s * 900),
                delivered_total=int(up_s * 52_000),
                lagging=0,
                dropped_total=self.dropped,
                loop_lag_us=self.lag_us,
                memory_bytes=140_000_000,
                top_streams=STREAMS,
            )
            groups = {"spot:a": GroupFigures(3, subscribed=True, carriers=["ingestor1"])}
            feed = FeedFigures(up_s, "live", int(up_s * 900), 800, {"spot/stream": 2, "futures/market": 1}, groups)
            status = FeedStatus(
                "ingestor1",
                Source.SIMULATED,
                connected=True,
                streams=12,
                last_message_ms=time.time_ns() // 1_000_000,
                upstream=UpstreamFigures(opened=3, troubles=self.troubles),
                figures=feed,
            )
            await self._served.publisher.announce(FIGURES_TOPIC, encode(told))
            await self._served.publisher.announce(FEED_TOPIC, encode(status))
            await asyncio.sleep(0.3)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row", name=re.compile(f"^{re.escape(name)}"))


async def test_the_cluster_is_shown_live_with_what_is_wrong_and_what_happened(
    served: Served, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_view, "SILENT_AFTER_S", 4.0)
    client = Client()
    await client.connect(served.url, "websocket")
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    neighbours = Neighbours(served)
    page, errors = await open_page(browser, f"{served.url}/admin")
    now, journal = page.locator("#conditions"), page.locator("#journal")

    await expect(page.locator("[data-light=cluster]")).to_have_attribute("data-state", "connected", timeout=TIMEOUT_MS)
    await expect(page.locator("[data-replica]")).to_have_text("r1")
    await expect(row(page, "app2")).to_contain_text("serves", timeout=TIMEOUT_MS)
    await expect(row(page, "ingestor1")).to_contain_text("2 spot/stream, futures/market")
    await expect(row(page, "spot:btcusdt@trade")).to_contain_text(re.compile(r"41\s*2$"))
    await expect(page.locator("[data-total=clients]")).to_have_text("7")
    await expect(now).to_have_text("Nothing is wrong.", timeout=TIMEOUT_MS)

    neighbours.dropped, neighbours.troubles, neighbours.lag_us = 12, {"refused": 2}, 9_000_000
    await expect(journal).to_contain_text("app2: 12 messages dropped for slow clients", timeout=TIMEOUT_MS)
    await expect(journal).to_contain_text("ingestor1: refused on 2 connections to the exchange")
    await expect(now).to_contain_text("The event loop of app2 is 9000 ms late")
    await expect(page.get_by_role("img", name=re.compile("^Worst loop lag: .*9[.]0 s in "))).to_be_visible()
    assert await violations(page) == []
    await save(page, tmp_path, "operator")

    await neighbours.silence()
    await expect(now).to_contain_text(re.compile(r"app2 has said nothing for \d+ s"), timeout=TIMEOUT_MS)
    await expect(row(page, "app2")).to_contain_text("silent")
    await expect(page.locator("[data-total=replicas]")).to_have_text("1 of 2")
    await expect(journal).to_contain_text("Over: The event loop of app2 is 9000 ms late")

    await page.set_viewport_size(PHONE)
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert await violations(page) == []
    assert errors == []
    await page.route("**/cluster", lambda route: route.abort())
    light = page.locator("[data-light=cluster]")
    await expect(light).to_have_attribute("data-state", "disconnected", timeout=TIMEOUT_MS)
    await expect(light.locator("[data-age]")).to_have_text(re.compile(r"^\d+ s$"), timeout=TIMEOUT_MS)
    await client.io.disconnect()
    await page.close()
