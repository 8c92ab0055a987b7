"""Gathers everything known of an incident, or of a silence, as the one value that a diagnosis looks at.

Used by the command line, the API and the pages, so that all of them name the same cause. Whatever cannot be read is left out
and named in `Dossier.unread`: an absent field is an unknown, never a `no`. Nothing here judges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from proxy.core import absence as answers
from proxy.core.diagnosis.evidence import (
    Absence,
    Activity,
    BackendVerdicts,
    ClientMemory,
    Coverage,
    Death,
    Evidence,
    NeighbourIncident,
    NeighbourRequest,
    OauthEvent,
    Others,
)
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note
from proxy.core.memory import FirstUse
from proxy.core.setup import refused_exchanges
from proxy.core.token import Known, Reading, Sibling
from proxy.evidence import keys, records
from proxy.evidence.backends import joined
from proxy.evidence.beside import AGAIN, BACKENDS
from proxy.evidence.cadence import DAYS, cadence
from proxy.evidence.oauth_ledger import together
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError

BESIDE_SECONDS: Final = 60.0
"""What happened beside an incident: this long before and after it."""
NEAR_SECONDS: Final = 2.0
"""Requests of others this near to a revocation may have caused it; clocks of proxy and database agree no better."""
DEATHS_LIMIT: Final = 500
"""Ends of tokens that are read beside an incident: more is a mass, and is called so."""
SIBLINGS_LIMIT: Final = 16
"""Newer rows whose first use is looked up: the source gives at most 8 of a relation."""
DAY: Final = 86_400.0
CALLS_BEFORE: Final = 30 * DAY
"""Seconds before an incident over which the OAuth calls of its tenant are read: who cannot refresh is missed within a month."""

T = TypeVar("T")


class Dossier(msgspec.Struct, frozen=True):
    """`unread` names what could not be read, and why: `others: store timeout`."""

    evidence: Evidence
    unread: tuple[str, ...] = ()


class Silence(msgspec.Struct, frozen=True):
    """The answer to "did anything arrive?", and the evidence to diagnose it by."""

    answer: answers.Absence
    evidence: Evidence


async def dossier(
    reader: EvidenceReader, incident: Incident, required_scopes: Sequence[str] = (), *, reads_only: bool | None = None
) -> Dossier:
    """Gather what is known of an incident now. `required_scopes`, `reads_only`: what the settings say of its operation and its
    tenant. Never raises for a store that is away or for a record it cannot read."""
    unread: list[str] = []
    notes = await _try("notes", reader.notes(incident.id), [], unread)
    name, calls = await _oauth(reader, incident, unread)
    history = await _try("history", reader.history(name), None, unread) if name else None
    uses = await _try("first uses of other tokens", _uses(reader, _revoked_at(incident, history)), [], unread)
    evidence = Evidence(
        incident=incident,
        notes=tuple(notes),
        history=history,
        client=_client(incident, notes),
        others=await _others(reader, incident, history, uses, unread),
        backend_verdicts=await _verdicts(reader, incident, notes, unread),
        addressed_tenant=incident.addressed_tenant,
        required_scopes=tuple(required_scopes),
        reads_only=reads_only,
        first_uses={use.fingerprint: use.at for use in uses} | await _first_uses(reader, notes, incident, unread),
        first_uses_of_rows={str(use.row): use.at for use in uses if use.row is not None},
        not_renewed=tuple(name for use in uses if use.new and use.renewed is False for name in (use.fingerprint, str(use.row))),
        refresh_token_of=await _access_of(reader, incident, history, unread),
        owner_change=incident.owner_change,
        oauth=calls,
        addressed_serves=await _serves(reader, incident, unread),
        readings=tuple(r for note in notes if note.surroundings is not None for r in note.surroundings.readings),
        grant_exists=_granted(incident, notes),
    )
    return Dossier(evidence, tuple(dict.fromkeys(unread)))


def _granted(incident: Incident, notes: Sequence[Note]) -> bool | None:
    """Whether a grant of the same application and owner was found around the token."""
    around = (found for found in (incident.surroundings, *(note.surroundings for note in notes)) if found is not None)
    return next((found.granted for found in around if found.granted is not None), None)


async def silence(
    reader: EvidenceReader,
    tenant: str,
    start: float,
    end: float,
    reported_at: float | None = None,
    expected_every: float | None = None,
    client: str | None = None,
) -> Silence:
    """Gather what is known of a time in which nothing seems to have arrived. Times in epoch seconds; `expected_every` is the
    tenant's cadence in seconds and `client` its kind where the operator has set them. StoreError, because without the store
    nothing can be said."""
    answer = await reader.absence(tenant, start, end)
    last = answer.last_before
    minutes = await reader.activity(tenant, start - DAYS * DAY, last.at + 60 if last is not None else start)
    usual = cadence([minute.start for minute in minutes])
    activity = Activity(
        last_at=last.at if last is not None else None,
        last_status=(last.status or None) if last is not None else None,
        last_reason=last.reason if last is not None else "",
        last_incident=last.incident if last is not None else "",
        last_user_agent=last.agent if last is not None else "",
        usual_gap=expected_every or usual.longest,
        samples=usual.pauses if expected_every is None else max(usual.pauses, len(minutes)),
        learned_over=usual.over,
        given=expected_every is not None,
        client=client or "",
    )
    asked = Absence(start, end, answer.arrived.requests, answer.others.requests, reported_at, answer.unattributed.requests)
    if answer.renamed is not None:
        other = answer.renamed
        asked = msgspec.structs.replace(asked, renamed=other.tenant, as_renamed=other.arrived.requests)
    cover = Coverage(answer.coverage.share, tuple((gap.start, gap.end) for gap in answer.coverage.gaps))
    calls = tuple(await reader.oauth_of_tenant(tenant, start - CALLS_BEFORE, end))
    answer = msgspec.structs.replace(answer, sentences=(*answer.sentences, *refused_exchanges(calls)))
    return Silence(answer, Evidence(activity=activity, coverage=cover, absence=asked, oauth=calls))


async def _try(what: str, asked: Awaitable[T], otherwise: T, unread: list[str]) -> T:
    try:
        return await asked
    except StoreError as error:
        unread.append(f"{what}: {error}")
        return otherwise


async def _oauth(reader: EvidenceReader, incident: Incident, unread: list[str]) -> tuple[str, tuple[OauthEvent, ...]]:
    """The name of the access token that an incident is about, and the OAuth calls of it and of its tenant."""
    name, tenant, said = incident.fingerprint, incident.tenant, incident.oauth
    own: list[OauthEvent] = [] if said is None else [said]
    if said is not None and said.refresh_presented and not said.presented:
        link = await _try("refresh token", reader.oauth_link(said.refresh_presented), None, unread)
        if link is not None:
            name, tenant = link.access, link.tenant or tenant
            own = [msgspec.structs.replace(said, presented=name, tenant=tenant)]
    found = await _try("oauth calls of the token", reader.oauth_of_token(name), [], unread) if name else []
    start, end = incident.at - CALLS_BEFORE, incident.at + BESIDE_SECONDS
    if not tenant.startswith("_"):
        beside = await _try("oauth calls of the tenant", reader.oauth_of_tenant(tenant, start, end), [], unread)
        found = together(found, beside)
    return name, tuple(together(found, own))


# --- notes ----------------------------------------------------------------------------------------------------------


def _read(text: str, kind: type[T], otherwise: T) -> T:
    """What a note's text holds; a text of another version or of a person is no evidence."""
    try:
        return msgspec.json.decode(text, type=kind)
    except records.UNREADABLE:
        return otherwise


