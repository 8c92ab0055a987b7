"""`scim-witness incidents`: list, show, tail, stats, export, verify."""

from __future__ import annotations

import typer

from proxy.cli.incidents_export import export
from proxy.cli.incidents_list import list_incidents, stats, tail
from proxy.cli.incidents_show import show
from proxy.cli.incidents_verify import verify_records

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
app.command(name="list")(list_incidents)
app.command(name="show")(show)
app.command(name="tail")(tail)
app.command(name="stats")(stats)
app.command(name="export")(export)
app.command(name="verify")(verify_records)


@app.callback()
def _group() -> None:
    """List, show, follow, count, export and verify incidents."""
