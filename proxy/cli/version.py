"""`scim-witness version`."""

from __future__ import annotations

import platform

import typer

from proxy import __version__, compiled
from proxy.cli import screen
from proxy.cli.configuration import JsonOption

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version, and whether the program runs compiled or plain."""
    python, code = platform.python_version(), compiled.said()
    if as_json:
        screen.as_json({"version": __version__, "python": python, "code": code, "platform": platform.platform()})
    else:
        screen.line(f"scim-witness {__version__} (Python {python}, {code})")
