"""Which set-up a tenant uses, by what is remembered: the calls of the token endpoint that passed here, and the row of the token
that it used last. For the command line and the pages alike.
"""

from __future__ import annotations

from proxy.core.setup import Setup, SetupFinding, setup_of
from proxy.core.token import Known
from proxy.evidence.reader import EvidenceReader


async def setup_of_tenant(reader: EvidenceReader, tenant: str, now: float) -> SetupFinding:
    """The set-up, what shows it, and when a client that cannot renew its token stops. `now` in epoch seconds. StoreError."""
    calls = await reader.oauth_of_tenant(tenant, 0.0, now)
    fingerprint, row = await _in_use(reader, tenant)
    found = setup_of(row, calls, fingerprint) if fingerprint else setup_of(row, ())
    if found.setup is Setup.UNKNOWN and calls:
        return setup_of(None, calls)
    return found


async def _in_use(reader: EvidenceReader, tenant: str) -> tuple[str, Known | None]:
    """The token of the tenant's last request and its row, as read last; else those of its newest incident."""
    last = await reader.last_request(tenant)
    if last is not None and last.fingerprint:
        history = await reader.history(last.fingerprint)
        look = history.last_reading if history is not None else None
        if look is not None and isinstance(look.state, Known):
            return last.fingerprint, look.state
    page = await reader.incidents(tenant=tenant, limit=1)
    for incident in page.incidents:
        for look in (incident.second_look, incident.reading):
            if look is not None and isinstance(look.state, Known):
                return incident.fingerprint, look.state
    return "", None
