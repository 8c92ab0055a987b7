"""pydantic's errors in our words: what is wrong, and the fix. No value that was set is ever repeated."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from proxy.settings.faults import Fault, did_you_mean
from proxy.settings.raw import PREFIX, SOURCES, Raw, fields, section_of
from proxy.settings.section import Section
from proxy.settings.shape import Settings
from proxy.settings.tokens import Tenant
from proxy.settings.toml_lines import Path as KeyPath

_WHAT: Final = {
    "bool": ("must be true or false", "Write true or false"),
    "int": ("must be a whole number", "Write a whole number, without quotes"),
    "float": ("must be a number", "Write a number, without quotes"),
    "string": ("must be text", "Put it in double quotes"),
    "tuple": ("must be a list", 'Write it like ["a", "b"]'),
    "list": ("must be a list", 'Write it like ["a", "b"]'),
    "path": ("must be a path", "Put it in double quotes"),
    "finite": ("must be a finite number", "Write a number"),
    "model": ("must be a table", "Write it as a [section] with keys"),
    "dict": ("must be a table", "Write it as a [section] with keys"),
    "mapping": ("must be a table", "Write it as a [section] with keys"),
}
_BOUNDS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = {
    "greater_than_equal": lambda c: (f"must be at least {c['ge']}", f"Set it to {c['ge']} or more"),
    "greater_than": lambda c: (f"must be more than {c['gt']}", f"Set it to more than {c['gt']}"),
    "less_than_equal": lambda c: (f"must be at most {c['le']}", f"Set it to {c['le']} or less"),
    "less_than": lambda c: (f"must be less than {c['lt']}", f"Set it to less than {c['lt']}"),
    "string_too_short": lambda c: (f"must have at least {c['min_length']} characters", "Make it longer"),
    "too_short": lambda c: (f"must have at least {c['min_length']} characters", "Make it longer"),
    "string_pattern_mismatch": lambda c: (f"must match {c['pattern']}", "Leave out the characters that it does not allow"),
}


def key_path(error: ErrorDetails) -> KeyPath:
    """Return the path of an error without the union tag that pydantic puts after the number of a source."""
    path = tuple(error["loc"])
    return (*path[:2], *path[3:]) if path[0] == "source" and len(path) > 2 and path[2] in SOURCES else path


def fault_of(error: ErrorDetails, raw: Raw) -> Fault:
    """Translate one error of pydantic."""
    path = key_path(error)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return raw.fault(path, "is no setting", _nearest(path, raw))
    if kind == "missing":
        return raw.fault(path, "is required", f"Add it: {_description(path, raw)}")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        what = "is required" if kind == "union_tag_not_found" else "is no kind of source"
        return raw.fault((*path, "kind"), what, f"Set it to one of {', '.join(SOURCES)}")
    if kind in ("enum", "literal_error"):
        return raw.fault(path, f"must be {context['expected']}", _choice(error["input"], str(context["expected"])))
    if kind == "value_error":
        message, _, fix = str(context["error"]).partition(": ")
        return raw.fault(path, message, fix[:1].upper() + fix[1:] or "Change it")
    if kind in _BOUNDS:
        return raw.fault(path, *_BOUNDS[kind](context))
    if kind.startswith(("model", "dict", "mapping")) and (variable := raw.variable_at(path)) is not None:
        return raw.fault(path, "is a table of settings", f"Name one of them: {variable}__KEY")
    return raw.fault(path, *_WHAT.get(kind.partition("_")[0], ("cannot be used", f"It must be: {_description(path, raw)}")))


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
    text = field.description or (field.annotation.__doc__ if field.annotation else "") or ""
    return text.strip().rstrip(".")


def _choice(given: object, expected: str) -> str:
    words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(str(given).lower(), words, n=1)
    return f"Did you mean {close[0]}?" if close else f"Write one of {', '.join(words)}"
