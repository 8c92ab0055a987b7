"""`incidents list`, `tail` and `stats`: many incidents, a line or a count each."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, command_for, settings_from
from proxy.cli.naming import never_seen
from proxy.cli.reading import ask, now, store_fix, store_trouble
from proxy.cli.screen import Status
from proxy.core.incident import Incident
from proxy.evidence.reader import EvidenceReader, Page

PAGE: Final = 200
"""Incidents read at once: one round trip of about 200 KB."""
COUNTED: Final = 20_000
"""Incidents that `stats` reads at most: about 20 MB, some seconds. It says when there were more."""
POLL: Final = 1.0
"""Seconds between two looks of `tail`."""

TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Only this tenant's.")]
TokenOption = Annotated[str | None, typer.Option("--token", metavar="FINGERPRINT", help="Only this token's.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only newer ones: 2h, 3d, 2026-11-24T16:00.")]


def list_incidents(
    tenant: TenantOption = None,
    token: TokenOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many at most.")] = 50,
    before: Annotated[str | None, typer.Option("--before", metavar="CURSOR", help="Go on behind this incident.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List incidents, newest first."""
    settings = settings_from(config)
    start = _instant(since)
    found = ask(settings, lambda reader: _collect(reader, tenant, _fingerprint(token), start, before, limit))
    if found.store_error:
        why = store_trouble(settings, found.store_error)
        screen.say(f"The store cannot be reached ({why}): only what lies in the spool is shown.", "yellow")
        screen.say(f"  {store_fix(settings)}")
    empty = not found.incidents and not found.store_error
    if tenant is not None and empty and (nobody := ask(settings, lambda reader: never_seen(reader, tenant, config))):
        screen.say(nobody, "yellow")
    if as_json:
        screen.as_json({"incidents": found.incidents, "next": found.before, "store_error": found.store_error})
    else:
        _show(found, config)
    if found.store_error:
        raise typer.Exit(int(Status.STORE))


def tail(
    tenant: TenantOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write incidents as they come, until Ctrl-C. With --json one record per line."""
    settings = settings_from(config)
    ask(settings, lambda reader: _follow(reader, tenant, _fingerprint(token), as_json=as_json))


def stats(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="From when on: 2h, 3d, 2026-11-24T16:00.")] = "24h",
    tenant: TenantOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count incidents by reason, tenant and who refused."""
    settings = settings_from(config)
    start = _instant(since)
    found = ask(settings, lambda reader: _collect(reader, tenant, None, start, None, COUNTED))
    if found.store_error:
        why = store_trouble(settings, found.store_error)
        screen.stop(f"the store cannot be reached: {why}", store_fix(settings), Status.STORE)
    counts = {
        "reason": collections.Counter(i.reason for i in found.incidents),
        "tenant": collections.Counter(i.tenant for i in found.incidents),
        "kind": collections.Counter(str(i.kind) for i in found.incidents),
    }
    if as_json:
        total = {"total": len(found.incidents), "since": start, "complete": found.before is None}
        screen.as_json({**total, **{name: dict(counter) for name, counter in counts.items()}})
        return
    screen.line(f"{len(found.incidents)} incidents since {times.show(start)}", "bold")
    for name, counter in counts.items():
        screen.line()
        screen.table((name.upper(), "COUNT"), counter.most_common(20))
    if found.before is not None:
        screen.say(f"Only the newest {COUNTED} were counted.")


async def _collect(
    reader: EvidenceReader, tenant: str | None, token: str | None, since: float | None, before: str | None, limit: int
) -> Page:
    """Pages until `limit` or an incident older than `since`."""
    found: list[Incident] = []
    cursor, error = before, ""
    try:
        while len(found) < limit:
            page = await reader.incidents(tenant, token, cursor, min(PAGE, limit - len(found)))
            error = page.store_error
            young = [i for i in page.incidents if since is None or i.at >= since]
            found += young
            cursor = page.before
            if cursor is None or len(young) < len(page.incidents):
                return Page(tuple(found), None, error)
    except ValueError:
        screen.stop(f"--before {before} is no incident id", "Take it from the list before", Status.USAGE)
    return Page(tuple(found), cursor, error)


async def _follow(reader: EvidenceReader, tenant: str | None, token: str | None, *, as_json: bool) -> None:
    screen.say("Waiting for incidents; Ctrl-C ends it.")
    async for incident in _new(reader, tenant, token):
        if as_json:
            screen.as_json(incident, pretty=False)
        else:
            screen.line("  ".join(map(str, _cells(incident))))


async def _new(reader: EvidenceReader, tenant: str | None, token: str | None) -> AsyncIterator[Incident]:
    """Incidents that come after the first look, each once. Remembers the ids of the newest page only."""
    seen = {i.id for i in (await reader.incidents(tenant, token, limit=PAGE)).incidents}
    while True:
        await asyncio.sleep(POLL)
        newest = (await reader.incidents(tenant, token, limit=PAGE)).incidents
        for incident in reversed(newest):
            if incident.id not in seen:
                yield incident
        seen = {i.id for i in newest} | (seen if len(newest) < PAGE else set())


def _show(found: Page, config: Path | None) -> None:
    if not found.incidents:
        screen.say("No incidents." if not found.store_error else "The spool is empty.")
        return
    head = ("TIME (UTC)", "INCIDENT", "STATUS", "BY", "TENANT", "REASON", "OPERATION")
    screen.table(head, map(_cells, found.incidents), ("", "bold", "red", "", "cyan"))
    if found.before is not None:
        screen.say(f"More: --before {found.before}")
    screen.say(f"Why? {command_for(f'explain {found.incidents[0].id}', config)}")


def _cells(incident: Incident) -> tuple[object, ...]:
    said = incident.exchange
    reason = incident.reason if str(incident.kind) != "backend_refusal" else "backend refused"
    return times.short(incident.at), incident.id, said.status, said.answered_by, incident.tenant, reason, said.operation


def _instant(text: str | None) -> float | None:
    try:
        return None if text is None else times.parse(text, now())
    except ValueError as error:
        screen.stop(str(error), status=Status.USAGE)


def _fingerprint(text: str | None) -> str | None:
    """A fingerprint as given. Anything else is refused unseen: it may be a token."""
    if text is None:
        return None
    if len(text) != 32 or not set(text.lower()) <= set("0123456789abcdef"):
        screen.stop(
            "--token takes a fingerprint of 32 hex digits, never a token",
            "scim-witness fingerprint reads a token from stdin and prints its fingerprint",
            Status.USAGE,
        )
    return text.lower()
