"""The incident page as a value: what stands in each of its boxes. Pure; `then` and `now` are never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from proxy.admin.asking import Case
from proxy.admin.pages_timeline import Timeline, state_word, timeline
from proxy.core.diagnosis.evidence import Death, NeighbourIncident
from proxy.core.diagnosis.scene import set_scene
from proxy.core.diagnosis.words import span, utc
from proxy.core.explain import Explanation, explain
from proxy.core.incident import Incident
from proxy.core.token import Known, Reading

_CONFIDENCE = {"certain": "certain", "likely": "likely", "possible": "not decided"}


class Compared(msgspec.Struct, frozen=True):
    """One field of the token's row then and now."""

    field: str
    then: str
    now: str
    differs: bool


class Step(msgspec.Struct, frozen=True):
    """One step of the request. `share` (0 to 100) is its part of the whole; `remark` says why a step was not taken."""

    name: str
    seconds: float | None
    share: float
    remark: str


class Beside(msgspec.Struct, frozen=True):
    """What else happened. `tenants` were refused within the minute, of `of_tenants` known (0: not known)."""

    incidents: tuple[NeighbourIncident, ...]
    deaths: tuple[Death, ...]
    of_token: tuple[Incident, ...]
    of_tenant: tuple[Incident, ...]
    tenants: int
    of_tenants: int


class IncidentPage(msgspec.Struct, frozen=True):
    """Everything that the template shows."""

    incident: Incident
    told: Explanation
    confidence: str
    who: str
    compared: tuple[Compared, ...]
    then: Reading | None
    now: Reading | None
    timeline: Timeline
    steps: tuple[Step, ...]
    beside: Beside
    unread: tuple[str, ...]


def incident_page(
    case: Case,
    present: Reading | None,
    now: float,
    of_token: Sequence[Incident] = (),
    of_tenant: Sequence[Incident] = (),
    tenants: int = 0,
) -> IncidentPage:
    """Put a case into boxes. `present` is a reading taken now; without one the newest on record stands for it."""
    incident = case.evidence.incident
    if incident is None:
        raise ValueError("a page needs an incident")
    scene = set_scene(case.evidence)
    newest = present or max(scene.later, key=lambda look: look.read_at, default=None)
    told = explain(case.evidence, case.diagnosis, now)
    others = scene.others
    beside = Beside(
        others.incidents,
        others.deaths,
        tuple(other for other in of_token if other.id != incident.id),
        tuple(other for other in of_tenant if other.id != incident.id and other.fingerprint != incident.fingerprint),
        len({name for name in (incident.tenant, *(o.tenant for o in others.incidents)) if not name.startswith("_")}),
        tenants,
    )
    return IncidentPage(
        incident,
        told,
        _CONFIDENCE[str(case.diagnosis.cause.confidence)],
        "backend" if scene.by_backend else str(incident.exchange.answered_by),
        tuple(_compared(scene.then, newest)),
        scene.then,
        newest,
        timeline(case.evidence),
        tuple(_steps(incident)),
        beside,
        case.unread,
    )


def _compared(then: Reading | None, now: Reading | None) -> Iterable[Compared]:
    if then is None:
        return
    before, after = fields_of(then), fields_of(now) if now is not None else {}
    for field, value in before.items():
        present = after.get(field, "") if now is not None else "not read"
        yield Compared(field, value, present, now is not None and value != present)


def fields_of(look: Reading) -> dict[str, str]:
    """The row in words, by field."""
    row = look.state if isinstance(look.state, Known) else None
    nothing = "-"
    return {
        "state": state_word(look),
        "revoked": (utc(row.revoked_at) if row.revoked_at is not None else "no") if row else nothing,
        "expires": (utc(row.expires_at) if row.expires_at is not None else "never") if row else nothing,
        "scopes": (" ".join(row.scopes) or "none") if row else nothing,
        "owner": f"{row.owner or 'none'} ({str(row.owner_state).replace('_', ' ')})" if row else nothing,
        "application": (row.application_name or row.application or "none") if row else nothing,
    }


def _steps(incident: Incident) -> Iterable[Step]:
    said = incident.exchange
    whole = max(said.total_seconds, said.lookup_seconds + said.backend_seconds, 1e-9)
    by = f"{said.source} ({said.via})" if said.source else "no source was asked: there was no token to ask for"
    age = f"; the reading was {span(said.state_age)} old" if said.state_age else ""
    look = incident.second_look
    again = f"; second look: {look.source} ({look.via}) said {state_word(look)}" if look is not None else ""
    yield Step("look up", said.lookup_seconds, round(100 * said.lookup_seconds / whole, 1), by + age + again)
    asked = said.backend or incident.backend is not None
    yield Step(
        "backend",
        said.backend_seconds if asked else None,
        round(100 * said.backend_seconds / whole, 1),
        f"{said.backend or 'asked'}, attempts: {said.attempts}" if asked else "not asked: the request was refused before it",
    )
    rest = max(0.0, said.total_seconds - said.lookup_seconds - said.backend_seconds)
    yield Step("all else", rest, round(100 * rest / whole, 1), "reading the request, judging, writing the record, answering")
