"""docs/settings.md and config/everything.toml, written from the same descriptions that check the settings.

`python -m proxy.settings.reference docs` or `... everything` writes one to stdout; tests compare with the files.
"""

from __future__ import annotations

import enum
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from msgspec import NODEFAULT

from proxy.settings.field import Field, fields, is_secret, section_of
from proxy.settings.raw import PREFIX
from proxy.settings.section import Secret, Section
from proxy.settings.shape import Settings
from proxy.settings.tokens import SOURCES, Tenant

_HEAD: Final = f"""# Settings

<!-- Written by `python -m proxy.settings.reference docs` from proxy/settings; a test compares. -->

One TOML file (`--config`, else `$SCIM_WITNESS_CONFIG`, else `config/proxy.toml`) and the environment, which wins:
`{PREFIX}` and the key in capitals, tables joined by two underscores: `{PREFIX}UPSTREAM__URL`,
`{PREFIX}SOURCE__DSN_FILE` (the first source), `{PREFIX}SOURCE__1__PATH`. Lists are separated by commas there; an empty
variable counts as not set. Names of tenants with capitals or spaces belong in the file.

Durations are in seconds. Sizes are in bytes, or `"8 MiB"`. Relative paths in the file are taken from its folder, in the
environment from the working directory. A key that holds a secret can be given as `<key>_file`, the path of a file that
holds it. Unknown keys and variables are faults; `scim-witness check-config` reports all faults at once.
"""

_EVERYTHING_HEAD: Final = """# Every key with its default. Written by `python -m proxy.settings.reference everything`; a test
# compares. A key that is commented out has no default. What each is for in full: docs/settings.md.
"""

_NEEDED: Final = frozenset({"dsn", "client_id", "client_secret"})
"""Without default, and one of the ways of giving them is needed."""

_SAMPLE_VALUES: Final[dict[str, Any]] = {
    "fingerprint_key": "at-least-16-bytes-of-randomness",
    "fingerprint_previous": "the-key-before-with-16-bytes-or-more",
    "digest_key": "at-least-16-bytes-of-randomness",
    "token": "at-least-16-characters",
    "password": "the-password",
    "url": "http://127.0.0.1:3000",
    "path": "tokens.toml",
    "dsn": "postgresql://scim_witness@db.example.com/app",
    "replica_dsn": "postgresql://scim_witness@replica.example.com/app",
    "doorkeeper_mysql.dsn": "mysql://scim_witness@db.example.com/app?ssl_mode=verify_identity",
    "doorkeeper_mysql.replica_dsn": "mysql://scim_witness@replica.example.com/app?ssl_mode=verify_identity",
    "introspection.url": "https://login.example.com/oauth/introspect",
    "client_id": "scim-witness",
    "client_secret": "the-secret-of-the-client",
    "bearer": "at-least-16-characters",
    "jwks_url": "https://login.example.com/keys",
    "issuer": ("https://login.example.com",),
    "audience": ("scim",),
}


class Page:
    """One section: its header in the file, its model, and what its docstring says."""

    def __init__(self, header: str, model: type[Section]) -> None:
        self.header = header
        self.model = model
        self.about = " ".join((model.__doc__ or "").split())

    def fields(self) -> Iterator[tuple[str, Field]]:
        """Yield the keys of this section that are no tables themselves."""
        for key, field in fields(self.model).items():
            if section_of(field) is None and not (self.model is Settings and key in ("source", "tenants")):
                yield key, field


def pages() -> Iterator[Page]:
    """Yield every section in the order of the file, nested ones after their parent."""
    yield Page("", Settings)
    for key, field in fields(Settings).items():
        if key == "source":
            for kind in SOURCES:
                yield from _with_nested(f"[[source]] # {kind}", "source", SOURCES[kind])
        elif key == "tenants":
            yield Page('[tenants."NAME"]', Tenant)
        elif (model := section_of(field)) is not None:
            yield from _with_nested(f"[{key}]", key, model)


