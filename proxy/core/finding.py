"""What `scim-witness doctor` found out about one part of a deployment."""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    """`fault`: the proxy cannot do its work. `warning`: it can, but not all of it or not for ever."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: what is the case, and what to do about it (empty when it is well)."""

    level: Level
    what: str
    fix: str = ""
