"""What axe-core finds in a page."""

from typing import Any

from playwright.async_api import Page

from tests.support.processes import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


async def violations(page: Page, within: str = "body") -> list[str]:
    """What axe finds below a selector, one line each."""
    await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate("within => axe.run(within)", within)
    return [
        f"{each['id']}: {node['target']} {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]
    ]
