"""`scim-witness check-config [FILE]`: every fault at once, with line and fix. Starts nothing, connects to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, located
from proxy.settings import Fault, SettingsFault, environment, load
from proxy.settings.toml_lines import lines_of
from proxy.wire.named_files import Found, look_at_files

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def check_config(
    file: Annotated[Path | None, typer.Argument(help="The file to check; default as for every command.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration: every fault at once, with its line and the likely spelling. Exit status 2 when there is one."""
    path = located(file or config)
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    try:
        settings = load(path, environment())
        found = list(look_at_files(settings))
        warnings = (*settings.warnings, *_at_their_lines(path, [one for one in found if one.starts]))
        faults = _at_their_lines(path, [one for one in found if not one.starts])
    except SettingsFault as fault:
        faults = fault.faults
    if as_json:
        screen.as_json({"file": str(path or ""), "faults": _plain(faults), "warnings": _plain(warnings)})
    else:
        _tell(path, faults, warnings)
    if faults:
        raise typer.Exit(int(screen.Status.USAGE))


def _at_their_lines(path: Path | None, found: list[Found]) -> tuple[Fault, ...]:
    lines = lines_of(path.read_text(encoding="utf-8-sig")) if found and path is not None else {}
    where = str(path or "environment")
    return tuple(Fault(where, lines.get(tuple(one.key.split("."))), one.key, one.message, one.fix) for one in found)


def _tell(path: Path | None, faults: tuple[Fault, ...], warnings: tuple[Fault, ...]) -> None:
    for warning in warnings:
        screen.line(f"warning: {warning}", "yellow")
    for fault in faults:
        screen.line(str(fault), "red")
    if faults:
        screen.say(f"{len(faults)} fault{'s' if len(faults) != 1 else ''}.", "bold red")
    else:
        screen.line(f"{path or 'the environment'}: good.", "green")


def _plain(faults: tuple[Fault, ...]) -> list[dict[str, object]]:
    return [fault._asdict() for fault in faults]
