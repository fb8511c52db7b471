"""`python -m tests.web.soak` (`make page-soak`): a page left open; its memory stays flat, its book never crosses.

A real browser shows a futures instrument beside the watchlist. The order book is checked in every animation frame,
memory is measured after garbage was collected, and in the middle the connection is cut once. One line a minute, then
one for each promise. `MINUTES` says how long (30). Exit status 1 when a promise is broken.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer
from playwright.async_api import CDPSession, Page, async_playwright, expect
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from loadtest.bench.drift import Measure, Point, Trend, trend_of
from tests.conftest import ARGUMENTS, CHROMIUM
from tests.support.processes import ROOT, free_port, tickcast
from tests.system.chaos.links import Link, Trouble
from tests.web.browsing import LADDER_CHECK, expect_figures, open_page

SAMPLE_S: Final = 15.0
"""How long between two measurements."""
DRAWN_MIN: Final = 1.0
"""How often a second the book is drawn at least, also on a busy machine; the exchange has ten changes a second."""
SETTINGS: Final = {"SIM_SYMBOLS": "20", "EXCHANGE": "simulate"}
PATH: Final = "/?market=futures&symbol=BTCUSDT"
MEASURES: Final = {
    # A chart keeps the candles that come, a book the levels that prices reach (10,000 a side).
    "JSHeapUsedSize": Measure("heap", "MB", 0.05, 2.0),
    "Nodes": Measure("nodes", "", 0.05, 50.0),
    "JSEventListeners": Measure("listeners", "", 0.05, 10.0),
}
"""What is watched, by Chromium's names."""
_MEGABYTE: Final = 1_000_000


class PageSoakSettings(BaseSettings):
    """The environment variables of `make page-soak`."""

    minutes: float = Field(default=30, ge=3, le=240, description="how long the page stays open")


class Sample(NamedTuple):
    """The page at one moment: figures by Chromium's names, and what the check of the ladder has found."""

    at_s: float
    figures: Mapping[str, float]
    check: Mapping[str, Any]


class Found(NamedTuple):
    """What a soak found."""

    samples: Sequence[Sample]
    errors: Sequence[str]
    cuts: int


def main() -> None:
    """Run the soak."""
    try:
        minutes = load_settings(PageSoakSettings).minutes
    except SettingsError as error:
        typer.echo(f"The soak cannot run: {error}", err=True)
        sys.exit(2)
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="page-soak-", dir=ROOT / ".run") as directory:
        found = asyncio.run(_soak(Path(directory), minutes * 60))
    sys.exit(0 if judge(found) else 1)


def judge(found: Found) -> bool:
    """Print the trends, then one line per promise; whether all hold."""
    trends = trends_of(found.samples)
    for trend in trends:
        typer.echo(trend.line)
    for error in found.errors:
        typer.echo(f"console: {error}")
    last = found.samples[-1]
    for wrong in last.check["wrong"]:
        typer.echo(f"book: {wrong}")
    drifting = [trend for trend in trends if trend.drifts]
    promises: dict[str, tuple[float, bool]] = {
        "trends": (len(trends), len(trends) == len(MEASURES)),
        "drifting": (len(drifting), not drifting),
        "console_errors": (len(found.errors), not found.errors),
        "book_wrong": (len(last.check["wrong"]), not last.check["wrong"]),
        "book_drawn": (last.check["drawn"], last.check["drawn"] >= DRAWN_MIN * last.at_s),
        "book_resyncs": (last.check["resyncs"], last.check["resyncs"] == found.cuts == 1),
        "book_in_sync": (float(last.check["state"] == "synced"), last.check["state"] == "synced"),
    }
    for name, (value, ok) in promises.items():
        typer.echo(f"PAGE {name} {value:.0f} {'ok' if ok else 'MISSED'}")
    return all(ok for _, ok in promises.values())


def trends_of(samples: Sequence[Sample]) -> list[Trend]:
    """The trend of each measure, where there are samples enough."""
    trends = []
    for name, measure in MEASURES.items():
        points = [Point(sample.at_s, sample.figures[name]) for sample in samples]
        trend = trend_of("page", measure, points)
        if trend is not None:
            trends.append(trend)
    return trends


async def _soak(directory: Path, seconds: float) -> Found:
    async with contextlib.AsyncExitStack() as running:
        server = running.enter_context(tickcast("run", free_port(), directory, SETTINGS))
        link = await running.enter_async_context(Link(free_port(), server.port))
        playwright = await running.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        running.push_async_callback(browser.close)
        page, errors = await open_page(browser, f"http://127.0.0.1:{link.port}{PATH}")
        await expect_figures(page)
        await page.evaluate(LADDER_CHECK.read_text())
        await expect(page.locator("#book-panel")).to_have_attribute("data-state", "synced")
        typer.echo(f"The page is open at {PATH}, for {seconds / 60:g} min")
        return await _watch(page, link, errors, seconds)


async def _watch(page: Page, link: Link, errors: list[str], seconds: float) -> Found:
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    samples: list[Sample] = []
    cuts = 0
    began = time.monotonic()
    told_minutes = 0
    while (at_s := time.monotonic() - began) < seconds:
        if not cuts and at_s > seconds / 2:
            link.impose(Trouble.RESET)
            link.heal()
            cuts += 1
            typer.echo("The connection was cut")
        samples.append(await _sample(page, session, began))
        if at_s // 60 > told_minutes:
            told_minutes += 1
            typer.echo(_line(told_minutes, samples[-1], errors))
        await asyncio.sleep(min(SAMPLE_S, max(0.0, seconds - at_s)))
    samples.append(await _sample(page, session, began))
    return Found(samples, errors, cuts)


async def _sample(page: Page, session: CDPSession, began: float) -> Sample:
    """Measure after a collection of garbage."""
    await session.send("HeapProfiler.collectGarbage")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    figures = {metric["name"]: float(metric["value"]) for metric in metrics if metric["name"] in MEASURES}
    figures["JSHeapUsedSize"] /= _MEGABYTE
    return Sample(time.monotonic() - began, figures, await page.evaluate("window.ladderCheck"))


def _line(minute: int, sample: Sample, errors: Sequence[str]) -> str:
    shown = ", ".join(f"{measure.name} {sample.figures[name]:.1f}" for name, measure in MEASURES.items())
    book = f"book drawn {sample.check['drawn']}, wrong {len(sample.check['wrong'])}, {sample.check['state']}"
    return f"{minute:>3} min: {shown}; {book}; {sample.check['frames']} frames; {len(errors)} errors"


if __name__ == "__main__":
    main()
