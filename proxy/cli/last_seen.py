"""`scim-witness last-seen [TENANT]`: when a tenant's last request came, and how it was answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.naming import never_seen
from proxy.cli.reading import ask, now
from proxy.cli.screen import Status
from proxy.core.absence import LastRequest
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.silence import Mark

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Seen = list[tuple[str, LastRequest | None]]


@app.command()
def last_seen(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Whose; all of them if not given.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say when a tenant's last request came and how it was answered. The longest silent come first. Exit status 3: never."""
    settings = settings_from(config)
    found, silent, nobody = ask(settings, lambda reader: _of(reader, tenant, config))
    if as_json:
        screen.as_json([{"tenant": name, "last": last, "silence": silent.get(name)} for name, last in found])
    elif found:
        moment = now()
        head = ("TENANT", "LAST REQUEST (UTC)", "AGO", "STATUS", "BY", "REASON", "OPERATION", "INCIDENT", "STATE")
        rows = ((*_cells(name, last, moment), "silent" if name in silent else "") for name, last in found)
        screen.table(head, rows, ("cyan",))
    if tenant is not None and found[0][1] is None:
        screen.say(nobody or f"No request of {tenant} is on record.")
        raise typer.Exit(int(Status.NOT_FOUND))
    if not found:
        screen.say("No tenant was seen yet.")


async def _of(reader: EvidenceReader, tenant: str | None, config: Path | None) -> tuple[Seen, dict[str, Mark], str]:
    seen = await reader.tenants()
    names = [tenant] if tenant is not None else [name for name in seen if not name.startswith("_")]
    found = list(zip(names, await asyncio.gather(*(reader.last_request(name) for name in names)), strict=True))
    silent = await reader.silences({name: seen[name] for name in names if name in seen})
    nobody = await never_seen(reader, tenant, config) if tenant is not None else ""
    return sorted(found, key=lambda pair: (pair[1].at if pair[1] else 0.0, pair[0])), silent, nobody


def _cells(name: str, last: LastRequest | None, moment: float) -> tuple[object, ...]:
    if last is None:
        return name, "never", "", "", "", "", "", ""
    age = times.ago(last.at, moment)
    return name, times.short(last.at), age, last.status, last.answered_by, last.reason, last.operation, last.incident
