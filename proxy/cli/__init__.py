"""The command `scim-witness`: one file per command.

Here: what a person types and reads. Not here: any decision or reading of evidence, which the layers below do. A command's
data goes to stdout, everything else to stderr. A module is imported when its command is called, so that `--help` is quick.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final = {
    "run": "Run the proxy.",
    "demo": "Play an incident from 401 to answer; needs no server.",
    "explain": "Say why a request was refused: the cause, its evidence, what to do.",
    "replay": "Judge an incident again by what the sources say now.",
    "incidents": "List, show, follow, count, export and verify incidents.",
    "token": "Show what is remembered of a token.",
    "tenants": "List the tenants that were seen.",
    "last-seen": "Say when a tenant's last request came, and how it was answered.",
    "absence": "Say what arrived between two times, and for how much of it that is proven.",
    "audit": "List the tokens that will fail next, and why; for cron too.",
    "store": "Ping, migrate or purge the store of the evidence.",
    "check-config": "Check a configuration: every fault at once.",
    "doctor": "Check what the proxy stands on: backend, source, store, ports, disk.",
    "fingerprint": "Print the fingerprint of a token, which is read from stdin.",
    "health": "Ask the running proxy whether it is ready.",
    "version": "Print the version.",
}
"""Every command, in the order of `--help`, with its one line there."""

EPILOG: Final = (
    "Exit status: 0 done; 1 something failed or was found wrong; 2 usage or configuration; 3 not found; 4 the store cannot "
    "be reached; 5 a token source cannot. The configuration is --config, else $SCIM_WITNESS_CONFIG, else ./config/proxy.toml."
)


class _Lazy(MutableMapping[str, Any]):
    """The commands by name; a module is imported when its command is taken out."""

    def __init__(self) -> None:
        self._added: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._added:
            if name not in COMMANDS:
                raise KeyError(name)
            module = importlib.import_module(f"proxy.cli.{name.replace('-', '_')}")
            self._added[name] = typer.main.get_command(module.app)
            self._added[name].name = name
        return self._added[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": None})
        self.commands = _Lazy()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's interface
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's interface
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=_Commands,
    name="scim-witness",
    help="An authenticating reverse proxy for SCIM that bears witness: every 401 with the exact state of its token.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run the command that the arguments name; ends the process with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows `?`, not a traceback
    file = _file_of_run(sys.argv[1:])
    if file is None:
        app(prog_name="scim-witness")
    else:
        importlib.import_module("proxy.cli.run").run_alone(file)


def _file_of_run(arguments: Sequence[str]) -> str | None:
    """Return the file that `run` is given, empty if none is; None if Typer has to look at the arguments. Its parser brings
    pydantic, 8 MiB that a proxy would keep for as long as it runs."""
    match arguments:
        case ["run"]:
            return ""
        case ["run", "-c" | "--config", file] if file and not file.startswith("-"):
            return file
        case ["run", option] if option.startswith("--config="):
            return option.removeprefix("--config=") or None
    return None
