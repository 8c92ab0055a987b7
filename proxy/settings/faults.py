"""A fault in the settings: where it is, what is wrong, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One thing wrong. `file` is a path or `environment`, `line` counts from 1 (None: nowhere in a file), `key` is
    dotted or the name of the variable. No field ever holds a value that was set: it may be a secret."""

    file: str
    line: int | None
    key: str
    message: str
    fix: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        name = f" {self.key}:" if self.key else ""
        return f"{place}:{name} {self.message}. {self.fix}"


class SettingsFault(Exception):  # noqa: N818 - the domain's word
    """The settings cannot be used. `faults` holds every fault, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown key: the likely spelling, or the keys that there are."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Remove it; known here: {', '.join(names)}" if names else "Remove it"
