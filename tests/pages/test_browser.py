"""The pages of the running demo in Debian's Chromium: nothing forbidden, all accessible, what matters on the first screen.

The program is the one that a person starts with `scim-witness demo`; nothing here is scripted. Screenshots are kept in
var/screenshots (ignored by git) for a person to look at; docs/images/incident.png is one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import pathlib
import re
import secrets
import shutil
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright

from proxy.evidence.shipper import Shipper
from proxy.evidence.writes import Keep
from tests.demo.running import demo
from tests.pages.world import incident_at
from tests.servers.process import missing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SCREENSHOTS = pathlib.Path("var/screenshots")
AXE = pathlib.Path(__file__).with_name("vendor") / "axe.min.js"
SIZES = {"screen": (1280, 800), "phone": (390, 844)}
PATIENCE = 40.0
"""Seconds until a test calls it a hang; a refresh comes within ten."""
CAUSES = {"acme": "token_superseded", "globex": "token_expired", "hooli": "token_deleted"}


class Site(NamedTuple):
    """The operators' pages of the demo: their address, the proxy's, and an incident of each customer."""

    url: str
    proxy: str
    incidents: dict[str, dict[str, Any]]

    def refuse(self) -> str:
        """Be a stranger who is refused; return the incident's id."""
        with contextlib.closing(http.client.HTTPConnection(urlsplit(self.proxy).netloc, timeout=20)) as connection:
            connection.request("GET", "/scim/v2/Users", headers={"Authorization": f"Bearer a-stranger-{secrets.token_hex(16)}"})
            answer = connection.getresponse()
            answer.read()
        assert 401 == answer.status
        return answer.headers["X-Incident-Id"]

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
        yield Site(url, running.printed.proxy, {incident["tenant"]: incident for incident in listed})


