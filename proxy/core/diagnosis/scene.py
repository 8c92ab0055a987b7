"""The evidence put in order, once, for all rules: what was so *then*, what was known *before*, what was seen *later*.

The rule that governs this file: a reading counts as `then` only if it was taken at the incident. Everything newer is
`later` and may never speak for the moment of the refusal. Order of notes, siblings and neighbours makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from proxy.core.diagnosis.evidence import Evidence, Others
from proxy.core.exchange import AnsweredBy
from proxy.core.history import TokenHistory
from proxy.core.incident import BackendAnswer, Incident, Kind
from proxy.core.token import Known, NearMiss, Reading, Sibling, Surroundings, Unavailable, Unknown
from proxy.core.verdict import Reason

_HELD_VALID: Final = (Reason.ACTIVE, Reason.ACTIVE_STALE)
AT_THE_TIME: Final = 60.0
"""Seconds after an incident in which a second look still belongs to it: a backend may take this long to answer."""
NO_LINK: Final = "no_previous_refresh_token"
"""The schema flag of a Doorkeeper that does not link a refreshed row to the one before it."""
AROUND: Final = "what the source knows around the token"
"""What is missing while the look around a token has not been made, or gave up."""

T = TypeVar("T")


class Scene(msgspec.Struct, frozen=True):
    """`at` is the incident by the proxy's clock, `now` the same moment by the source's. `row` is the row as it was then,
    `before` the newest row seen earlier; `gone`: the source had none then. `confirmed`: not only a replica says so.
    `failing_since` is the first failure since `last_good`. `vanished` is the interval (proxy's clock) in which the row
    went. `searched`: near misses were looked for without error. `sightings` are all rows seen up to then, oldest first."""

    evidence: Evidence
    incident: Incident | None
    at: float
    now: float
    reason: str
    credential: str
    then: Reading | None
    row: Known | None
    before: Known | None
    gone: bool
    confirmed: bool
    later: tuple[Reading, ...]
    siblings: tuple[Sibling, ...]
    near_misses: tuple[NearMiss, ...]
    searched: bool
    same_instant: int
    flags: frozenset[str]
    last_good: float | None
    failing_since: float
    vanished: tuple[float | None, float]
    others: Others
    sightings: tuple[tuple[float, Known], ...] = ()

    @property
    def observed(self) -> bool:
        """The request was let through, and the record was made before the backend answered."""
        return self.incident is not None and self.incident.kind is Kind.WOULD_REFUSE

    @property
    def refused_too(self) -> bool:
        """The backend refused what was only observed here."""
        history = self.evidence.history
        return self.observed and history is not None and history.last_bad is not None and history.last_bad >= self.at

    @property
    def served(self) -> bool:
        """The backend took the token at that moment or later: it was let through, or the backend knows more than the source."""
        history = self.evidence.history
        exchange = self.incident.exchange if self.incident else None
        at_once = exchange is not None and exchange.answered_by is AnsweredBy.BACKEND and 200 <= exchange.status < 300
        later = history is not None and history.last_good is not None and history.last_good >= self.at
        taken = any(v.accepted and (v.last_accepted or 0.0) >= self.at for v in self.evidence.backend_verdicts)
        return at_once or taken or (self.observed and later)

    @property
    def by_backend(self) -> bool:
        """The backend refused it; we had let it pass."""
        return self.incident is not None and self.incident.kind in (Kind.BACKEND_REFUSAL, Kind.DISAGREEMENT)

    @property
    def backend(self) -> BackendAnswer | None:
        """The refusing backend's words."""
        return self.incident.backend if self.incident else None

    @property
    def by_a_page(self) -> bool:
        """The backend refused with an HTML page, as a tier before it does. Rails calls its empty refusals HTML too."""
        answer = self.backend
        return answer is not None and "html" in answer.content_type.lower() and bool(answer.body.strip())

    @property
    def presented(self) -> bool:
        """A well-formed bearer token was presented."""
        return self.credential.startswith("bearer") or (not self.credential and bool(self.fingerprint))

    @property
    def fingerprint(self) -> str:
        """The token's name, empty without one."""
        return self.incident.fingerprint if self.incident else ""

    @property
    def incident_tenant(self) -> str:
        """Whose incident it is, empty without one."""
        return self.incident.tenant if self.incident else ""

    @property
    def credential_length(self) -> int:
        """Octets of what was presented, 0 where that is not known."""
        return self.incident.credential_length if self.incident else 0

    @property
    def offset(self) -> float | None:
        """Seconds by which the source's clock is ahead of ours."""
        return self.then.clock_offset if self.then else None

    @property
    def in_a_file(self) -> bool:
        """The source is a token file: people write it, no copy of it lags behind, and no clean-up takes from it."""
        return self.then is not None and self.then.via == "file"

    @property
    def elsewhere(self) -> bool:
        """Called at the address of a tenant that is not the row's, and where the token has not been served."""
        row, addressed = self.row, self.evidence.addressed_tenant
        if row is None or not addressed or not row.tenant or addressed == row.tenant:
            return False
        history = self.incident.history if self.incident else None
        return history is None or history.last_good_address != addressed

    @property
    def last_row(self) -> Known | None:
        """The row then; when it was gone, the row as last seen."""
        return self.row if self.row is not None else self.before if self.gone else None

    @property
    def moved(self) -> tuple[float, Known] | None:
        """The newest sight of the row in another source than the one that has it now, of several that name theirs."""
        here = source_of(self.row) if self.then is not None and source_of(self.row) == self.then.source else ""
        others = [(at, row) for at, row in self.sightings if here and source_of(row) not in ("", here)]
        return others[-1] if others else None

    @property
    def alive_then(self) -> bool:
        """The source held the token valid at that moment."""
        return self.row is not None and ended(self.row, self.now) is None

    @property
    def healed(self) -> Reading | None:
        """The first later reading that has the row although it was missing then."""
        return next((r for r in self.later if isinstance(r.state, Known)), None) if self.gone else None

    @property
    def mass(self) -> bool:
        """More rows were revoked in the same millisecond: two others, or one of the same application and owner."""
        related = {s.row for s in self.siblings if s.relation in ("newer", "older")}
        kin = any(s.relation == "same_instant" and s.row in related for s in self.siblings)
        return self.same_instant >= 2 or (self.same_instant == 1 and (kin or "same_instant_within_grant" in self.flags))

    def source_time(self, at: float) -> float:
        """A time of the proxy's clock by the source's clock."""
        return at + (self.offset or 0.0)

    def first_use(self, sibling: Sibling) -> float | None:
        """When another row's token was first used here, by the source's clock; by its name, or by its row among digests."""
        used = self.evidence.first_uses.get(sibling.fingerprint or "")
        used = self.evidence.first_uses_of_rows.get(str(sibling.row)) if used is None else used
        return None if used is None else self.source_time(used)

    def no_refresh(self, sibling: Sibling) -> bool:
        """Whether another row was seen not to come from a refresh, which a Doorkeeper that links rows tells until their first
        use."""
        told = self.evidence.not_renewed
        return NO_LINK not in self.flags and (sibling.fingerprint in told or str(sibling.row) in told)

    def related(self, relation: str) -> tuple[Sibling, ...]:
        """Siblings of one relation that existed then, oldest first."""
        return tuple(s for s in self.siblings if s.relation == relation and s.created_at <= self.now)


def source_of(row: Known | None) -> str:
    """The source that a row is of where several are asked (`source:row`), else empty."""
    return str(row.row).rpartition(":")[0].partition(":")[0] if row is not None else ""


def ended(row: Known, now: float) -> str | None:
    """Tell what ended a row by `now` of the source's clock: `revoked`, `expired` or None. Doorkeeper's own precedence."""
    if row.revoked_at is not None and row.revoked_at <= now:
        return "revoked"
    if row.expires_at is not None and row.expires_at < now:
        return "expired"
    return None


def other_form(scene: Scene) -> NearMiss | None:
    """The presented token itself, unchanged, stored in another form than the one that is looked for."""
    return next((m for m in scene.near_misses if m.change == "none" and m.column == "token"), None)


def refused_beside(scene: Scene) -> list[str]:
    """Other tenants whose live tokens the backend refused in the same minute: what happens to all is no matter of one."""
    return sorted({i.tenant for i in scene.others.incidents if i.reason in _HELD_VALID and i.tenant != scene.incident_tenant})


def set_scene(evidence: Evidence) -> Scene:
    """Put the evidence in order. Never raises, whatever is missing."""
    incident = evidence.incident
    at = incident.at if incident else evidence.absence.end if evidence.absence else 0.0
    then = _then(incident, at)
    around = surroundings_of(evidence)
    histories = [h for h in (incident.history if incident else None, evidence.history) if h is not None]
    last_good = _last_good(histories, incident, at)
    failing_since = _failing_since(histories, last_good, at)
    moment = max(at, then.read_at) if then else at
    return Scene(
        evidence=evidence,
        incident=incident,
        at=at,
        now=moment + ((then.clock_offset or 0.0) if then else 0.0),
        reason=incident.reason if incident else "",
        credential=incident.exchange.credential if incident else "",
        then=then,
        row=then.state if then and isinstance(then.state, Known) else None,
        before=_row_before(histories, at),
        gone=then is not None and isinstance(then.state, Unknown),
        confirmed=then is not None and then.via != "replica",
        later=_later(evidence, at),
        siblings=_in_order((s for a in around for s in a.siblings), lambda s: s.created_at),
        near_misses=_in_order((m for a in around for m in a.near_misses), lambda _: 0.0),
        searched=any(a.error is None for a in around),
        same_instant=max((a.same_instant_count for a in around), default=0),
        flags=frozenset(flag for a in around for flag in a.schema_flags),
        last_good=last_good,
        failing_since=failing_since,
        vanished=_vanished(histories, last_good, failing_since, at),
        others=evidence.others or Others(),
        sightings=tuple(sorted(_once(_sightings(histories, at)), key=lambda pair: (pair[0], repr(pair[1])))),
    )


def _last_good(histories: Iterable[TokenHistory], incident: Incident | None, at: float) -> float | None:
    """The last good answer before the incident. A request that was only observed was itself let through: it is not before."""
    observed = incident is not None and incident.kind is Kind.WOULD_REFUSE
    good = (h.last_good for h in histories if h.last_good is not None)
    return max((seen for seen in good if seen < at or (seen == at and not observed)), default=None)


def _then(incident: Incident | None, at: float) -> Reading | None:
    """The reading that tells the state at the incident: the second look if it answered, else what the verdict rests on."""
    if incident is None:
        return None
    looks = [r for r in (incident.second_look, incident.reading) if r is not None and r.read_at <= at + AT_THE_TIME]
    answered = [r for r in looks if not isinstance(r.state, Unavailable)]
    return next(iter(answered or looks), None)


def _later(evidence: Evidence, at: float) -> tuple[Reading, ...]:
    readings = [n.reading for n in evidence.notes if n.reading is not None]
    second = evidence.incident.second_look if evidence.incident else None
    if second is not None and second.read_at > at + AT_THE_TIME:
        readings.append(second)
    return _in_order((r for r in readings if r.read_at >= at), lambda r: r.read_at)


def surroundings_of(evidence: Evidence) -> list[Surroundings]:
    """What was found around the token, at the incident and after it."""
    own = evidence.incident.surroundings if evidence.incident else None
    return [s for s in (own, *(n.surroundings for n in evidence.notes)) if s is not None]


def _in_order(items: Iterable[T], key: Callable[[T], float]) -> tuple[T, ...]:
    """Without repeats and in one order, however the evidence was delivered."""
    distinct = {repr(item): item for item in items}
    return tuple(sorted(distinct.values(), key=lambda item: (key(item), repr(item))))


def _failing_since(histories: Iterable[TokenHistory], last_good: float | None, at: float) -> float:
    """The earliest failure on record after the last good answer. `first_bad` may lie before it; then `last_bad` is nearer."""
    known = [bad for h in histories for bad in (h.failing_since, h.first_bad, h.last_bad) if bad is not None and bad <= at]
    return min((bad for bad in known if last_good is None or bad > last_good), default=at)


def _sightings(histories: Iterable[TokenHistory], at: float) -> Iterator[tuple[float, Known]]:
    """Every row that was seen up to `at`, with the time of the look."""
    for history in histories:
        looks = [(c.seen_before, c.before) for c in history.changes] + [(c.seen_after, c.after) for c in history.changes]
        if history.last_reading is not None:
            looks.append((history.last_reading.read_at, history.last_reading.state))
        yield from ((seen, state) for seen, state in looks if isinstance(state, Known) and seen <= at)


def _once(looks: Iterable[tuple[float, Known]]) -> list[tuple[float, Known]]:
    """Each look once."""
    return list({repr(look): look for look in looks}.values())


def _row_before(histories: Iterable[TokenHistory], at: float) -> Known | None:
    seen = sorted(_sightings(histories, at), key=lambda pair: (pair[0], repr(pair[1])))
    return seen[-1][1] if seen else None


def _vanished(
    histories: list[TokenHistory], last_good: float | None, failing_since: float, at: float
) -> tuple[float | None, float]:
    """Between which two looks the row went: as observed, or at worst between the last good answer and the first bad one."""
    observed = [
        (c.seen_before, c.seen_after)
        for h in histories
        for c in h.changes
        if isinstance(c.before, Known) and isinstance(c.after, Unknown) and c.seen_after <= at + AT_THE_TIME
    ]
    if observed:
        return max(observed)
    known = [seen for seen, _ in _sightings(histories, failing_since)]
    return max([*known, *([last_good] if last_good is not None else [])], default=None), failing_since
