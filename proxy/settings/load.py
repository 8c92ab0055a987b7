"""From file and environment to `Settings`, or to every fault at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxy.settings.crosscheck import Finding, faults_between, warnings_about
from proxy.settings.faults import Fault, SettingsFault
from proxy.settings.making import Wrong, made
from proxy.settings.raw import ENVIRONMENT, Raw, dotted, read
from proxy.settings.shape import Settings
from proxy.settings.toml_lines import Path as KeyPath
from proxy.settings.wording import fault_of

_STAND_INS: Final[Mapping[str, Any]] = {
    "upstream": {"url": "http://upstream.invalid"},
    "source": [{"kind": "token_file", "path": "/nowhere"}],
}
"""Take the place of what is missing or broken, so that the rules between keys can be checked in the same run."""


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file (None: none) and the variables SCIM_WITNESS_*, which win. Raises SettingsFault with every fault."""
    raw = read(path, environ)
    if raw.unreadable:
        raise SettingsFault(raw.faults)
    wrong: list[Wrong] = []
    settings = made(Settings, raw.values, wrong)
    if settings is None:
        raise SettingsFault(_in_order(_all_faults(raw, wrong)))
    between = [_fault(raw, finding) for finding in faults_between(settings) if not _touches(finding, raw.unread)]
    if raw.faults or between:
        raise SettingsFault(_in_order([*raw.faults, *between]))
    settings.keep(tuple(_fault(raw, finding) for finding in warnings_about(settings)), raw.values, tuple(raw.files))
    return settings


def revive(values: Mapping[str, Any]) -> Settings:
    """Make settings again out of `Settings.values`, which were found good before."""
    wrong: list[Wrong] = []
    settings = made(Settings, values, wrong)
    if settings is None:
        raise ValueError(f"settings that were good are not: {', '.join(dotted(one.path) for one in wrong)}")
    return settings


def changed(one: Settings, other: Settings) -> tuple[str, ...]:
    """Return the keys at the top, and those of the listeners and the store (`listen.port`), whose values differ."""
    found = []
    for name in Settings.__struct_fields__:
        mine, others = getattr(one, name), getattr(other, name)
        if mine == others:
            continue
        if name in ("listen", "ops", "store"):
            found += [f"{name}.{key}" for key in mine.__struct_fields__ if getattr(mine, key) != getattr(others, key)]
        else:
            found.append(name)
    return tuple(found)


def _all_faults(raw: Raw, wrong: list[Wrong]) -> list[Fault]:
    broken = [one.path for one in wrong]
    faults = [*raw.faults, *(fault_of(one, raw) for one in wrong)]
    rest = _without(raw.values, broken)
    if rest is not None:
        faults += [_fault(raw, finding) for finding in faults_between(rest) if not _touches(finding, [*broken, *raw.unread])]
    return list(dict.fromkeys(faults))


def _without(values: Mapping[str, Any], broken: list[KeyPath]) -> Settings | None:
    """Return settings in which broken keys have their defaults, None when even that cannot be had."""
    rest: Any = copy.deepcopy(values)
    for path in broken:
        if path[0] in _STAND_INS and path[0] == "source":
            rest["source"] = copy.deepcopy(_STAND_INS["source"])
        elif path == ("upstream",) or path[:2] == ("upstream", "url"):
            table = rest.get("upstream")
            rest["upstream"] = {**(table if isinstance(table, dict) else {}), **_STAND_INS["upstream"]}
        else:
            _remove(rest, path)
    return made(Settings, rest, [])


def _remove(table: Any, path: KeyPath) -> None:
    for step in path:
        if not isinstance(table, dict) or step not in table:
            return
        if step == path[-1] or not isinstance(table[step], dict):
            del table[step]
            return
        table = table[step]


def _touches(finding: Finding, broken: list[KeyPath]) -> bool:
    """Tell whether a finding rests on a key that has a fault of its own."""
    return any(key[: len(path)] == path or path[: len(key)] == key for key in finding.keys for path in broken)


def _fault(raw: Raw, finding: Finding) -> Fault:
    written = next((key for key in finding.keys if raw.variable_at(key) or key in raw.lines), finding.keys[0])
    return raw.fault(written, finding.message, finding.fix)


def _in_order(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: (fault.file == ENVIRONMENT, fault.line or 0, fault.key))
