"""`scim-witness tenants`."""

from __future__ import annotations

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import ask, now

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tenants(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tenants that were seen, those heard of last first."""
    settings = settings_from(config)
    found = ask(settings, lambda reader: reader.tenants())
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        screen.as_json([{"tenant": tenant, "last": last} for tenant, last in ordered])
        return
    if not ordered:
        screen.say("No tenant was seen yet.")
        return
    moment = now()
    rows = ((tenant, times.short(last), times.ago(last, moment)) for tenant, last in ordered)
    screen.table(("TENANT", "LAST SEEN (UTC)", "AGO"), rows, ("cyan",))
