"""Sections out of tables that were read: every fault is found, not the first alone. No fault holds a value that was set.

What is written may be of another type where its meaning is beyond doubt, for variables are texts: "8080" and 8080.0 are whole
numbers, "yes" and 1 are true.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin

from msgspec import NODEFAULT

from proxy.settings.field import Field, fields
from proxy.settings.section import Secret, Section
from proxy.settings.tokens import SOURCES, Source
from proxy.settings.toml_lines import Path as KeyPath

S = TypeVar("S", bound=Section)

_WHOLE: Final = re.compile(r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?")
_DIGITS: Final = 100
"""Characters of a whole number in a text: far more than any has, and far fewer than take Python long, or are refused by it."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""How an octet of a variable that is no UTF-8 stands in its text: whoever sends it or writes it down would raise."""
_YES: Final = frozenset({"1", "on", "t", "true", "y", "yes"})
_NO: Final = frozenset({"0", "off", "f", "false", "n", "no"})


class Wrong(NamedTuple):
    """A fault at a key. A key that is unknown or missing is put into words by who knows where it would have been written."""

    path: KeyPath
    kind: Literal["unknown", "missing", "no_table", "value"]
    message: str = ""
    fix: str = ""


def made(model: type[S], table: Mapping[str, Any], wrong: list[Wrong], path: KeyPath = ()) -> S | None:
    """Return a section of a table, or None, and then what is wrong with it has been added to `wrong`."""
    before = len(wrong)
    known = fields(model)
    values: dict[str, Any] = {}
    for key, field in known.items():
        if key in table or field.default is not NODEFAULT:
            values[field.attribute] = _value(field, table.get(key, field.default), wrong, (*path, key))
        else:
            wrong.append(Wrong((*path, key), "missing"))
    wrong += [Wrong((*path, key), "unknown") for key in table if key not in known]
    return model(**values) if len(wrong) == before else None


def _value(field: Field, written: Any, wrong: list[Wrong], path: KeyPath) -> Any:
    if written is None and field.optional:
        return None
    before = len(wrong)
    try:
        for read in field.reads:
            written = read(written)
        value = _typed(field.kind, written, wrong, path)
        if len(wrong) > before:
            return None
        for check in field.checks:
            value = check(value)
        _require(field, value)
    except ValueError as error:
        wrong.append(_wrong(path, error))
        return None
    return value


def _wrong(path: KeyPath, error: ValueError) -> Wrong:
    message, _, fix = str(error).partition(": ")
    return Wrong(path, "value", message, fix[:1].upper() + fix[1:] or "Change it")


def _require(field: Field, value: Any) -> None:
    ge, gt, le, min_length = field.bounds
    if ge is not None and value < ge:
        raise ValueError(f"must be at least {ge}: set it to {ge} or more")
    if gt is not None and value <= gt:
        raise ValueError(f"must be more than {gt}: set it to more than {gt}")
    if le is not None and value > le:
        raise ValueError(f"must be at most {le}: set it to {le} or less")
    if min_length is not None and len(value) < min_length:
        raise ValueError(f"must have at least {min_length} characters: make it longer")


def _typed(kind: Any, written: Any, wrong: list[Wrong], path: KeyPath) -> Any:
    """Return what was written as a value of a type. Raises ValueError, or adds to `wrong` what is wrong within it."""
    if kind in _PLAIN:
        return _PLAIN[kind](written)
    if kind == Source:
        return _source(written, wrong, path)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _choice(written, parts)
    if origin is tuple:
        if not isinstance(written, list | tuple):
            raise ValueError('must be a list: write it like ["a", "b"]')
        return tuple(_entry(parts[0], entry, wrong, (*path, number)) for number, entry in enumerate(written))
    if origin is Mapping:
        table = written if _is_table(written, wrong, path) else {}
        return {key: _entry(parts[1], entry, wrong, (*path, key)) for key, entry in table.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_choice(written, [member.value for member in kind]))
    if isinstance(kind, type) and issubclass(kind, Section):
        return _section(kind, written, wrong, path)
    return written  # whatever reads it has made it


def _entry(kind: Any, written: Any, wrong: list[Wrong], path: KeyPath) -> Any:
    try:
        return _typed(kind, written, wrong, path)
    except ValueError as error:
        wrong.append(_wrong(path, error))
        return None


def _section(model: type[Section], written: Any, wrong: list[Wrong], path: KeyPath) -> Any:
    if isinstance(written, Section):
        written = {}  # the default: each of its keys has one, which is checked too
    return made(model, written, wrong, path) if _is_table(written, wrong, path) else None


def _source(written: Any, wrong: list[Wrong], path: KeyPath) -> Any:
    if not _is_table(written, wrong, path):
        return None
    kind = written.get("kind")
    if isinstance(kind, str) and kind in SOURCES:
        return made(SOURCES[kind], written, wrong, path)
    message = "is no kind of source" if "kind" in written else "is required"
    wrong.append(Wrong((*path, "kind"), "value", message, f"Set it to one of {', '.join(SOURCES)}"))
    return None


def _is_table(written: Any, wrong: list[Wrong], path: KeyPath) -> bool:
    if not isinstance(written, Mapping):
        wrong.append(Wrong(path, "no_table"))
    return isinstance(written, Mapping)


def _choice(written: Any, words: Sequence[str]) -> str:
    if isinstance(written, str) and written in words:
        return written
    *first, last = [f"'{word}'" for word in words]
    close = difflib.get_close_matches(str(written).lower(), words, n=1)
    fix = f"did you mean {close[0]}?" if close else f"write one of {', '.join(words)}"
    raise ValueError(f"must be {', '.join(first)}{' or ' if first else ''}{last}: {fix}")


def _yes_or_no(written: Any) -> bool:
    is_text = isinstance(written, str)
    word = written.lower() if is_text else written
    if word in (_YES if is_text else (1,)):
        return True
    if word in (_NO if is_text else (0,)):
        return False
    raise ValueError("must be true or false: write true or false")


def _whole(written: Any) -> int:
    if isinstance(written, str):
        found = _WHOLE.fullmatch(written.strip())
        return _whole(int(found[1]) if found is not None and len(written) < _DIGITS else None)
    if isinstance(written, float) and not math.isfinite(written):
        raise ValueError("must be a finite number: write a number")
    if isinstance(written, int | float) and written == int(written):
        return int(written)
    raise ValueError("must be a whole number: write a whole number, without quotes")


def _number(written: Any) -> float:
    try:
        value = float(written) if isinstance(written, int | float) or written.isascii() else None
    except (AttributeError, ValueError):
        value = None
    except OverflowError:
        value = math.inf
    if value is None:
        raise ValueError("must be a number: write a number, without quotes")
    if not math.isfinite(value):
        raise ValueError("must be a finite number: write a number")
    return value


def _text(written: Any) -> str:
    if not isinstance(written, str):
        raise ValueError("must be text: put it in double quotes")  # noqa: TRY004 - one kind of error, for one who catches it
    if _SURROGATE.search(written):
        raise ValueError("is not UTF-8: write it in UTF-8, or base 64 or hex where it is binary")
    return written


def _path(written: Any) -> Path:
    """A path may have any octets."""
    if isinstance(written, str | Path):
        return Path(written)
    raise ValueError("must be a path: put it in double quotes")


def _secret(written: Any) -> Secret:
    return Secret(_text(written))


_PLAIN: Final[Mapping[Any, Callable[[Any], Any]]] = {
    bool: _yes_or_no,
    int: _whole,
    float: _number,
    str: _text,
    Path: _path,
    Secret: _secret,
}
