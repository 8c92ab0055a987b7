"""Which set-up tenants use, for the list of tenants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.cli import times
from proxy.cli.reading import now
from proxy.core.setup import Setup, SetupFinding, setup_of
from proxy.core.token import Known
from proxy.evidence.reader import EvidenceReader

SETUPS: Final = 200
"""Tenants whose set-up is told, those heard of last first: some round trips to the store each."""


async def setups(reader: EvidenceReader, ordered: Iterable[str]) -> dict[str, SetupFinding]:
    """The set-up of the first tenants of a list, where it can be told. StoreError."""
    named = [tenant for tenant in ordered if not tenant.startswith("_")][:SETUPS]
    found = {tenant: await _setup(reader, tenant) for tenant in named}
    return {tenant: finding for tenant, finding in found.items() if finding.setup is not Setup.UNKNOWN}


async def _setup(reader: EvidenceReader, tenant: str) -> SetupFinding:
    """By the calls of the token endpoint; where there are none by the row in the tenant's newest incident."""
    calls = await reader.oauth_of_tenant(tenant, 0.0, now())
    if calls:
        return setup_of(None, calls)
    page = await reader.incidents(tenant=tenant, limit=1)
    looks = [look for i in page.incidents for look in (i.second_look, i.reading) if look is not None]
    return setup_of(next((look.state for look in looks if isinstance(look.state, Known)), None), ())


def told(found: SetupFinding | None) -> str:
    """One cell of the table: the set-up, and when the client will stop."""
    if found is None:
        return ""
    return str(found.setup) + (f", stops {times.short(found.stops_at)}" if found.stops_at is not None else "")
