"""The pages of the running demo in Debian's Chromium: nothing forbidden, all accessible, what matters on the first screen.

The program is the one that a person starts with `scim-witness demo`; nothing here is scripted. Screenshots are kept in
var/screenshots (ignored by git) for a person to look at; docs/images/incident.png is one of them.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import urllib.request
from typing import Any, NamedTuple

import pytest
from playwright.async_api import async_playwright

from tests.demo.running import demo
from tests.servers.process import missing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SCREENSHOTS = pathlib.Path("var/screenshots")
AXE = pathlib.Path(__file__).with_name("vendor") / "axe.min.js"
SIZES = {"screen": (1280, 800), "phone": (390, 844)}
CAUSES = {"acme": "token_superseded", "globex": "token_expired", "hooli": "token_deleted"}


class Site(NamedTuple):
    """The operators' pages of the demo: their address, and an incident of each customer."""

    url: str
    incidents: dict[str, dict[str, Any]]

    def pages(self) -> dict[str, str]:
        """Every kind of page by name."""
        acme, nobody = self.incidents["acme"], self.incidents["_unknown"]
        return {
            "overview": "/",
            "incidents": "/incidents",
            "filtered": "/incidents?tenant=acme&reason=revoked",
            "none": "/incidents?tenant=nobody-of-that-name",
            "incident": f"/incidents/{acme['id']}",
            "stranger": f"/incidents/{nobody['id']}",
            "token": f"/tokens/{acme['fingerprint']}",
            "tenant": "/tenants/acme",
            "missing": "/incidents/none",
        }


@pytest.fixture(scope="module")
def site():
    """The running demo, once its last customers' refusals have arrived in the store."""
    with demo() as running:
        url = running.printed.operators.rstrip("/")
        with urllib.request.urlopen(f"{url}/api/v1/incidents?limit=50", timeout=20) as answer:  # noqa: S310 - our own
            listed = json.load(answer)["incidents"]
        yield Site(url, {incident["tenant"]: incident for incident in listed})


@pytest.fixture
async def chromium():
    program = shutil.which("chromium")
    if program is None:
        missing("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_page_loads_without_complaint_and_is_accessible(site, chromium, size, scheme):
    width, height = SIZES[size]
    # the policy forbids scripts from elsewhere, also the checker's: it alone is let past, what the pages bring is not
    context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in site.pages().items():
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message, of=complaints: of.append(message.text) if message.type != "info" else None)
        page.on("pageerror", lambda error, of=complaints: of.append(str(error)))
        answer = await page.goto(f"{site.url}{path}")
        assert (404 if name == "missing" else 200) == answer.status, name
        expected = [] if name != "missing" else [c for c in complaints if "404" in c]
        assert complaints == expected, name
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        await page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=name != "incident" or size == "phone")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("axe.run()")
        assert [] == [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]], name
        await page.close()
    await context.close()


@pytest.mark.parametrize("script", [True, False])
async def test_the_first_screen_holds_verdict_cause_timeline_and_next_step(site, chromium, script):
    context = await chromium.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=script)
    page = await context.new_page()
    for tenant, cause in CAUSES.items():
        await page.goto(f"{site.url}/incidents/{site.incidents[tenant]['id']}")
        for place in ("h1", "#timeline svg", "#cause .title", "#next .operator"):
            box = await page.locator(place).bounding_box()
            assert box is not None, (tenant, place)
            assert box["y"] + box["height"] <= 800, (tenant, place)
        assert cause in await page.locator("#cause").inner_text()
        assert await page.locator("button.copy").is_visible() is script


async def test_a_colleague_gets_from_the_overview_to_the_text_for_the_customer_without_script(site, chromium):
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.url}/")
    await page.click("nav >> text=Incidents")
    await page.select_option("select[name=reason]", "revoked")
    await page.click("text=Show")
    await page.click("text=Why?")
    assert page.url.endswith(site.incidents["acme"]["id"])
    assert "please enter the new one" in await page.locator(".customer").inner_text()
    await page.fill("#find", site.incidents["acme"]["fingerprint"])
    await page.press("#find", "Enter")
    assert "/tokens/" in page.url


async def test_keys_walk_through_the_list(site, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.url}/incidents")
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.closest('[data-row]') !== null")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "find"


async def test_what_is_printed_has_the_whole_story_and_no_controls(site, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.url}/incidents/{site.incidents['acme']['id']}")
    await page.emulate_media(media="print")
    assert await page.locator("h1").is_visible()
    assert await page.locator("#timeline svg").is_visible()
    assert not await page.locator(".copy").first.is_visible()
    assert not await page.locator("nav").is_visible()


async def test_on_a_phone_the_way_to_the_cause_is_in_sight(site, chromium):
    context = await chromium.new_context(viewport={"width": 390, "height": 844})
    page = await context.new_page()
    for path in ("/", "/incidents"):
        await page.goto(f"{site.url}{path}")
        for link in await page.locator("text=Why?").all():
            box = await link.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 390, path
