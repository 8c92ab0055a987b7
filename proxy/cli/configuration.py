"""The configuration of a command: --config, else $SCIM_WITNESS_CONFIG, else ./config/proxy.toml, plus the environment."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from proxy.cli import screen
from proxy.settings import Settings, SettingsFault, environment, load

DEFAULT: Final = Path("config/proxy.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="SCIM_WITNESS_CONFIG",
        show_envvar=False,
        help="The configuration file; default $SCIM_WITNESS_CONFIG, then ./config/proxy.toml.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def settings_from(path: Path | None) -> Settings:
    """Load the settings; every fault is said and the command ends with status 2."""
    try:
        return load(located(path), environment())
    except SettingsFault as fault:
        say_faults(fault)
        if located(path) is None:
            screen.say(f"No --config, no $SCIM_WITNESS_CONFIG and no {DEFAULT} here: only the environment was read.")
        raise typer.Exit(int(screen.Status.USAGE)) from None


def located(path: Path | None) -> Path | None:
    """The file that is meant. None: no file, only the environment."""
    if path is not None:
        return path
    return DEFAULT if DEFAULT.exists() else None


def command_for(words: str, config: Path | None) -> str:
    """Return a command to suggest, such that it finds the same configuration when it is pasted."""
    named = config is not None and environment().get("SCIM_WITNESS_CONFIG") != str(config)
    return f"scim-witness {words}{f' --config {shlex.quote(str(config))}' if named else ''}"


def say_faults(fault: SettingsFault) -> None:
    """Write every fault with its place and its fix, and how many there are."""
    for one in fault.faults:
        screen.say(str(one))
    count = len(fault.faults)
    screen.say(f"{count} fault{'s' if count != 1 else ''} in the configuration; nothing was started.", "bold red")
