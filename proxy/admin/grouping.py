"""Incidents that tell of one trouble, as one line: same tenant, same reason, same token. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from proxy.core.incident import Incident


class Group(msgspec.Struct, frozen=True):
    """Incidents of one tenant, reason and fingerprint. Times are epoch seconds, `newest` and `oldest` are incident ids."""

    tenant: str
    reason: str
    fingerprint: str
    kind: str
    status: int
    count: int
    first: float
    last: float
    newest: str
    oldest: str
    operation: str


def grouped(incidents: Iterable[Incident]) -> list[Group]:
    """Group incidents, the group with the newest one first."""
    found: dict[tuple[str, str, str], list[Incident]] = {}
    for incident in incidents:
        found.setdefault((incident.tenant, incident.reason, incident.fingerprint), []).append(incident)
    groups = [_group(sorted(own, key=lambda incident: incident.id)) for own in found.values()]
    return sorted(groups, key=lambda group: group.newest, reverse=True)


def _group(own: list[Incident]) -> Group:
    oldest, newest = own[0], own[-1]
    return Group(
        newest.tenant,
        newest.reason,
        newest.fingerprint,
        str(newest.kind),
        newest.exchange.status,
        len(own),
        oldest.at,
        newest.at,
        newest.id,
        oldest.id,
        newest.exchange.operation,
    )
