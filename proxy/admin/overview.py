"""What the overview shows, for the page and for the API: the road with the state of its parts, tenants, open groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.admin.asking import Asking, Minute, Risk, StoreAway
from proxy.admin.grouping import Group, grouped
from proxy.admin.health import Health, Part
from proxy.admin.heat import last_good, per_hour
from proxy.admin.ring import Ring
from proxy.core.absence import LastRequest

TENANTS: Final = 25
"""Tenants on the overview: those at risk, then those heard of last. Three commands to the store for each."""
NEWEST: Final = 200
"""Incidents that are grouped for the overview: one page of the store."""
DAY: Final = 86_400.0


class TenantLine(msgspec.Struct, frozen=True):
    """A tenant: its last request, its last served one (by the minute, within a day), requests in each of 24 hours, and its
    tokens in use that will fail."""

    tenant: str
    last: LastRequest | None
    last_good: float | None
    hours: tuple[int, ...]
    risks: tuple[Risk, ...] = ()


class Road(msgspec.Struct, frozen=True):
    """`status` is readiness; `requests` and `incidents` are those of each of the last 120 minutes here, `p95` is within how
    many seconds 95 % of each minute's requests ended (null where there was none)."""

    status: str
    parts: tuple[Part, ...]
    upstream: str
    requests: tuple[float, ...]
    incidents: tuple[float, ...]
    p95: tuple[float | None, ...]


class Overview(Road, frozen=True):
    """The road, and what is on record. `store_error` tells why tenants or groups are not whole. `at_risk` counts tenants with
    tokens in use that will fail, all of them."""

    tenants: tuple[TenantLine, ...]
    tenants_known: int
    at_risk: int
    groups: tuple[Group, ...]
    store_error: str = ""


class Outlook:
    """Looks at everything. `upstream` gives the backend's address as it is shown."""

    def __init__(self, asking: Asking, health: Health, ring: Ring, upstream: Callable[[], str]) -> None:
        self._asking = asking
        self._health = health
        self._ring = ring
        self._upstream = upstream

    def road(self, now: float) -> Road:
        """What this process knows by itself: nobody is asked."""
        readiness, minutes = self._health.readiness(), self._ring.per_minute(now)
        return Road(readiness.status, readiness.parts, self._upstream(), minutes.requests, minutes.incidents, minutes.p95)

    async def overview(self, now: float) -> Overview:
        """Ask for everything at once. Never raises for a store that is away: it says so."""
        asking = self._asking
        listing = await asking.incidents(None, None, None, NEWEST)
        error, known = listing.store_error, 0
        lines: list[TenantLine] = []
        risks: Mapping[str, Sequence[Risk]] = {}
        try:
            seen = {name: at for name, at in (await asking.tenants()).items() if not name.startswith("_")}
            known = len(seen)
            risks = await asking.at_risk()
            newest = sorted(seen, key=lambda name: (name not in risks, -seen[name], name))[:TENANTS]
            lines = await asyncio.gather(*(_line(asking, tenant, now, risks.get(tenant, ())) for tenant in newest))
        except StoreAway as away:
            error = str(away)
        return Overview(
            **msgspec.structs.asdict(self.road(now)),
            tenants=tuple(lines),
            tenants_known=known,
            at_risk=len(risks),
            groups=tuple(group for group in grouped(listing.incidents) if now - group.last < DAY),
            store_error=error,
        )


async def _line(asking: Asking, tenant: str, now: float, risks: Sequence[Risk]) -> TenantLine:
    last, minutes = await asyncio.gather(asking.last_request(tenant), asking.activity(tenant, now - DAY, now))
    return msgspec.structs.replace(line_of(tenant, last, minutes, now), risks=tuple(risks))


def line_of(tenant: str, last: LastRequest | None, minutes: Sequence[Minute], now: float) -> TenantLine:
    """A tenant's line from what was read."""
    good = last_good(minutes)
    if last is not None and last.answered_by == "backend" and 0 < last.status < 400:
        good = max(last.at, good or 0.0)
    return TenantLine(tenant, last, good, tuple(per_hour(minutes, now)))
