"""Which set-up tenants use, for the list of tenants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.cli import times
from proxy.cli.reading import now
from proxy.core.setup import Setup, SetupFinding
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.setups import setup_of_tenant

SETUPS: Final = 200
"""Tenants whose set-up is told, those heard of last first: some round trips to the store each."""


async def setups(reader: EvidenceReader, ordered: Iterable[str]) -> dict[str, SetupFinding]:
    """The set-up of the first tenants of a list, where it can be told. StoreError."""
    named = [tenant for tenant in ordered if not tenant.startswith("_")][:SETUPS]
    found = {tenant: await setup_of_tenant(reader, tenant, now()) for tenant in named}
    return {tenant: finding for tenant, finding in found.items() if finding.setup is not Setup.UNKNOWN}


def told(found: SetupFinding | None) -> str:
    """One cell of the table: the set-up, and when the client will stop."""
    if found is None:
        return ""
    return str(found.setup) + (f", stops {times.short(found.stops_at)}" if found.stops_at is not None else "")
