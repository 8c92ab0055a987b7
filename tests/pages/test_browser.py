"""The pages in Debian's Chromium: nothing forbidden, nothing inaccessible, and what matters on the first screen.

Screenshots are kept in var/screenshots (ignored by git) for a person to look at.
"""

from __future__ import annotations

import pathlib
import shutil

import pytest
from playwright.async_api import async_playwright

from tests.pages.world import FINGERPRINT
from tests.servers.process import missing

pytestmark = pytest.mark.browser

SCREENSHOTS = pathlib.Path("var/screenshots")
AXE = pathlib.Path(__file__).with_name("vendor") / "axe.min.js"
SIZES = {"screen": (1280, 800), "phone": (390, 844)}


@pytest.fixture
async def chromium():
    program = shutil.which("chromium")
    if program is None:
        missing("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


def paths(world):
    return {
        "overview": "/",
        "incidents": "/incidents",
        "incident": f"/incidents/{world.incident.id}",
        "stranger": f"/incidents/{world.stranger.id}",
        "token": f"/tokens/{FINGERPRINT}",
        "tenant": "/tenants/acme",
        "missing": "/incidents/none",
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_page_loads_without_complaint_and_is_accessible(world, chromium, size, scheme):
    width, height = SIZES[size]
    # the policy forbids scripts from elsewhere, also the checker's: it alone is let past, what the pages bring is not
    context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in paths(world).items():
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message, of=complaints: of.append(message.text) if message.type != "info" else None)
        page.on("pageerror", lambda error, of=complaints: of.append(str(error)))
        answer = await page.goto(f"http://127.0.0.1:{world.port}{path}")
        expected = [] if name != "missing" else [c for c in complaints if "404" in c]
        assert complaints == expected, name
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        await page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("axe.run()")
        assert [] == [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]], name
        await page.close()


@pytest.mark.parametrize("script", [True, False])
async def test_the_first_screen_holds_verdict_cause_timeline_and_next_step(world, chromium, script):
    context = await chromium.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=script)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{world.port}/incidents/{world.incident.id}")
    for place in ("h1", "#timeline svg", "#cause .title", "#next .operator"):
        box = await page.locator(place).bounding_box()
        assert box is not None, place
        assert box["y"] + box["height"] <= 800, place
    assert await page.locator("button.copy").is_visible() is script


async def test_keys_and_links_lead_on_without_script_too(world, chromium):
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{world.port}/incidents")
    await page.select_option("select[name=reason]", "revoked")
    await page.click("text=Show")
    await page.click("text=Why?")
    assert page.url.endswith(world.incident.id)
    scripted = await (await chromium.new_context()).new_page()
    await scripted.goto(f"http://127.0.0.1:{world.port}/incidents")
    await scripted.keyboard.press("j")
    assert await scripted.evaluate("document.activeElement.closest('[data-row]') !== null")
    await scripted.keyboard.press("/")
    assert await scripted.evaluate("document.activeElement.id") == "find"
