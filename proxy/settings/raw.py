"""The settings before they are checked: nested dictionaries from file and environment, and where each key came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.settings.faults import Fault
from proxy.settings.field import Field, fields, is_secret, section_of
from proxy.settings.section import Section
from proxy.settings.shape import Settings
from proxy.settings.tokens import SOURCES, Tenant
from proxy.settings.toml_lines import Path as KeyPath
from proxy.settings.toml_lines import line_at, lines_of

PREFIX: Final = "SCIM_WITNESS_"
ENVIRONMENT: Final = "environment"
NOT_SETTINGS: Final = frozenset({"SCIM_WITNESS_CONFIG", "SCIM_WITNESS_INHERITED", "SCIM_WITNESS_PURE"})
"""Variables under our prefix that are read elsewhere: the path of the file itself, by the command line; the sockets that
a process hands to its successor (proxy/supervise); and whether everything runs from its source (proxy/compiled)."""

_SECRET_FILE_LIMIT: Final = 65_536
"""Bytes of a secret file: a DSN or a key has far fewer, so a larger one is the wrong file."""


class Leaf(NamedTuple):
    """A key that holds a value: its table, its name there, what it should be, and its path from the top."""

    table: dict[str, Any]
    key: str
    model: type[Section]
    field: Field
    path: KeyPath


class Raw:
    """Merged settings with the origin of every key."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[str, Any] = {}
        self.lines: dict[KeyPath, int] = {}
        self.variables: dict[KeyPath, str] = {}
        self.faults: list[Fault] = []
        self.files: list[Path] = []
        self.unreadable = False
        self.unread: list[KeyPath] = []

    def fault(self, path: KeyPath, message: str, fix: str) -> Fault:
        """Return a fault at a key, wherever the key came from."""
        if (variable := self.variable_at(path)) is not None:
            return Fault(ENVIRONMENT, None, variable, message, fix)
        return Fault(self.file, line_at(self.lines, path), dotted(path), message, fix)

    def variable_at(self, path: KeyPath) -> str | None:
        """Return the variable that set a key (or the list that it is an entry of), None when the file did."""
        return self.variables.get(path) or (self.variables.get(path[:-1]) if path and isinstance(path[-1], int) else None)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: listen.port, source[0].path."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read(file: Path | None, environ: Mapping[str, str]) -> Raw:
    """Read file and environment; the environment wins. Faults of either are collected, nothing is raised."""
    raw = Raw(str(file) if file is not None else "(no file)")
    if file is not None:
        raw.files.append(file)
        _read_file(raw, file)
    raw.unreadable = bool(raw.faults)  # then nothing is known of what it lacks, and no other fault would be true
    raw.values.setdefault("upstream", {})
    if isinstance(raw.values.get("source"), dict):
        raw.values["source"] = [raw.values["source"]]
    if file is not None:
        _anchor_paths(raw, file.parent)
    for path, name in sorted(
        _paths_of_variables(environ), key=lambda pair: [(isinstance(step, str), step) for step in pair[0]]
    ):
        _place_variable(raw, path, name, environ[name])
    _read_secret_files(raw)
    return raw


def _read_file(raw: Raw, file: Path) -> None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raw.faults.append(Fault(raw.file, None, "", f"cannot be read ({error.strerror})", "Check the path and its permissions"))
        return
    except UnicodeDecodeError:
        raw.faults.append(Fault(raw.file, None, "", "is not UTF-8", "Save it as UTF-8"))
        return
    try:
        raw.values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # Python's own limits are met by numbers and by nesting
        raw.faults.append(_syntax_fault(raw.file, text, str(error)))
        return
    raw.lines = lines_of(text)


def _syntax_fault(file: str, text: str, message: str) -> Fault:
    what, _, place = message.partition(" (at ")
    number = place.removeprefix("line ").partition(",")[0]
    line = int(number) if number.isdecimal() else text.count("\n") + 1 if place else None
    return Fault(file, line, "", f"is not TOML: {what}", "Put strings in double quotes, one key = value a line")


def _paths_of_variables(environ: Mapping[str, str]) -> Iterator[tuple[KeyPath, str]]:
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and value:
            path: list[str | int] = [part.lower() for part in name.removeprefix(PREFIX).split("__")]
            if path[0] == "source":
                path[1:2] = [int(path[1])] if len(path) > 1 and str(path[1]).isdecimal() else [0, *path[1:2]]
            yield tuple(path), name


def _by_number(variable: tuple[KeyPath, str]) -> list[tuple[bool, str | int]]:
    """Sources are placed in their order, or the second would point beyond the end."""
    return [(isinstance(step, str), step) for step in variable[0]]


