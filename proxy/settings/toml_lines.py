"""On which line of a TOML text a key stands. tomllib does not tell, and a fault without its line is half a fault.

The text has been accepted by tomllib before, so this only has to follow it, not to judge it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

Path = tuple[str | int, ...]

_KEY: Final = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*(\.?)""")
_SKIP: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]|[^\[\]{}\n"\'#]+|.', re.DOTALL
)


def lines_of(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table and key; keys of inline tables count as on their parent's line."""
    found: dict[Path, int] = {}
    arrays: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        if statement.startswith("["):
            keys = _keys(statement.lstrip("["))
            table = _inside(keys, arrays, opens_entry=statement.startswith("[["))
            found.setdefault(table, line)
        elif statement and statement[0] != "#":
            path = table
            for key in _keys(statement):
                path = (*path, key)
                found.setdefault(path, line)
    return found


def line_at(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a key, or of the nearest table around it; None when not even that is in the text.

    One table where several may stand (`[source]`) is read as the first of them: its keys have no number in the text."""
    while path:
        for spelling in (path, tuple(part for part in path if part != 0)):
            if spelling in lines:
                return lines[spelling]
        path = path[:-1]
    return None


def _inside(keys: list[str], arrays: dict[Path, int], *, opens_entry: bool) -> Path:
    """Return the path of a header, with the number of the entry after each array of tables."""
    path: Path = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if opens_entry and position == len(keys) - 1:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path


def _keys(statement: str) -> list[str]:
    keys: list[str] = []
    position = 0
    while (match := _KEY.match(statement, position)) is not None:
        keys.append(match[1].strip("\"'") if match[1][0] in "\"'" else match[1])
        position = match.end()
        if not match[2]:
            break
    return keys


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with the line it begins on; strings and brackets may span lines within one."""
    line, begun, depth, parts = 1, 1, 0, list[str]()
    for match in _SKIP.finditer(text):
        piece = match[0]
        if piece == "\n" and depth <= 0:
            yield begun, "".join(parts).strip()
            parts, depth, begun = [], 0, line + 1
        else:
            parts.append(piece)
            depth += (piece in "[{") - (piece in "]}") if len(piece) == 1 else 0
        line += piece.count("\n")
    yield begun, "".join(parts).strip()