@pytest.fixture
async def chromium():
    program = shutil.which("chromium")
    if program is None:
        missing("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


async def violations(page) -> list[tuple[str, str]]:
    """What axe-core finds on a page as it is now."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]]


async def until(page, expression: str, given: object = None) -> None:
    """Wait until an expression is true on the page. Playwright's own way would evaluate it there, which the policy forbids."""
    async with asyncio.timeout(PATIENCE):
        while not await page.evaluate(expression, given):
            await asyncio.sleep(0.05)


def complaints_of(page) -> list[str]:
    """What the page will have written to the console: errors, and what its policy forbids."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "info" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_page_loads_without_complaint_and_is_accessible(site, chromium, size, scheme):
    width, height = SIZES[size]
    # the policy forbids scripts from elsewhere, also the checker's: it alone is let past, what the pages bring is not
    context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in site.pages().items():
        page = await context.new_page()
        complaints = complaints_of(page)
        answer = await page.goto(f"{site.url}{path}")
        assert (404 if name == "missing" else 200) == answer.status, name
        assert "default-src 'none'; script-src 'self'; style-src 'self'; " in answer.headers["content-security-policy"]
        await page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=name != "incident" or size == "phone")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        assert [] == await violations(page), name
        expected = [] if name != "missing" else [c for c in complaints if "404" in c]
        assert complaints == expected, name
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


# --- what scripts add ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/tenants/acme"])
async def test_charts_are_drawn_by_the_server_and_with_scripts_by_uplot(site, chromium, path):
    plain = await (await chromium.new_context(java_script_enabled=False)).new_page()
    await plain.goto(f"{site.url}{path}")
    assert await plain.locator("figure.chart svg").first.is_visible()
    assert 0 == await plain.locator("canvas").count()
    await plain.close()
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"{site.url}{path}")
    charts = await page.locator("figure.chart").count()
    assert charts >= 2
    assert charts == await page.locator("figure.chart canvas").count()
    for canvas in await page.locator("figure.chart canvas").all():
        assert await canvas.is_visible()
        painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(octet => octet)"
        assert await canvas.evaluate(painted)
    assert not await page.locator("figure.chart svg").first.is_visible()
    await page.emulate_media(media="print")
    assert await page.locator("figure.chart svg").first.is_visible()
    assert not await page.locator("canvas").first.is_visible()
    assert [] == complaints


async def test_a_chart_is_read_with_keys_and_its_values_are_in_words(site, chromium):
    site.refuse()
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.url}/")
    plot = page.get_by_role("slider", name="Requests, by the minute")
    summary = await plot.get_attribute("aria-valuetext")
    assert summary.startswith("Highest in a minute: ")
    await plot.focus()
    for key, place in (
        ("Home", "0"),
        ("ArrowRight", "1"),
        ("PageDown", "11"),
        ("ArrowLeft", "10"),
        ("End", "119"),
        ("End", "119"),
    ):
        await page.keyboard.press(key)
        assert place == await plot.get_attribute("aria-valuenow"), key
    spoken = await plot.get_attribute("aria-valuetext")
    assert re.fullmatch(r"\d\d:\d\d UTC: \d+", spoken)
    assert spoken == await page.locator("#chart-requests figcaption").inner_text()
    await page.keyboard.press("Escape")
    assert summary == await plot.get_attribute("aria-valuetext")
    await page.click("text=As a table")
    assert re.search(r"\d\d:\d\d\t\d+\t\d+\t[\d.]+ ms", await page.locator("#by-minute").inner_text())
    assert [] == await violations(page)


async def test_colours_follow_the_scheme_while_the_page_is_open(site, chromium):
    page = await (await chromium.new_context(color_scheme="light")).new_page()
    await page.goto(f"{site.url}/tenants/acme")  # which does not refresh
    picture = "document.querySelector('#chart-requests canvas').toDataURL()"
    light = await page.evaluate(picture)
    await page.emulate_media(color_scheme="dark")
    await until(page, f"before => {picture} !== before", light)


async def test_the_overview_refreshes_itself_and_leaves_in_peace_what_is_read(site, chromium):
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"{site.url}/")
    await page.evaluate("window.here = 1; window.sent = []; "
                        "document.addEventListener('htmx:beforeSend', event => sent.push(event.target.id))")  # fmt: skip
    seen = "() => Number(document.querySelector('#incidents .big').textContent)"
    before = await page.evaluate(seen)
    await page.click("text=As a table")
    await page.evaluate("document.activeElement.blur()")
    site.refuse()
    await until(page, f"before => ({seen})() > before", before)  # by itself, within ten seconds
    assert 1 == await page.evaluate("window.here")
    assert await page.locator("#by-minute[open]").is_visible()
    canvases = page.locator("#road-now canvas")
    assert 3 == await canvases.count()
    assert await canvases.first.is_visible()
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await until(page, "['road-now', 'record-now'].every(id => sent.includes(id))")
    nudge = "sent.length = 0, document.dispatchEvent(new Event('visibilitychange')), sent.join(' ')"
    await until(page, "!document.querySelector('.htmx-request')")
    await page.focus("#chart-requests-plot")
    assert "record-now" == await page.evaluate(nudge)
    await until(page, "!document.querySelector('.htmx-request')")
    await page.click("#refresh")
    assert "" == await page.evaluate(nudge)
    assert [] == complaints


async def answered(answer, route):
    """Answer in place of the proxy, or not at all."""
    await (route.fulfill(**answer) if answer else route.abort())


async def test_a_refresh_that_fails_is_said_until_one_does_not(site, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.url}/")
    nudge = "document.dispatchEvent(new Event('visibilitychange'))"
    for answer, words in (({"status": 503, "body": "no"}, "it answered 503"), (None, "it does not answer")):
        await page.route("**/overview/*", functools.partial(answered, answer))
        await page.evaluate(nudge)
        await until(page, "words => document.getElementById('stale').textContent.includes(words)", words)
        assert await page.locator("#stale").is_visible()
        assert re.fullmatch(r"Not refreshed since \d\d:\d\d:\d\d UTC: .+\.", await page.locator("#stale").inner_text())
        assert await page.locator("#road").is_visible()
        await until(page, "!document.querySelector('.htmx-request')")
        await page.unroute("**/overview/*")
        await page.evaluate(nudge)
        await until(page, "document.getElementById('stale').hidden")
        await until(page, "!document.querySelector('.htmx-request')")


async def test_the_tail_gets_a_row_for_each_new_incident(site, chromium):
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"{site.url}/incidents")
    await until(page, "document.querySelector('[data-tail]').textContent === 'following'")
    assert not await page.locator(".tail table").is_visible()
    first = site.refuse()
    await page.wait_for_selector(f".tail tbody tr a[href='/incidents/{first}']")
    second = site.refuse()
    await page.wait_for_selector(f".tail tbody tr:first-child a[href='/incidents/{second}']")
    assert [] == await violations(page)
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.closest('.tail') !== null")
    await page.evaluate("window.here = 1")
    await page.click("text=Bring the groups up to date")
    await page.wait_for_selector(f".page a[href='/incidents/{second}']")
    assert 0 == await page.locator(".tail tbody tr").count()
    assert 1 == await page.evaluate("window.here")
    await until(page, "document.querySelector('[data-tail]').textContent === 'following'")
    assert [] == complaints


async def test_a_tail_that_was_cut_says_so_and_offers_what_came_meanwhile(world, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"http://127.0.0.1:{world.port}/incidents")
    state = "document.querySelector('[data-tail]').textContent"
    await until(page, f"{state} === 'following'")
    await world.listener.stop()
    await until(page, f"{state} === 'not following, trying again'")
    missed = incident_at(world.incident.at + 10)
    world.witness.record(missed)
    again = world.listen(world.port)
    await again.start()
    try:
        await until(page, f"{state}.startsWith('following again')")
        await page.click("text=Bring the groups up to date")
        await page.wait_for_selector(f".page a[href='/incidents/{missed.id}']")
        await until(page, f"{state} === 'following'")
        newer = incident_at(world.incident.at + 11)
        world.witness.record(newer)
        await page.wait_for_selector(f".tail a[href='/incidents/{newer.id}']")
        await page.close()
    finally:
        await again.stop()


async def test_a_flood_does_not_fill_the_page(world, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"http://127.0.0.1:{world.port}/incidents")
    await until(page, "document.querySelector('[data-tail]').textContent === 'following'")
    at = world.incident.at + 10
    for batch in range(3):
        ids = [incident_at(at + batch * 40 + number, fingerprint=f"{number:032x}") for number in range(40)]
        for one in ids:
            world.witness.record(one)
        await page.wait_for_selector(f".tail a[href='/incidents/{ids[-1].id}']")
    assert 100 == await page.locator(".tail tbody tr").count()


async def test_filters_change_the_list_and_the_address_and_nothing_is_kept_in_the_browser(site, chromium):
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"{site.url}/incidents")
    await page.evaluate("window.here = 1")
    await page.select_option("select[name=reason]", "revoked")
    await page.wait_for_selector("#list :text('without filters')")
    assert ["revoked"] == await page.locator(".page [data-row] code:not(a code)").all_inner_texts()
    assert "reason=revoked" in page.url
    assert "reason=revoked" in await page.locator(".tail").get_attribute("sse-connect")
    assert "1 group of 1 incident" in await page.locator("#said").inner_text()
    assert 1 == await page.evaluate("window.here")
    assert "reason" == await page.evaluate("document.activeElement.name || 'reason'")
    held = await page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "<" not in held
    assert "Why?" not in held
    async with page.expect_event("load"):  # asked for anew: nothing of it was kept
        await page.go_back()
    assert 1 < await page.locator(".page [data-row]").count()
    assert page.url == f"{site.url}/incidents"
    assert [] == complaints


async def test_what_cannot_be_asked_is_said_as_without_scripts(site, chromium):
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{site.url}/incidents")
    await page.fill("input[name=token]", "a-token-pasted-by-mistake")
    await page.press("input[name=token]", "Enter")
    await page.wait_for_selector("text=This cannot be asked")
    assert "token=" in page.url


async def test_older_ones_are_added_below_and_the_keyboard_goes_on_there(world, chromium):
    for number in range(450):
        world.witness.record(incident_at(world.incident.at - 1 - number, fingerprint=f"{number:032x}"))
    assert await Shipper(world.spool, world.store, Keep()).flush(30)
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"http://127.0.0.1:{world.port}/incidents")
    await page.evaluate("window.here = 1")
    shown = 200
    for count in (400, 452):
        await page.focus("text=Older")
        await page.keyboard.press("Enter")
        await until(page, "count => document.querySelectorAll('.page [data-row]').length === count", count)
        row = "[...document.querySelectorAll('.page [data-row]')].indexOf(document.activeElement.closest('[data-row]'))"
        assert shown == await page.evaluate(row)
        shown = count
    assert 0 == await page.locator("text=Older").count()
    assert 1 == await page.evaluate("window.here")
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert [] == await violations(page)
    assert [] == complaints


async def test_the_span_of_a_tenant_changes_in_its_place(site, chromium):
    page = await (await chromium.new_context()).new_page()
    complaints = complaints_of(page)
    await page.goto(f"{site.url}/tenants/acme")
    await page.evaluate("window.here = 1")
    heading = await page.locator("#silence").inner_text()
    await page.focus("#days-30")
    await page.keyboard.press("Enter")
    await until(page, "before => document.getElementById('silence').innerText !== before", heading)
    assert page.url.endswith("?days=30")
    assert "days-30" == await page.evaluate("document.activeElement.id")
    assert 1 == await page.evaluate("window.here")
    assert [] == complaints
