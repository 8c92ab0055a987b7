"""How often something may happen to each of many: buckets that fill again, in a bounded table. Pure; the clock is an argument.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371), so that a full
one need not be remembered at all.
"""

from __future__ import annotations

import ipaddress
from typing import Final

TABLE_LIMIT: Final = 20_000
"""Buckets remembered per limit: about 4 MB. Who was not seen for the longest is forgotten first, and may then begin anew."""

_ROUNDING: Final = 1e-6
"""Seconds by which sums of floating point numbers may be off."""


class Buckets:
    """So many a minute for each key, and as many at once as a minute has."""

    __slots__ = ("_each", "_full_at", "_limit")

    def __init__(self, per_minute: int, limit: int = TABLE_LIMIT) -> None:
        self._each = 60.0 / per_minute
        self._limit = limit
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: str, now: float) -> float:
        """Take one at `now` (monotonic seconds). Returns 0.0, or in how many seconds there will be one; then none is taken."""
        table = self._full_at
        full_at = max(table.pop(key, now), now)
        wait = full_at + self._each - now - 60.0
        if wait > _ROUNDING:
            table[key] = full_at
            return wait
        if len(table) >= self._limit:
            del table[next(iter(table))]
        table[key] = full_at + self._each
        return 0.0


def neighbourhood(address: str) -> str:
    """The key of a client: an IPv4 address, or the /64 of an IPv6 address, for one customer has all of that."""
    if ":" not in address:
        return address
    try:
        return ipaddress.IPv6Address(address.partition("%")[0]).packed[:8].hex()
    except ValueError:
        return address
