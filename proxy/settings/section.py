"""What every section of the settings has in common, and the few value types that they share.

A key is an annotated field: `Annotated[int, Bounds(ge=1), "What it does."] = 8`. Its type says what it may be; `Read`, `Bounds`
and `Check` say the rest, and the text is its description in docs/settings.md. `field` reads that, `making` goes by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Struct

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SIZE: Final = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


class Section(Struct, frozen=True, kw_only=True):
    """A table of the file, frozen. A call checks nothing: sections are made of what was written by `making`."""


class Secret:
    """A text that never prints. Compared by what it holds."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the text itself, for whoever must show it to another server."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('**********')"


class Bounds(NamedTuple):
    """How great a number may be, and how many characters a text must have."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    min_length: int | None = None


class Read(NamedTuple):
    """Applied to what was written, before it is taken for the key's type. May raise ValueError: `what is wrong: the fix`."""

    by: Callable[[object], object]


class Check(NamedTuple):
    """Applied to the typed value; returns what is kept. May raise ValueError: `what is wrong: the fix`, without the value."""

    by: Callable[[Any], Any]


def matching(pattern: str) -> Callable[[str], str]:
    """Return a check that a text matches as a whole. `$` does not let a line end through."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must match {pattern}: leave out the characters that it does not allow")
        return value

    return check


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be up to 32 lower-case letters, digits, - and _: it is a metric label")
    return value


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError("is no size in bytes: write a number like 8388608, or one with a unit like 8 MiB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _networks(value: object) -> object:
    parts = _listed(value)
    if not isinstance(parts, list | tuple):
        return value
    try:
        return tuple(ip_network(part) for part in parts)
    except ValueError as error:
        raise ValueError("has an entry that is no address range: write it like 10.0.0.0/8 or 192.0.2.7/32") from error


SourceName = Annotated[str, Check(_name)]
"""The name of a source: unique, and a metric label."""

Bytes = Annotated[int, Read(_size)]
"""A number of bytes; also written `64 KiB`, `8 MiB`, `1 GiB`."""

Words = Annotated[tuple[str, ...], Read(_listed)]
"""A list of words; in the environment separated by commas."""

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], Read(_networks)]
"""A list of address ranges like 10.0.0.0/8; in the environment separated by commas."""

Numbers = Annotated[tuple[float, ...], Read(_listed)]
"""A list of numbers; in the environment separated by commas."""

Port = Annotated[int, Bounds(ge=0, le=65_535)]
"""A TCP port; 0 lets the system choose a free one."""


def is_host(name: str) -> bool:
    """Tell whether a name can be asked for at all; resolvers raise for one with an empty or overlong label."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return bool(name) and not any(letter.isspace() for letter in name)


def is_loopback(host: str) -> bool:
    """Tell whether a listener on `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
