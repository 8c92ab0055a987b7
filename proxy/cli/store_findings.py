"""What is right and wrong with a store, by what it says of itself (INFO): version, role, persistence, memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.core.finding import Finding, Level

OLDEST: Final = (6, 2)
"""Streams with MINID came with Redis 6.2."""
NEARLY_FULL: Final = 0.85
"""Of the memory it may have: an hour of a flood more fills the rest."""


def store_findings(info: Mapping[str, str]) -> tuple[Finding, ...]:
    """Judge what INFO says. A field that a managed store does not give is no finding."""
    return tuple(f for f in (_version(info), _role(info), _persistence(info), _policy(info), _memory(info)) if f is not None)


def _version(info: Mapping[str, str]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= OLDEST:
        return _ok(f"{name} {version}")
    return Finding(Level.FAULT, f"{name} {version or 'of unknown version'} is too old", "Redis 6.2 or newer, or Valkey")


def _role(info: Mapping[str, str]) -> Finding | None:
    role = info.get("role")
    if role is None:
        return None
    if role == "master":
        replicas = info.get("connected_slaves", "0")
        return _ok(f"the primary, with {replicas} replicas" if replicas != "0" else "the primary, without replicas")
    return Finding(Level.FAULT, f"a {role.replace('slave', 'replica')}: it takes no writes", "point store.url at the primary")


def _persistence(info: Mapping[str, str]) -> Finding | None:
    if "aof_enabled" not in info:
        return None
    if info.get("loading", "0") not in ("", "0"):
        return _warning("is loading its data and refuses everything else until then", "wait")
    if info["aof_enabled"] == "1":
        if info.get("aof_last_write_status", "ok") != "ok":
            return Finding(Level.FAULT, "cannot write its append-only file", "look at its disk and its log")
        return _ok("keeps an append-only file")
    return _warning("has snapshots at most: a crash loses what came after the last one, if there is one", "set appendonly yes")


def _policy(info: Mapping[str, str]) -> Finding | None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return None
    return _warning(f"evicts evidence when full ({policy})", "set maxmemory-policy noeviction")


def _memory(info: Mapping[str, str]) -> Finding | None:
    used, limit = (int(text) if (text := info.get(name, "")).isdigit() else 0 for name in ("used_memory", "maxmemory"))
    if not used:
        return None
    if not limit:
        return _ok(f"uses {used >> 20} MiB, without a limit of its own")
    text = f"uses {used >> 20} of {limit >> 20} MiB"
    if used < NEARLY_FULL * limit:
        return _ok(text)
    return _warning(
        text, "give it more (maxmemory), keep less (store.retention_days), or scim-witness store purge --older-than"
    )


def _ok(what: str) -> Finding:
    return Finding(Level.OK, what)


def _warning(what: str, fix: str) -> Finding:
    return Finding(Level.WARNING, what, fix)
