"""The pages over evidence in a real store: what stands on them, in which order, and what never does."""

from __future__ import annotations

import html
import re
import time

import msgspec

from proxy.core.exchange import AnsweredBy
from proxy.core.incident import new_id
from proxy.core.token import Known, Reading
from proxy.evidence.history import History
from tests.pages.world import DAY, FINGERPRINT, HOSTILE, incident_at


async def page(world, path, status=200):
    async with world.client.get(path) as answer:
        text = await answer.text()
        assert (status, answer.content_type) == (answer.status, "text/html"), text
        return text


async def test_the_incident_page_tells_all_in_its_order(world):
    text = html.unescape(await page(world, f"/incidents/{world.incident.id}"))
    parts = [
        "this proxy answered 401: The access token was revoked.", "Who decided", "Then and now", "The token's life",
        "Cause: <code>token_superseded", "Next step", "For the customer", 'id="request"', "Where the time went", "Beside it",
        "Take it with you",
    ]  # fmt: skip
    places = [text.find(part) for part in parts]
    assert places == sorted(places)
    assert -1 not in places


async def test_the_overview_tells_speed_breakers_and_whose_tokens_will_fail(world):
    now = time.time()
    row = Known(7, "acme", now - 100 * DAY, int(103 * DAY), owner="5")
    history = History(world.store, "one")
    history.saw(msgspec.structs.replace(world.incident.exchange, at=now, status=200, answered_by=AnsweredBy.BACKEND))
    history.noted(FINGERPRINT, Reading(row, "doorkeeper", "primary", now))
    await history.flush()
    await history.flush()
    text = html.unescape(await page(world, "/"))
    assert "95 % within 12.3 ms" in text
    assert "95 % within 4.2 ms" in text
    assert "breaker open" in text
    assert "tokens of <b>1</b> will fail" in text
    assert re.search(r'class="risk">1 expire <time[^>]*>in (3 d|2 d 23 h)', text)


async def test_then_is_the_record_and_now_is_a_fresh_look_and_what_differs_is_marked(world):
    text = await page(world, f"/incidents/{world.incident.id}")
    rows = re.findall(r'<tr( class="differs")?><th scope="row">(\w+)</th><td>([^<]*)</td>', text)
    assert {("state", "revoked", True), ("scopes", "scim", False)} <= {(field, then, bool(mark)) for mark, field, then in rows}
    assert "changed: </span>alive" in text
    assert world.source.asked == 1


async def test_the_life_of_the_token_is_drawn_and_listed(world):
    text = await page(world, f"/incidents/{world.incident.id}")
    for kind in ("created", "good", "ended", "successor", "incident", "reread"):
        assert f'<g class="event {kind}">' in text, kind
    assert 1 == len(re.findall("<svg class=.life.", text))


async def test_what_a_client_wrote_is_text_and_never_markup(world):
    for path in (f"/incidents/{world.incident.id}", f"/find?q={HOSTILE}", f"/incidents?tenant={HOSTILE}"):
        assert HOSTILE not in await page(world, path)


async def test_nothing_is_inline_that_the_policy_forbids(world):
    for path in ("/", "/incidents", f"/incidents/{world.incident.id}", f"/tokens/{FINGERPRINT}", "/tenants/acme"):
        text = await page(world, path)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=)|https?://(?!127|backend|PROXY|www.w3.org)", text), (
            path
        )


async def test_a_stranger_without_a_token_has_a_page_too(world):
    text = await page(world, f"/incidents/{world.stranger.id}")
    assert "header_missing" in text
    assert "no state to compare" in text
    assert "<b>1 of 1</b> known tenants" in text


async def test_the_list_groups_and_filters_by_address(world):
    assert "2 groups of 2 incidents" in await page(world, "/incidents")
    only = await page(world, "/incidents?reason=revoked&tenant=acme")
    assert "1 group of 1 incident:" in only
    assert 'value="acme"' in only
    assert "None matches" in await page(world, "/incidents?reason=expired")
    assert "32 hex digits" in await page(world, "/incidents?token=a-token-pasted-by-mistake", 400)


async def test_repeats_of_one_trouble_are_one_group(world):
    for second in range(3):
        world.witness.record(incident_at(world.incident.at + second + 1))
    text = await page(world, "/incidents?tenant=acme")
    assert "1 group of 4 incidents" in text


