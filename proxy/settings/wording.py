"""What is wrong in words: of unknown, missing and misplaced keys too. No value that was set is ever repeated."""

from __future__ import annotations

import types

from proxy.settings.faults import Fault, did_you_mean
from proxy.settings.field import fields, section_of
from proxy.settings.making import Wrong
from proxy.settings.raw import PREFIX, Raw
from proxy.settings.section import Section
from proxy.settings.shape import Settings
from proxy.settings.tokens import SOURCES, Tenant
from proxy.settings.toml_lines import Path as KeyPath


def fault_of(wrong: Wrong, raw: Raw) -> Fault:
    """Put a fault into words: where it is, what is wrong, and the fix."""
    path = wrong.path
    if wrong.kind == "unknown":
        return raw.fault(path, "is no setting", _nearest(path, raw))
    if wrong.kind == "missing":
        return raw.fault(path, "is required", f"Add it: {_description(path, raw)}")
    if wrong.kind == "no_table":
        if (variable := raw.variable_at(path)) is not None:
            return raw.fault(path, "is a table of settings", f"Name one of them: {variable}__KEY")
        return raw.fault(path, "must be a table", "Write it as a [section] with keys")
    return raw.fault(path, wrong.message, wrong.fix)


def model_at(path: KeyPath, raw: Raw) -> type[Section] | None:
    """Return the section that a path leads to, None when it leads to a value or nowhere."""
    model: type[Section] | None = Settings
    position = 0
    while model is not None and position < len(path):
        key = path[position]
        position += 1
        if model is Settings and key in ("source", "tenants") and position < len(path):
            model = Tenant if key == "tenants" else _source_model(path[position], raw)
            position += 1
        else:
            field = fields(model).get(str(key))
            model = section_of(field) if field is not None else None
    return model


def _source_model(number: str | int, raw: Raw) -> type[Section] | None:
    sources = raw.values.get("source")
    if isinstance(sources, list) and isinstance(number, int) and number < len(sources) and isinstance(sources[number], dict):
        return SOURCES.get(str(sources[number].get("kind")))
    return None


def _nearest(path: KeyPath, raw: Raw) -> str:
    model = model_at(path[:-1], raw)
    known = fields(model) if model is not None else types.MappingProxyType({})
    if raw.variable_at(path) is None:
        return did_you_mean(str(path[-1]), known)
    stem = PREFIX + "".join(f"{part}__".upper() for part in path[:-1])
    if model is not None and (keys := _between_one_underscore(str(path[-1]), model)):
        return f"Did you mean {stem}{'__'.join(keys).upper()}?"
    rest = str(raw.variable_at(path))[len(f"{stem}{path[-1]}") :]
    return did_you_mean(f"{stem}{path[-1]}{rest}".upper(), [f"{stem}{name}{rest}".upper() for name in known])


def _between_one_underscore(word: str, model: type[Section]) -> list[str]:
    """The keys on the way that `word` names with one underscore between them in place of two; empty when there are none."""
    for name, field in fields(model).items():
        rest = word.removeprefix(f"{name}_")
        if rest == word:
            continue
        nested = SOURCES.values() if model is Settings and name == "source" else [section_of(field)]
        for inner in nested:
            if inner is not None and (keys := [rest] if rest in fields(inner) else _between_one_underscore(rest, inner)):
                return [name, *keys]
    return []


def _description(path: KeyPath, raw: Raw) -> str:
    model = model_at(path[:-1], raw)
    field = fields(model).get(str(path[-1])) if model is not None else None
    if field is None:
        return "see docs/settings.md"
    text = field.description or field.kind.__doc__ or ""
    return text.strip().rstrip(".")
