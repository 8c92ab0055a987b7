"""`scim-witness store`: ping, migrate, purge."""

from __future__ import annotations

import typer

from proxy.cli.store_migrate import migrate_store
from proxy.cli.store_ping import ping
from proxy.cli.store_purge import purge_store

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
app.command(name="ping")(ping)
app.command(name="migrate")(migrate_store)
app.command(name="purge")(purge_store)


@app.callback()
def _group() -> None:
    """Ping, migrate or purge the store of the evidence."""