def _with_nested(header: str, name: str, model: type[Section]) -> Iterator[Page]:
    yield Page(header, model)
    for key, field in fields(model).items():
        if (nested := section_of(field)) is not None:
            yield from _with_nested(f"[{name}.{key}]", f"{name}.{key}", nested)


def as_markdown() -> str:
    """Return docs/settings.md."""
    parts = [_HEAD]
    for page in pages():
        parts += [f"## `{page.header}`" if page.header else "## Top of the file", "", page.about, ""]
        parts += ["| key | type | default | what it does |", "|---|---|---|---|"]
        for key, field in page.fields():
            cells = (f"`{key}`", _type(page.model, key, field), _default_cell(field), field.description)
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        parts.append("")
    return "\n".join(parts)


def _default_cell(field: Field) -> str:
    if field.default is NODEFAULT:
        return "required"
    return "none" if field.default is None else f"`{_toml(field.default)}`"


def _type(model: type[Section], key: str, field: Field) -> str:
    if is_secret(model, key):
        return "secret"
    words = _choices(field.kind)
    text = ", ".join(f"`{word}`" for word in words) if words else _plain_type(field.kind)
    limits = [f"{sign} {value}" for name, sign in _LIMITS if (value := getattr(field.bounds, name)) is not None]
    return f"{text} ({', '.join(limits)})" if limits else text


_LIMITS: Final = (("ge", "≥"), ("gt", ">"), ("le", "≤"))


def _choices(annotation: Any) -> list[str]:
    found: list[str] = []
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            found += map(str, get_args(part))
        elif isinstance(part, type) and issubclass(part, enum.Enum):
            found += [str(member.value) for member in part]
    return list(dict.fromkeys(found))


def _plain_type(annotation: Any) -> str:
    text = str(annotation)
    for pattern, word in (
        ("Mapping", "table"),
        ("tuple", "list"),
        ("Path", "path"),
        ("bool", "yes or no"),
        ("float", "number"),
        ("int", "integer"),
    ):
        if re.search(rf"\b{pattern}\b", text):
            return word
    return "text"


def as_everything() -> str:
    """Return config/everything.toml."""
    parts = [_EVERYTHING_HEAD]
    for page in pages():
        if page.header:
            parts.append(f"# {page.about}\n{page.header}" if page.about else page.header)
        for key, field in page.fields():
            parts.append(textwrap.fill(f"{field.description}", 118, initial_indent="# ", subsequent_indent="# "))
            parts.append(_assignment(page, key, field))
        parts.append("")
    return "\n".join(parts)


def _assignment(page: Page, key: str, field: Field) -> str:
    if key == "kind":
        return f'kind = "{get_args(field.kind)[0]}"'
    if field.default is NODEFAULT or (key in _NEEDED and field.default is None):
        return f"{key} = {_toml(_sample(page, key))}"
    if field.default is not None:
        return f"{key} = {_toml(field.default)}"
    sample = None
    if is_secret(page.model, key):
        sample = "redis://redis.example.com:6379/0" if page.header == "[store]" and key == "url" else _sample(page, key)
    return f"# {key} = {_toml(sample) if sample is not None else _blank(field)}"


def _sample(page: Page, key: str) -> Any:
    return _SAMPLE_VALUES.get(f"{page.header.rpartition(' ')[2]}.{key}") or _SAMPLE_VALUES[key]


def _blank(field: Field) -> str:
    words = _choices(field.kind)
    return _toml(words[0]) if words else "60.0" if _plain_type(field.kind) == "number" else '""'


def _toml(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Secret):
        raise TypeError("a secret has no default that could be written down")
    if isinstance(value, dict):
        return "{}" if not value else json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(entry) for entry in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


if __name__ == "__main__":
    sys.stdout.write(as_everything() if sys.argv[1:] == ["everything"] else as_markdown())
