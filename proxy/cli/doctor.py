"""`scim-witness doctor`: what the proxy stands on, part by part; every fault with its fix."""

from __future__ import annotations

import asyncio
from typing import Final

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.doctor_checks import Group, examine
from proxy.core.finding import Level

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MARKS: Final = {Level.OK: ("ok", "green"), Level.WARNING: ("warn", "yellow"), Level.FAULT: ("FAULT", "bold red")}


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check what the proxy stands on: configuration, state directory, listeners, backend, sources (role, schema, hashing,
    clock), store (version, persistence). Exit status 1 when there is a fault; warnings alone are 0."""
    settings = settings_from(config)
    groups = asyncio.run(examine(settings))
    if as_json:
        screen.as_json([{"part": group.part, "findings": group.findings} for group in groups])
    else:
        for group in groups:
            tell(group)
    levels = [finding.level for group in groups for finding in group.findings]
    faults, warnings = levels.count(Level.FAULT), levels.count(Level.WARNING)
    if faults or warnings:
        screen.say(f"{faults} fault{'s' if faults != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}.")
    if faults:
        raise typer.Exit(int(screen.Status.FAILED))


def tell(group: Group) -> None:
    """Write one part and what was found, every fault with its fix."""
    screen.line(group.part, "bold")
    for finding in group.findings:
        mark, style = _MARKS[finding.level]
        screen.line(f"  {mark:<6}{finding.what}", style if finding.level is not Level.OK else "")
        if finding.fix:
            screen.line(f"        -> {finding.fix}")
