"""`scim-witness tenants`."""

from __future__ import annotations

import asyncio

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import ask, now
from proxy.cli.setups import setups, told
from proxy.core.setup import SetupFinding
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.silence import Mark

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tenants(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tenants that were seen, those heard of last first."""
    settings = settings_from(config)
    found, silent, kinds = ask(settings, _seen)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        screen.as_json(
            [
                {"tenant": tenant, "last": last, "silence": silent.get(tenant), "setup": kinds.get(tenant)}
                for tenant, last in ordered
            ]
        )
        return
    if not ordered:
        screen.say("No tenant was seen yet.")
        return
    moment = now()
    rows = (
        (
            tenant,
            times.short(last),
            times.ago(last, moment),
            "silent" if tenant in silent else "",
            told(kinds.get(tenant)),
        )
        for tenant, last in ordered
    )
    screen.table(("TENANT", "LAST SEEN (UTC)", "AGO", "STATE", "SET-UP"), rows, ("cyan", "", "", "yellow"))


async def _seen(reader: EvidenceReader) -> tuple[dict[str, float], dict[str, Mark], dict[str, SetupFinding]]:
    found = await reader.tenants()
    latest = sorted(found, key=lambda tenant: (-found[tenant], tenant))
    return await _to_the_second(reader, found), await reader.silences(found), await setups(reader, latest)


async def _to_the_second(reader: EvidenceReader, found: dict[str, float]) -> dict[str, float]:
    """The same times as `last-seen` tells: what the list itself holds of activity is the beginning of its minute."""
    last = await asyncio.gather(*(reader.last_request(tenant) for tenant in found))
    return {tenant: max(at, said.at if said else 0.0) for (tenant, at), said in zip(found.items(), last, strict=True)}
