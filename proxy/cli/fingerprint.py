"""`scim-witness fingerprint`: the name of a token in logs, incidents and metrics. The token comes on stdin, never in argv."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Final

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, settings_from
from proxy.cli.screen import Status
from proxy.core.credential import FINGERPRINT_HEX_DIGITS, TOKEN_LIMIT
from proxy.settings import Settings
from proxy.wire import StartFault
from proxy.wire.state import KEY_FILE, fingerprinter

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_HEX: Final = frozenset("0123456789abcdef")


@app.command()
def fingerprint(
    argument: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    config: ConfigOption = None,
) -> None:
    """Read a token from stdin and print its fingerprint: the name under which logs, metrics and incidents know it.

    scim-witness fingerprint < token.txt
    """
    if argument:
        screen.stop(
            "a token on the command line is seen by everybody on this machine and stays in the shell's history",
            "Give it on stdin: scim-witness fingerprint < FILE. Treat the token just typed as leaked",
            Status.USAGE,
        )
    settings = settings_from(config)
    screen.line(fingerprint_of(settings, read_token()))


def read_token() -> bytes:
    """Read a token from stdin, without echo on a terminal. Ends the command when there is none."""
    if sys.stdin.isatty():
        raw = getpass.getpass("Token (not shown): ").encode("utf-8", "surrogateescape")
    else:
        raw = sys.stdin.buffer.read(TOKEN_LIMIT + 3)
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not raw:
        screen.stop("stdin holds no token", "scim-witness fingerprint < FILE", Status.USAGE)
    if len(raw) > TOKEN_LIMIT or b"\n" in raw:
        screen.stop(f"stdin holds more than one token: it must be one line of at most {TOKEN_LIMIT} bytes", status=Status.USAGE)
    if raw[:7].lower() == b"bearer ":
        screen.say("The word Bearer was left out: it is not part of the token.", "yellow")
        raw = raw[7:]
    return raw


def fingerprint_of(settings: Settings, raw: bytes) -> str:
    """Return the fingerprint under the deployment's key. Ends the command when there is no key yet."""
    return fingerprints_of(settings, raw)[0]


def fingerprints_of(settings: Settings, raw: bytes) -> list[str]:
    """Return the fingerprint under the deployment's key, and those under the keys from before."""
    key = settings.state_dir.resolve() / KEY_FILE
    if settings.fingerprint_key is None and not key.exists():
        screen.stop(
            f"there is no fingerprint key yet ({key})",
            "It is made when the proxy first runs; name the same configuration with --config, or set fingerprint_key_file",
        )
    try:
        names = fingerprinter(settings, key.parent)
        return [names.of(raw), *names.former(raw)]
    except StartFault as fault:
        screen.stop(str(fault))


def is_fingerprint(text: str, shortest: int = FINGERPRINT_HEX_DIGITS) -> bool:
    """Tell whether a text is a fingerprint, or at least `shortest` digits of one."""
    return shortest <= len(text) <= FINGERPRINT_HEX_DIGITS and set(text) <= _HEX
