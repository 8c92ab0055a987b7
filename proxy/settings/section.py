"""What every section of the settings has in common, and the few value types that they share."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SIZE: Final = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


class Section(BaseModel):
    """A table of the file. Frozen; unknown keys are faults; errors never show a value, for it may be a secret. Only the whole
    has a validator of its own (`defer_build`): one for each part as well would stay in memory unused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, validate_default=True, defer_build=True
    )


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


SourceName = Annotated[str, AfterValidator(_name)]
"""The name of a source: unique, and a metric label."""

Bytes = Annotated[int, BeforeValidator(_size)]
"""A number of bytes; also written `64 KiB`, `8 MiB`, `1 GiB`."""

Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list of words; in the environment separated by commas."""

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
"""A list of address ranges like 10.0.0.0/8; in the environment separated by commas."""

Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]
"""A list of numbers; in the environment separated by commas."""

Port = Annotated[int, Field(ge=0, le=65_535)]
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