async def test_deep_links_and_search(world):
    for path in (f"/i/{world.incident.id.lower()}", f"/find?q={world.incident.id}"):
        async with world.client.get(path, allow_redirects=False) as answer:
            assert (302, f"/incidents/{world.incident.id}") == (answer.status, answer.headers["Location"])
    for word, place in ((FINGERPRINT, f"/tokens/{FINGERPRINT}"), ("//evil.example", "/tenants/%2F%2Fevil.example")):
        async with world.client.get("/find", params={"q": word}, allow_redirects=False) as answer:
            assert answer.headers["Location"] == place


async def test_tenant_tells_of_silence_with_its_proven_share(world):
    text = await page(world, "/tenants/acme")
    assert "1 requests of acme arrived" in text
    assert "0.00 %" in text
    nobody = await page(world, "/tenants/nobody%20there")
    assert "No request of nobody there is on record" in nobody
    assert ("Nobody of this name was ever seen" in nobody, "Nobody of this name" in text) == (True, False)
    assert "absence --tenant &#39;nobody there&#39; --from 7d" in nobody
    assert "refused" in text


async def test_what_is_not_there_is_said_with_what_to_do(world):
    assert "store.retention_days" in await page(world, f"/incidents/{new_id(1.0, 'acme')}", 404)
    assert "no such incident" in await page(world, "/incidents/nonsense", 404)
    assert "Nothing is remembered" in await page(world, "/tokens/" + "0" * 32)
    assert "never by itself" in await page(world, "/tokens/a-token", 400)


async def test_of_a_token_that_no_source_has_known_it_is_not_said_that_it_never_came(world):
    guess = incident_at(world.incident.at + 1, "_unknown", fingerprint="9" * 32, reason="unknown", history=None)
    world.witness.record(guess)
    text = await page(world, f"/tokens/{guess.fingerprint}")
    assert "No source has known it here" in text
    assert f'href="/incidents/{guess.id}"' in text
    assert "never presented" not in text


async def test_a_store_that_is_away_is_said_and_the_spool_still_shown(world):
    world.stop_store()
    text = await page(world, f"/incidents/{world.incident.id}")
    assert "Not all of the evidence could be read" in text
    assert "token_superseded" in text
    for path, status in (("/", 200), ("/incidents", 200), ("/tenants/acme", 503)):
        assert "The store does not answer" in await page(world, path, status), path


async def test_the_text_is_that_of_the_command_line(world):
    async with world.client.get(f"/incidents/{world.incident.id}/text") as answer:
        text = await answer.text()
    assert text.startswith(f"Incident {world.incident.id}, tenant acme\n")
    assert "For the customer (ready to paste)" in text


async def test_the_stream_sends_the_row_of_a_new_incident_and_of_no_other(world):
    async with world.client.get("/incidents/stream?tenant=acme") as answer:
        assert (200, "text/event-stream") == (answer.status, answer.content_type)  # from here on nothing is missed
        world.witness.record(incident_at(world.incident.at + 9, "globex"))
        newer = incident_at(world.incident.at + 10)
        world.witness.record(newer)
        event: list[str] = []
        while (line := (await answer.content.readline()).decode().rstrip("\n")) or not event:
            if not line.startswith(":") and line:
                event.append(line)
    fields = [line.partition(": ") for line in event]
    assert [("event", "incident"), ("id", newer.id)] == [(name, value) for name, _, value in fields[:2]]
    assert {"data"} == {name for name, _, _ in fields[2:]}
    row = "".join(value for _, _, value in fields[2:])
    assert row.startswith("<tr ")
    assert f'href="/incidents/{newer.id}"' in row
    assert "globex" not in row


async def test_a_name_with_markup_and_line_breaks_is_one_row_of_text(world):
    name = f"a\r\n\ndata: x\u2028{HOSTILE}"
    async with world.client.get("/incidents/stream") as answer:
        assert await answer.content.readline() == b": following\n"
        world.witness.record(incident_at(world.incident.at + 10, name))
        lines: list[str] = []
        while (line := await answer.content.readline()) != b"\n" or not lines:
            lines += [line.decode()] if not line.startswith(b":") and line != b"\n" else []
    assert all(re.match(r"(event|id|data): ", line) for line in lines)
    assert "\r" not in "".join(lines)
    assert HOSTILE not in "".join(lines)


async def test_the_parts_of_the_overview_refresh_by_themselves(world):
    whole = await page(world, "/")
    for part, heading in (("road", "The road"), ("record", "Open groups")):
        text = await page(world, f"/overview/{part}")
        assert heading in text
        assert "<html" not in text
        assert f'hx-get="/overview/{part}"' in whole
    world.stop_store()
    assert "The store does not answer" in await page(world, "/overview/record")
    assert "The road" in await page(world, "/overview/road")
