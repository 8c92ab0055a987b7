"""`scim-witness run`: the proxy, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

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


def run_alone(file: str) -> NoReturn:
    """Run without Typer, and end as under it. `file` is --config, empty if it was not given."""
    named = file or environment().get("SCIM_WITNESS_CONFIG", "")
    try:
        run(Path(named) if named else None)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)
