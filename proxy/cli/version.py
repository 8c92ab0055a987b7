"""`scim-witness version`."""

from __future__ import annotations

import platform

import typer

from proxy import __version__
from proxy.cli import screen
from proxy.cli.configuration import JsonOption

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    if as_json:
        screen.as_json({"version": __version__, "python": platform.python_version(), "platform": platform.platform()})
    else:
        screen.line(f"scim-witness {__version__} (Python {platform.python_version()})")