def _client(incident: Incident, notes: Iterable[Note]) -> ClientMemory | None:
    memory = incident.client
    again = [_read(note.text, ClientMemory, ClientMemory()).again for note in notes if note.name == AGAIN]
    if memory is None or not again:
        return memory
    return msgspec.structs.replace(memory, again=again[0])


async def _verdicts(
    reader: EvidenceReader, incident: Incident, notes: Sequence[Note], unread: list[str]
) -> tuple[BackendVerdicts, ...]:
    """The latest copy of how the instances answered this token. Each copy counts on from the one before, so they are not
    added up; the incident's own answer counts where no later copy has it."""
    if incident.backend is None:
        return ()
    later = [note for note in notes if note.name.startswith(f"{BACKENDS}+")]
    if later:
        newest = max(later, key=lambda note: note.at)
        return _read(newest.text, tuple[BackendVerdicts, ...], ())
    refused = BackendVerdicts(incident.backend.address, 0, 1, incident.at, incident.at)
    page = await _try("incidents of the token", _next_incidents(reader, incident), (), unread)
    copies = [other.backends for other in page if other.backends and 0 < other.at - incident.at <= DAY / 24]
    return copies[0] if copies else joined([*incident.backends, refused])


async def _next_incidents(reader: EvidenceReader, incident: Incident) -> tuple[Incident, ...]:
    page = await reader.incidents(fingerprint=incident.fingerprint, limit=20)
    return tuple(sorted(page.incidents, key=lambda other: other.at))


