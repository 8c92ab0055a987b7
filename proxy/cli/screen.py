"""What a command writes: data to stdout, talk to stderr; styled on a terminal, plain in a pipe, NO_COLOR respected.

Records hold bytes that strangers sent, so every text is cleaned of control characters before it reaches a terminal.
Rich is imported when something is styled, so that a proxy whose output nobody watches does not keep 4 MiB for it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console


class Status(enum.IntEnum):
    """Exit statuses, the same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    STORE = 4
    SOURCE = 5


_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A} | {
    code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""C0 and C1 controls, and those that turn the direction of text around. The line feed is kept where text has lines."""


def clean(text: str) -> str:
    """Return text that cannot move the cursor, colour the terminal or hide what it says."""
    return text.translate(_CONTROLS)


def line(text: str = "", style: str = "") -> None:
    """Write a line of data."""
    _write(sys.stdout, text, style)


def say(text: str = "", style: str = "") -> None:
    """Write a line of talk."""
    _write(sys.stderr, text, style)


def stop(what: str, fix: str = "", status: Status = Status.FAILED) -> NoReturn:
    """Say in one line what is wrong and in a second one what to do, and end the command."""
    say(f"scim-witness: {what}", "bold red")
    if fix:
        say(f"  {fix}")
    raise typer.Exit(int(status))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], styles: Sequence[str] = ()) -> None:
    """Write aligned columns; the last one is not padded. `styles` holds one per column."""
    from rich.text import Text  # noqa: PLC0415 - memory, see above

    cells = [[clean(str(cell)).replace("\n", " ") or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    widths[-1] = 0
    console = _console(sys.stdout)
    head = "  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True))
    console.print(Text(head, "bold"), soft_wrap=True)
    for row in cells:
        text = Text()
        for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
            text.append("  " if position else "")
            text.append(cell.ljust(width), styles[position] if position < len(styles) else "")
        console.print(text, soft_wrap=True)


def facts(pairs: Iterable[tuple[str, object]], indent: str = "") -> None:
    """Write names and values in two columns."""
    from rich.text import Text  # noqa: PLC0415 - memory, see above

    known = [(name, clean(str(value))) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in known), default=0)
    console = _console(sys.stdout)
    for name, value in known:
        text = Text(indent).append(name.ljust(width), "dim").append("  ")
        console.print(text.append(value.replace("\n", "\n" + " " * (len(indent) + width + 2))), soft_wrap=True)


def as_json(value: Any, *, pretty: bool = True) -> None:
    """Write a value as JSON. `pretty=False`: one line, for streams of records."""
    raw = msgspec.json.encode(value)
    text = (msgspec.json.format(raw) if pretty else raw).decode()
    sys.stdout.write(text.translate(_JSON_CONTROLS) + "\n")
    sys.stdout.flush()


_JSON_CONTROLS: Final = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x7F}
"""JSON escapes what is below space itself; the rest is escaped too, for it may be read on a terminal."""


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # noqa: PLC0415 - memory, see above

    return Console(file=stream, highlight=False)


def _write(stream: TextIO, text: str, style: str) -> None:
    if not stream.isatty():
        stream.write(clean(text) + "\n")
        stream.flush()
        return
    from rich.text import Text  # noqa: PLC0415 - memory, see above

    _console(stream).print(Text(clean(text), style), soft_wrap=True)
