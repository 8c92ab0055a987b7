"""The one way to read evidence, for the command line, the API and the pages.

What still lies in the spool is read first and the store after it, so that a record on its way from one to the other is seen.
A store that does not answer is never hidden: either the error is raised, or the page says that it is not whole.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from proxy.core.absence import Absence, LastRequest, Renamed, Span, conclude, coverage, forgotten
from proxy.core.audit import Rules
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note, tag_of, tenant_tag, time_of
from proxy.core.memory import OauthEvent
from proxy.evidence import keys, queries, risk, silence, unshipped
from proxy.evidence.activity import EVERYONE, NOBODY, Minute, last_before, read_last, read_minutes, rest, total
from proxy.evidence.aliases import names_of
from proxy.evidence.events import read_events
from proxy.evidence.heartbeat import MAX_GAP, read_spans
from proxy.evidence.histories import name_since, read_history
from proxy.evidence.oauth_ledger import Link, calls_of_tenant, calls_of_token, link_of, refusals, together
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.verify import purged

T = TypeVar("T", bound=msgspec.Struct)

PREFIX_LENGTH: Final = 8
"""Characters of an incident id or fingerprint that suffice to look for it: one second of time, or 32 bits of a token."""

LISTED_TENANTS: Final = 100_000
ROUNDS: Final = 8
"""Attempts to fill a page when the retention has taken entries that an index still names."""

BETWEEN_LIMIT: Final = 5_000
OF_ONE_TAG: Final = 4
BETWEEN_READ: Final = 200
"""Of the incidents beside one: ids looked through (0.1 MB), read of one tag, read in all (0.3 MB)."""

REFUSALS: Final = 50
"""Newest incidents of a token or tenant in which refusals by the token endpoint are looked for."""

FOUND_LIMIT: Final = 100
"""Matches of a prefix that are returned: more are no help."""


class Page(msgspec.Struct, frozen=True):
    """Incidents, newest first. `before` is the cursor for the next page, None at the end. `store_error` is set when the
    store did not answer and the page holds only what lies in the spool."""

    incidents: tuple[Incident, ...]
    before: str | None = None
    store_error: str = ""


class EvidenceReader:
    """Reads incidents, notes, histories, activity and heartbeats. `store` or `spool` may be missing."""

    def __init__(self, store: RedisStore | None, spool: Path | None) -> None:
        self._store = store
        self._spool = spool

    async def incident(self, incident_id: str) -> Incident | None:
        """Read one incident. None when there is none; ValueError when this is no id; StoreError when nobody can tell."""
        wanted = incident_id.upper()
        time_of(wanted)
        waiting = await self._unshipped()
        if wanted in waiting.incidents:
            return waiting.incidents[wanted]
        unreadable: set[str] = set()
        stored = (await queries.incidents(self._need_store(), [wanted], unreadable)).get(wanted)
        if unreadable:
            raise StoreError("refused", f"{wanted} is on record, but this version cannot read it (incidents verify tells)")
        return None if stored is None else stored.incident

    async def stored(self, incident_id: str) -> queries.Stored | None:
        """An incident as the store has it, with its place in its chain. None while it lies in the spool. StoreError."""
        return (await queries.incidents(self._need_store(), [incident_id.upper()])).get(incident_id.upper())

    async def incidents(
        self, tenant: str | None = None, fingerprint: str | None = None, before: str | None = None, limit: int = 50
    ) -> Page:
        """List incidents, newest first: of a token, else of a tenant, else all. `before` is the cursor of the page before."""
        waiting = await self._unshipped()
        names = {fingerprint} if fingerprint is not None else None
        error, cursor, stored = "", None, list[Incident]()
        try:
            if fingerprint is None:
                stored, cursor = await self._stored_page(
                    keys.RECENT if tenant is None else keys.by_tenant(tenant), before, limit
                )
            else:
                names = set(await names_of(self._need_store(), fingerprint))
                for name in sorted(names):
                    page, behind = await self._stored_page(keys.by_token(name), before, limit)
                    stored += page
                    cursor = max(filter(None, (cursor, behind)), default=None)
        except StoreError as failure:
            error = str(failure)
        found = {i.id: i for i in _matching((*waiting.incidents.values(), *stored), tenant, names, before)}
        newest = sorted(found.values(), key=lambda incident: incident.id, reverse=True)
        cut = tuple(newest[:limit])
        full = len(cut) == limit and (cursor is not None or len(newest) > limit)
        return Page(cut, cut[-1].id if full else cursor, error)

    async def incidents_between(self, start: float, end: float) -> list[Incident]:
        """Incidents of all tenants between two instants (epoch seconds): at most 4 of each tenant's tag and 200 in all, so
        that a flood of one hides none of the others. StoreError."""
        store = self._need_store()
        chosen: dict[str, list[str]] = {}
        for one in await queries.between(store, keys.RECENT, start, end, BETWEEN_LIMIT):
            of_tag = chosen.setdefault(tag_of(one), [])
            if len(of_tag) < OF_ONE_TAG:
                of_tag.append(one)
        wanted = [one for of_tag in chosen.values() for one in of_tag][:BETWEEN_READ]
        found = {i: stored.incident for i, stored in (await queries.incidents(store, wanted)).items()} if wanted else {}
        waiting = (await self._unshipped()).incidents
        found |= {
            i: incident for i, incident in itertools.islice(waiting.items(), BETWEEN_LIMIT) if start <= incident.at <= end
        }
        return sorted(found.values(), key=lambda incident: incident.id)

    async def events(self, key: str, kind: type[T], start: float, end: float, limit: int) -> list[T]:
        """Events of one of the lists of `evidence.events` between two instants (epoch seconds), oldest first. StoreError."""
        return await read_events(self._need_store(), key, kind, start, end, limit)

    async def notes(self, incident_id: str) -> list[Note]:
        """The notes of an incident, oldest first. StoreError when the store does not answer and the spool has none."""
        wanted = incident_id.upper()
        waiting = (await self._unshipped()).notes.get(wanted, {})
        try:
            stored = {n.note.name: n.note for n in await queries.notes(self._need_store(), wanted)}
        except StoreError:
            if not waiting:
                raise
            stored = {}
        return sorted((stored | waiting).values(), key=lambda note: note.at)

    async def history(self, fingerprint: str) -> TokenHistory | None:
        """What all instances together remember of a token, under whatever key it was named. None when it is nothing."""
        return await read_history(self._need_store(), fingerprint)

    async def activity(self, tenant: str, start: float, end: float) -> list[Minute]:
        """Traffic of a tenant per minute between two instants (epoch seconds). `activity.EVERYONE` for all together."""
        return await read_minutes(self._need_store(), tenant, start, end)

    async def last_request(self, tenant: str) -> LastRequest | None:
        """The last request of a tenant and its answer."""
        return await read_last(self._need_store(), tenant)

    async def heartbeats(self, start: float, end: float) -> list[Span]:
        """Spans of heartbeats of all processes that bear on the time between two instants (epoch seconds)."""
        return await read_spans(self._need_store(), start, end)

    async def absence(self, tenant: str, start: float, end: float) -> Absence:
        """What arrived of a tenant between two instants (epoch seconds), and for which share of the time that is proven."""
        store = self._need_store()
        cover = coverage(await self.heartbeats(start, end), start, end, MAX_GAP)
        gone = (await purged(store)).get(tenant_tag(tenant), 0.0)
        everyone, own, nobody = [total(await self.activity(name, start, end)) for name in (EVERYONE, tenant, NOBODY)]
        last = await last_before(store, tenant, start)
        name = await name_since(store, tenant, last) if not own.requests else ""
        renamed = Renamed(name, total(await self.activity(name, start, end))) if name else None
        return conclude(
            tenant,
            start,
            end,
            arrived=own,
            others=rest(everyone, own, nobody),
            unattributed=nobody,
            cover=cover if gone <= start else forgotten(cover, start, end, min(gone, end)),
            last_before=last,
            renamed=renamed,
        )

    async def oauth_link(self, refresh: str) -> Link | None:
        """The access token that a refresh token (fingerprint) was issued with. StoreError."""
        return await link_of(self._need_store(), refresh)

    async def oauth_of_token(self, fingerprint: str) -> list[OauthEvent]:
        """The OAuth calls that bear on a token, oldest first. Refusals are incidents too, and read there as well: the ledger
        may not have them yet, or never after a crash. StoreError."""
        page = await self.incidents(fingerprint=fingerprint, limit=REFUSALS)
        names = await names_of(self._need_store(), fingerprint)
        calls = [call for name in names for call in await calls_of_token(self._need_store(), name)]
        return together(calls, refusals(page.incidents))

    async def oauth_of_tenant(self, tenant: str, start: float, end: float) -> list[OauthEvent]:
        """The newest OAuth calls of a tenant between two instants (epoch seconds), oldest first. StoreError."""
        page = await self.incidents(tenant=tenant, limit=REFUSALS)
        refused = [call for call in refusals(page.incidents) if start <= call.at <= end]
        return together(await calls_of_tenant(self._need_store(), tenant, start, end), refused)

    async def tenants(self) -> dict[str, float]:
        """Every tenant that was seen, with the time (epoch seconds) of its last incident or activity."""
        found = await queries.members(self._need_store(), keys.TENANTS, LISTED_TENANTS)
        for incident in (await self._unshipped()).incidents.values():
            found[incident.tenant] = max(incident.at, found.get(incident.tenant, 0.0))
        return found

    async def silences(self, seen: Mapping[str, float]) -> dict[str, silence.Mark]:
        """Which of these tenants (as `tenants` gives them) are silent against their habit since they were last seen."""
        return await silence.marks(self._need_store(), seen)

    async def at_risk(self, now: float, rules: Rules) -> dict[str, tuple[risk.Risk, ...]]:
        """The tenants whose tokens in use will fail, by what is remembered of the newest of them. StoreError."""
        return await risk.at_risk(self._need_store(), now, rules)

    async def find_incidents(self, prefix: str) -> list[str]:
        """Incident ids that begin with these characters, at least 8. ValueError when they cannot be a beginning."""
        wanted = prefix.upper()
        if len(wanted) < PREFIX_LENGTH:
            raise ValueError(f"at least {PREFIX_LENGTH} characters of an incident id")
        waiting = [i for i in (await self._unshipped()).incidents if i.startswith(wanted)]
        earliest, latest = time_of(wanted.ljust(26, "0")), time_of(wanted.ljust(26, "Z"))
        stored = await queries.between(self._need_store(), keys.RECENT, earliest, latest, 10 * FOUND_LIMIT)
        return sorted({*waiting, *(i for i in stored if i.startswith(wanted))})[:FOUND_LIMIT]

    async def find_tokens(self, prefix: str) -> list[str]:
        """Fingerprints with a history that begin with these digits, at least 8. ValueError when they are too few."""
        wanted = prefix.lower()
        if len(wanted) < PREFIX_LENGTH:
            raise ValueError(f"at least {PREFIX_LENGTH} digits of a fingerprint")
        found = await queries.members(self._need_store(), keys.known_tokens(wanted), 10 * FOUND_LIMIT)
        return sorted(fp for fp in found if fp.startswith(wanted))[:FOUND_LIMIT]

    async def _unshipped(self) -> unshipped.Unshipped:
        return await asyncio.to_thread(unshipped.read, self._spool)

    def _need_store(self) -> RedisStore:
        if self._store is None:
            raise StoreError("unreachable", "no store is configured")
        return self._store

    async def _stored_page(self, index: str, before: str | None, limit: int) -> tuple[list[Incident], str | None]:
        """Fill a page; return the cursor behind it, None at the end of the index."""
        store = self._need_store()
        found: list[Incident] = []
        cursor = before
        for _ in range(ROUNDS):
            ids = await queries.page(store, index, cursor, limit)
            stored = await queries.incidents(store, ids) if ids else {}
            found += [stored[i].incident for i in ids if i in stored]
            if len(ids) < limit:
                return found, None
            cursor = ids[-1]
            if len(found) >= limit:
                break
        return found, cursor


def _matching(
    incidents: Iterable[Incident], tenant: str | None, names: Collection[str] | None, before: str | None
) -> Iterable[Incident]:
    for incident in incidents:
        if tenant is not None and incident.tenant != tenant:
            continue
        if names is not None and incident.fingerprint not in names:
            continue
        if before is None or incident.id < before.upper():
            yield incident