async def _serves(reader: EvidenceReader, incident: Incident, unread: list[str]) -> bool | None:
    """Whether the tenant whose address was called is served with tokens of its own. None where the question does not arise."""
    if not incident.addressed_tenant or incident.addressed_tenant == incident.tenant or incident.backend is None:
        return None
    start = incident.at - DAYS * DAY
    minutes = await _try("activity", reader.activity(incident.addressed_tenant, start, incident.at + DAY), [], unread)
    return any(minute.traffic.good for minute in minutes)


async def _access_of(reader: EvidenceReader, incident: Incident, history: TokenHistory | None, unread: list[str]) -> str:
    """The access token with which what was presented had been issued here as a refresh token; empty where it was none."""
    if incident.oauth is not None or not incident.fingerprint or (history is not None and history.last_good is not None):
        return ""
    link = await _try("refresh token", reader.oauth_link(incident.fingerprint), None, unread)
    return link.access if link is not None else ""


# --- others ---------------------------------------------------------------------------------------------------------


async def _others(
    reader: EvidenceReader, incident: Incident, history: TokenHistory | None, uses: Sequence[FirstUse], unread: list[str]
) -> Others:
    at = incident.at
    ended = _ended_between(incident, history)
    beside, deaths = await asyncio.gather(
        _try("incidents of others", reader.incidents_between(at - BESIDE_SECONDS, at + BESIDE_SECONDS), [], unread),
        _try("ends of other tokens", _deaths(reader, *ended), [], unread),
    )
    return Others(
        incidents=_grouped(other for other in beside if other.id != incident.id),
        deaths=tuple(death for death in deaths if death.fingerprint != incident.fingerprint),
        requests=tuple(
            NeighbourRequest(use.tenant, use.at, True if use.new else None, use.seconds, use.renewed is True)
            for use in uses
            if use.fingerprint != incident.fingerprint
        ),
    )


def _grouped(incidents: Iterable[Incident]) -> tuple[NeighbourIncident, ...]:
    """One entry for each tenant and reason. A tenant that nobody knows is no tenant beside."""
    found: dict[tuple[str, str], list[float]] = {}
    for incident in incidents:
        if not incident.tenant.startswith("_"):
            found.setdefault((incident.tenant, incident.reason), []).append(incident.at)
    return tuple(NeighbourIncident(tenant, reason, min(at), len(at)) for (tenant, reason), at in sorted(found.items()))


def _looks(incident: Incident, history: TokenHistory | None) -> list[Reading]:
    """Readings from which the offset of the source's clock is known, those of the incident first."""
    last = [h.last_reading for h in (incident.history, history) if h is not None]
    return [look for look in (incident.second_look, incident.reading, *last) if look is not None]


def _revoked_at(incident: Incident, history: TokenHistory | None) -> float | None:
    """When the token's row was revoked, by the proxy's clock."""
    looks = _looks(incident, history)
    offset = next((look.clock_offset for look in looks if look.clock_offset is not None), 0.0)
    for look in looks:
        if isinstance(look.state, Known) and look.state.revoked_at is not None:
            return look.state.revoked_at - offset
    return None


def _ended_between(incident: Incident, history: TokenHistory | None) -> tuple[float, float]:
    """The minute in which the token was seen to end; where that is not known, the minute of the incident."""
    changes = [c for h in (incident.history, history) if h is not None for c in h.changes if c.seen_after <= incident.at + 60]
    seen = max((change.seen_after for change in changes if isinstance(change.before, Known)), default=incident.at)
    return seen - BESIDE_SECONDS, seen + BESIDE_SECONDS


async def _deaths(reader: EvidenceReader, start: float, end: float) -> list[Death]:
    return await reader.events(keys.DEATHS, Death, start, end, DEATHS_LIMIT)


async def _uses(reader: EvidenceReader, revoked_at: float | None) -> list[FirstUse]:
    if revoked_at is None:
        return []
    return await reader.events(keys.FIRST_USES, FirstUse, revoked_at - NEAR_SECONDS, revoked_at + NEAR_SECONDS, DEATHS_LIMIT)


async def _first_uses(reader: EvidenceReader, notes: Sequence[Note], incident: Incident, unread: list[str]) -> dict[str, float]:
    """When the newer tokens of the same grant were first used here, where their names are known."""
    around = [incident.surroundings, *(note.surroundings for note in notes)]
    siblings: list[Sibling] = [s for a in around if a is not None for s in a.siblings if s.relation in ("newer", "successor")]
    names = list(dict.fromkeys(s.fingerprint for s in siblings if s.fingerprint))[:SIBLINGS_LIMIT]
    found: dict[str, float] = {}
    for name in names:
        history = await _try("first uses of newer tokens", reader.history(name), None, unread)
        if history is not None and history.first_good is not None:
            found[name] = history.first_good
    return found
