"""Answers the questions of API and pages, with the reader that the command line uses too.

What only a diagnosis needs is imported with the first one: a proxy that is not asked for one does not keep it in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from proxy.admin.asking import Case, Listing, Minute, Risk, Silence, StoreAway
from proxy.core.absence import LastRequest
from proxy.core.audit import DAY, Rules
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note
from proxy.core.setup import SetupFinding
from proxy.core.token import Known, Reading, TokenSource
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError
from proxy.settings import Settings

AT_ONCE: Final = 2
"""Questions that stand before the store at once; a dossier asks three things together, and the reader's own pool has eight
connections (evidence/connect.py). What writes evidence down has a pool of its own, which pages cannot exhaust."""


RISKS_KEPT: Final = 60.0
"""Seconds for which tokens at risk are not looked for again: they are days ahead, and up to 20,000 tokens are read."""
WITHIN_DAYS: Final = 30
"""How far ahead, as `scim-witness audit` looks unless told otherwise."""


class Answers:
    """The port `admin.asking.Asking` over the evidence reader and, for the state of now, the source of tokens."""

    def __init__(self, reader: EvidenceReader, source: TokenSource, settings: Settings) -> None:
        self._reader = reader
        self._source = source
        self.settings = settings
        self._free = asyncio.Semaphore(AT_ONCE)
        self._looking = asyncio.Lock()
        self._risks: Mapping[str, Sequence[Risk]] = {}
        self._risks_at = 0.0

    def use(self, source: TokenSource, settings: Settings) -> None:
        """From now on answer by other settings."""
        self._source, self.settings = source, settings

    async def incident(self, incident_id: str) -> Incident | None:
        """See Asking."""
        async with self._turn():
            return await self._reader.incident(incident_id)

    async def incidents(self, tenant: str | None, fingerprint: str | None, before: str | None, limit: int) -> Listing:
        """See Asking."""
        async with self._turn():
            page = await self._reader.incidents(tenant, fingerprint, before, limit)
        return Listing(page.incidents, page.before, page.store_error)

    async def case(self, incident: Incident) -> Case:
        """See Asking."""
        from proxy.core.diagnosis import diagnose  # noqa: PLC0415 - memory, see above
        from proxy.evidence.dossier import dossier  # noqa: PLC0415 - the same

        policy = self.settings.policy
        writes = incident.exchange.method not in ("GET", "HEAD", "OPTIONS")
        required = policy.write_scopes if writes else policy.read_scopes
        async with self._turn():
            found = await dossier(self._reader, incident, required, reads_only=incident.tenant in policy.read_only_tenants)
        return Case(found.evidence, diagnose(found.evidence), found.unread)

    async def notes(self, incident_id: str) -> Sequence[Note]:
        """See Asking."""
        async with self._turn():
            return await self._reader.notes(incident_id)

    async def look_again(self, row: Known) -> Reading | None:
        """See Asking."""
        return (await self._source.reread([row])).get(row.row)

    async def history(self, fingerprint: str) -> TokenHistory | None:
        """See Asking."""
        async with self._turn():
            return await self._reader.history(fingerprint)

    async def tenants(self) -> dict[str, float]:
        """See Asking."""
        async with self._turn():
            return await self._reader.tenants()

    async def at_risk(self) -> Mapping[str, Sequence[Risk]]:
        """See Asking."""
        async with self._looking:
            now = time.time()
            if now >= self._risks_at + RISKS_KEPT:
                async with self._turn():
                    found = await self._reader.at_risk(now, Rules(WITHIN_DAYS * DAY))
                self._risks = {t: [Risk(str(r.code), r.count, r.first) for r in risks] for t, risks in found.items()}
                self._risks_at = now
            return self._risks

    async def last_request(self, tenant: str) -> LastRequest | None:
        """See Asking."""
        async with self._turn():
            return await self._reader.last_request(tenant)

    async def setup(self, tenant: str) -> SetupFinding:
        """See Asking."""
        from proxy.evidence.setups import setup_of_tenant  # noqa: PLC0415 - memory, see above

        async with self._turn():
            return await setup_of_tenant(self._reader, tenant, time.time())

    async def activity(self, tenant: str, start: float, end: float) -> Sequence[Minute]:
        """See Asking."""
        async with self._turn():
            return [Minute(m.start, m.traffic) for m in await self._reader.activity(tenant, start, end)]

    async def silence(self, tenant: str, start: float, end: float) -> Silence:
        """See Asking."""
        from proxy.core.diagnosis import diagnose  # noqa: PLC0415 - memory, see above
        from proxy.evidence.dossier import silence  # noqa: PLC0415 - the same

        known = self.settings.tenants.get(tenant)
        every, client = (known.expected_every, known.client) if known is not None else (None, None)
        async with self._turn():
            found = await silence(self._reader, tenant, start, end, None, every, client)
        return Silence(found.answer, diagnose(found.evidence))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A few at a time, and with the store's trouble in the words of the port."""
        async with self._free:
            try:
                yield
            except StoreError as error:
                raise StoreAway(str(error)) from None
