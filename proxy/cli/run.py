"""`scim-witness run`: the proxy, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, located, settings_from
from proxy.settings import environment
from proxy.supervise import serving
from proxy.wire import StartFault

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the proxy until SIGTERM or Ctrl-C. Exit status: 0 stopped in order; 1 could not start; 2 configuration faults."""
    settings = settings_from(config)
    for warning in settings.warnings:
        screen.say(f"warning: {warning}", "yellow")
    try:
        serving.run(settings, located(config), environment(), screen.say)
    except StartFault as error:
        screen.stop(str(error))