def _place_variable(raw: Raw, path: KeyPath, name: str, value: str) -> None:
    if isinstance(path[-1], int):
        raw.faults.append(Fault(ENVIRONMENT, None, name, "is no setting", f"Name a key of the source: {name}__KIND"))
        return
    place: Any = raw.values
    for depth, step in enumerate(path[:-1], start=1):
        is_new = isinstance(place, dict) and step not in place
        place = _step_into(place, step)
        if is_new:
            raw.variables[path[:depth]] = name
        if place is None:
            raw.faults.append(
                Fault(ENVIRONMENT, None, name, "points into a list beyond its end", "Number sources from 0 without gaps")
            )
            return
    raw.variables[path] = name
    place[path[-1]] = value


def _step_into(place: Any, step: str | int) -> Any:
    if isinstance(step, int):
        if step > len(place) or (step < len(place) and not isinstance(place[step], dict)):
            return None
        if step == len(place):
            place.append({})
        return place[step]
    nested = place.get(step)
    if not isinstance(nested, list if step == "source" else dict):
        nested = place[step] = [] if step == "source" else {}
    return nested


def leaves(values: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield every known key that holds a value and no table."""
    yield from _leaves(dict(values) if not isinstance(values, dict) else values, Settings, ())


def _leaves(table: dict[str, Any], model: type[Section], path: KeyPath) -> Iterator[Leaf]:
    known = fields(model)
    for key in list(table):
        if key in known:
            tables = list(_tables(key, table[key], known[key], (*path, key)))
            for inner, inner_model, inner_path in tables:
                yield from _leaves(inner, inner_model, inner_path)
            if not tables:
                yield Leaf(table, key, model, known[key], (*path, key))


def _tables(key: str, value: Any, field: Field, path: KeyPath) -> Iterator[tuple[dict[str, Any], type[Section], KeyPath]]:
    if key == "source" and isinstance(value, list):
        for number, entry in enumerate(value):
            if isinstance(entry, dict) and isinstance(entry.get("kind"), str) and entry["kind"] in SOURCES:
                yield entry, SOURCES[entry["kind"]], (*path, number)
    elif key == "tenants" and isinstance(value, dict):
        yield from ((entry, Tenant, (*path, name)) for name, entry in value.items() if isinstance(entry, dict))
    elif isinstance(value, dict) and (nested := section_of(field)) is not None:
        yield value, nested, path


def _anchor_paths(raw: Raw, folder: Path) -> None:
    """Relative paths written in the file are relative to its folder, so that it works from anywhere."""
    for leaf in leaves(raw.values):
        if leaf.field.kind is Path and isinstance(leaf.table[leaf.key], str):
            leaf.table[leaf.key] = str(folder / leaf.table[leaf.key])


def _read_secret_files(raw: Raw) -> None:
    for leaf in list(leaves(raw.values)):
        name = leaf.key.removesuffix("_file")
        if name == leaf.key or not is_secret(leaf.model, name) or not isinstance(leaf.table[leaf.key], str):
            continue
        path = (*leaf.path[:-1], name)
        if name not in leaf.table or (raw.variable_at(leaf.path) and not raw.variable_at(path)):
            _read_secret(raw, leaf, name)
        elif bool(raw.variable_at(leaf.path)) == bool(raw.variable_at(path)):
            raw.faults.append(raw.fault(leaf.path, f"is given besides {name}", f"Keep one of {name} and {leaf.key}"))


def _read_secret(raw: Raw, leaf: Leaf, name: str) -> None:
    path = (*leaf.path[:-1], name)
    raw.files.append(Path(leaf.table[leaf.key]))
    raw.lines.setdefault(path, line_at(raw.lines, leaf.path) or 1)
    if (variable := raw.variable_at(leaf.path)) is not None:
        raw.variables[path] = variable
    before = len(raw.faults)
    _read_into(raw, leaf, name)
    if len(raw.faults) > before:
        raw.unread += [path, leaf.path]  # it was given: nobody is to hear that it is missing


def _read_into(raw: Raw, leaf: Leaf, name: str) -> None:
    try:
        data = Path(leaf.table[leaf.key]).read_bytes()
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        raw.faults.append(raw.fault(leaf.path, f"cannot be read ({error.strerror})", "Check the path and its permissions"))
        return
    except UnicodeDecodeError:
        raw.faults.append(raw.fault(leaf.path, "is not text", "Write the secret as text, in base 64 or hex if it is binary"))
        return
    except ValueError:  # it holds a NUL
        raw.faults.append(raw.fault(leaf.path, "can be no path", "Write the path of the file that holds the secret"))
        return
    if not text or len(data) > _SECRET_FILE_LIMIT:
        raw.faults.append(raw.fault(leaf.path, "is empty or larger than 64 KiB", "Write the secret alone into it"))
        return
    leaf.table[name] = text
