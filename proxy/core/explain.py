"""An explanation for people: what happened, who refused, the token's exact state then, what changed, why, what to do.

Pure. `explain` gives the structured form (for JSON and pages), `explain_text` the same as plain text. Neither holds a
token; what a backend or client wrote is shown without control characters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

import msgspec

from proxy.core.diagnosis.cause import Cause, Confidence, Diagnosis
from proxy.core.diagnosis.clients import client_of
from proxy.core.diagnosis.evidence import Evidence
from proxy.core.diagnosis.oauth import exchange_lines, is_oauth, refused_call
from proxy.core.diagnosis.scene import Scene, ended, set_scene
from proxy.core.diagnosis.superseded import replacements
from proxy.core.diagnosis.told import INTROSPECTION, WHY, without_rows
from proxy.core.diagnosis.words import ago, listed, span, utc
from proxy.core.exchange import AnsweredBy
from proxy.core.incident import BackendAnswer, Incident, Kind
from proxy.core.setup import Setup, setup_of, story
from proxy.core.token import Known, OwnerState, Reading, TokenState, Unavailable, Unknown
from proxy.core.verdict import MEANINGS

WIDTH: Final = 100
"""Columns of the plain text: fits a ticket and a terminal."""
BODY_SHOWN: Final = 300
"""Characters of a backend's body in the text; the record holds up to 2 KiB."""
_MEANINGS: Final = {str(reason): meaning for reason, meaning in MEANINGS.items()}
_BY_BACKEND: Final = (Kind.BACKEND_REFUSAL, Kind.DISAGREEMENT)
_SURE: Final = {
    Confidence.CERTAIN: "certain: the evidence leaves nothing else",
    Confidence.LIKELY: "likely: nothing speaks against it that is not named here",
    Confidence.POSSIBLE: "not decided",
}


class Section(msgspec.Struct, frozen=True):
    """A heading and its sentences."""

    title: str
    lines: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """The structured form. `verdict` is one sentence; `now` is when it was asked for (epoch seconds)."""

    incident: str
    tenant: str
    now: float
    verdict: str
    sections: tuple[Section, ...]
    cause: Cause
    runner_up: Cause | None
    operator: str
    customer: str


def explain(evidence: Evidence, diagnosis: Diagnosis, now: float) -> Explanation:
    """Put evidence and diagnosis into sentences; `now` (epoch seconds) is only for relative ages."""
    scene = set_scene(evidence)
    incident = scene.incident
    sections = (
        Section("Who refused it", tuple(_who(incident))) if incident else Section("What was asked", tuple(_asked(scene))),
        Section("The token at that moment", tuple(_state(scene, now))),
        Section("When it last worked", tuple(_worked(scene, now))),
        Section("What changed since", tuple(_changes(scene, now))),
        Section("Read again afterwards", tuple(_later(scene))),
        Section("OAuth calls of this token", (*story(evidence.oauth, _access(scene)), *_beside(scene))),
        Section("Set-up", tuple(_setup(scene))),
        Section("Cause", tuple(_cause(diagnosis))),
    )
    return Explanation(
        incident.id if incident else "",
        incident.tenant if incident else "",
        now,
        _verdict(incident, now) if incident else diagnosis.cause.title,
        tuple(s for s in sections if s.lines),
        diagnosis.cause,
        diagnosis.runner_up,
        diagnosis.cause.advice_operator,
        diagnosis.cause.text_customer,
    )


def explain_text(evidence: Evidence, diagnosis: Diagnosis, now: float) -> str:
    """Return the explanation as plain text of `WIDTH` columns, ending with a line feed."""
    told = explain(evidence, diagnosis, now)
    head = f"Incident {told.incident}, tenant {told.tenant}" if told.incident else "No incident"
    blocks = [_wrapped(head, ""), _wrapped(told.verdict, "")]
    blocks += [f"{s.title}\n" + "\n".join(_wrapped(line, "  ") for line in s.lines) for s in told.sections]
    blocks.append("Next step\n" + _wrapped(told.operator, "  "))
    blocks.append("For the customer (ready to paste)\n" + _wrapped(told.customer, "  "))
    return "\n\n".join(blocks) + "\n"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        _printable(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + ("  " if indent else ""),
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Without control characters: what others wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _when(at: float | None, now: float) -> str:
    return f"{utc(at)} ({ago(at, now)})"


def _verdict(incident: Incident, now: float) -> str:
    said = incident.exchange
    caller = client_of(said.user_agent).name if said.user_agent else "a client"
    what = f"{said.method} {said.target} ({said.operation})"
    outcome = {
        Kind.REFUSAL: f"this proxy answered {said.status}",
        Kind.BACKEND_REFUSAL: f"the backend answered {said.status}",
        Kind.DISAGREEMENT: f"the backend refused it; the client was answered {said.status} instead",
        Kind.OAUTH_REFUSAL: f"the token endpoint answered {said.status}",
        Kind.WOULD_REFUSE: f"it was let through in observe mode (answer {said.status}); enforce would have refused it",
    }[incident.kind]
    return f"At {_when(incident.at, now)} {caller} ({said.client}) asked for {what}, and {outcome}: {_sentence(incident)}"


def _sentence(incident: Incident) -> str:
    if incident.kind in _BY_BACKEND:
        return "the proxy had held the token valid and let it through."
    if incident.kind is Kind.OAUTH_REFUSAL:
        asked = incident.oauth.grant_type if incident.oauth and incident.oauth.grant_type else "an unnamed grant"
        return f"no token was issued for {asked} ({incident.reason})."
    meaning = _MEANINGS.get(incident.reason)
    return meaning.sentence if meaning else f"reason {incident.reason or 'not recorded'}."


def _who(incident: Incident) -> Iterable[str]:
    if incident.kind is Kind.OAUTH_REFUSAL:
        client = incident.oauth.client if incident.oauth else ""
        yield f"Refused by the token endpoint behind this proxy ({incident.exchange.backend}); client {client or 'not named'}."
        return
    if incident.kind in _BY_BACKEND:
        yield from _backend(incident.backend, incident.exchange.backend)
    elif incident.exchange.answered_by is AnsweredBy.PROXY:
        yield f"Refused by this proxy (instance {incident.instance}), reason {incident.reason}; the backend never saw it."
    second = incident.second_look
    decided = incident.kind not in _BY_BACKEND and second is not None and not isinstance(second.state, Unavailable)
    names = (
        ("In memory until then", "The verdict rests on a second look") if decided else ("The verdict rests on", "Second look")
    )
    for name, look in zip(names, (incident.reading, second), strict=True):
        if look is not None:
            yield f"{name}: {_look(look, incident.at)} {_short(look.state, look)}"
    if incident.reading is None and incident.second_look is None:
        yield f"No reading of a source belongs to it: the request carried {_credential(incident.exchange.credential)}."


def _credential(word: str) -> str:
    kind, _, why = word.partition(":")
    if kind == "malformed":
        return f"a malformed credential ({why})"
    return {"missing": "no credential", "several": "several credentials", "bearer": "a bearer token"}.get(
        kind, "an unrecorded credential"
    )


def _backend(answer: BackendAnswer | None, address: str) -> Iterable[str]:
    if answer is None:
        yield f"Refused by the backend ({address or 'address not recorded'}); its answer was not kept."
        return
    yield f"Refused by the backend {answer.address} with {answer.status}; the proxy had let the request through."
    if answer.www_authenticate:
        yield f"Its challenge: {listed(answer.www_authenticate)}"
    if answer.body.strip():
        cut = "..." if len(answer.body) > BODY_SHOWN or answer.body_truncated else ""
        yield f"Its body ({answer.content_type or 'no content type'}): {answer.body[:BODY_SHOWN].strip()}{cut}"


def _look(look: Reading, at: float) -> str:
    """The source and the time of a reading relative to the incident."""
    gap = look.read_at - at
    when = "at that moment" if abs(gap) < 0.05 else f"{span(gap)} {'before' if gap < 0 else 'after'} the incident"
    return f"{look.source} ({look.via}), read {when}:"


def _short(state: TokenState, look: Reading) -> str:
    match state:
        case Known():
            now = look.source_time if look.source_time is not None else look.read_at
            return {"revoked": f"revoked at {utc(state.revoked_at)}.", "expired": f"expired at {utc(state.expires_at)}."}.get(
                ended(state, now) or "", "alive."
            )
        case Unknown(why=why):
            if why in WHY:
                return f"not taken: {WHY[why]}."
            return "inactive; no reason is given." if look.via == INTROSPECTION else "no such token."
        case Unavailable(why=why):
            return f"no answer ({why})."


def _state(scene: Scene, now: float) -> Iterable[str]:
    if scene.row is not None:
        yield from _row(scene.row, now)
    elif scene.gone:
        yield "The source did not take it; it keeps no rows." if without_rows(scene) else "The source had no such token."
        if scene.before is not None:
            yield "Its row as last seen before that:"
            yield from _row(scene.before, now)
    elif scene.presented:
        yield "Not known: no source answered at that moment." if scene.then else "Not recorded."
    if scene.fingerprint:
        yield f"Fingerprint {scene.fingerprint}, form of the credential: {scene.credential or 'not recorded'}."


def _row(row: Known, now: float) -> Iterable[str]:
    application = f"{row.application_name or 'unnamed'} (id {row.application})" if row.application else "none"
    owner = f"{row.owner or 'none'} ({_owner(row.owner_state)})"
    yield f"Row {row.row}, tenant {row.tenant}, application {application}, owner {owner}."
    yield f"Issued {_when(row.created_at, now)}; " + (
        "it never expires."
        if row.expires_at is None
        else f"lifetime {span(row.expires_in)}, until {_when(row.expires_at, now)}."
    )
    yield f"Revoked at {_when(row.revoked_at, now)}." if row.revoked_at is not None else "Not revoked."
    refresh = {True: "a refresh token was issued with it", False: "no refresh token", None: "refresh token not read"}[
        row.refreshable
    ]
    yield f"Scopes: {' '.join(row.scopes) or 'none'}; {refresh}; stored {row.stored}."


def _owner(state: OwnerState) -> str:
    return {OwnerState.NOT_READ: "state not read", OwnerState.NONE: "no owner"}.get(state, str(state))


def _worked(scene: Scene, now: float) -> Iterable[str]:
    history = (scene.incident.history if scene.incident else None) or scene.evidence.history
    if scene.last_good is not None:
        operation = history.last_good_operation if history and history.last_good == scene.last_good else ""
        yield f"Last good answer: {_when(scene.last_good, now)}{', ' + operation if operation else ''}."
        if scene.failing_since > scene.last_good:
            yield f"First failure since: {_when(scene.failing_since, now)}."
    elif scene.presented:
        yield "It was never seen to work here." if history else "Nothing is remembered of this token."
    current = scene.evidence.history
    if current is not None and current.last_good is not None and current.last_good > scene.at:
        yield f"It works again: last good answer {_when(current.last_good, now)}."


def _changes(scene: Scene, now: float) -> Iterable[str]:
    """Dated events up to the incident, oldest first; row times are turned to the proxy's clock for the order only."""
    since = scene.last_good
    dated = [(at, text) for at, text in _events(scene, now) if since is None or at > since - 1]
    return (text for _, text in sorted(dated))


def _events(scene: Scene, now: float) -> Iterable[tuple[float, str]]:
    row, ahead = scene.last_row, scene.offset or 0.0
    newer = replacements(scene)
    if row is not None and row.revoked_at is not None and row.revoked_at <= scene.now:
        beside = min(newer, key=lambda s: abs(s.created_at - row.revoked_at), default=None)  # type: ignore[operator]
        how = " (regenerated)" if beside and abs(beside.created_at - row.revoked_at) <= 5 else ""
        yield row.revoked_at - ahead, f"Revoked at {_when(row.revoked_at, now)}{how}."
    if row is not None and row.expires_at is not None and row.expires_at < scene.now:
        yield row.expires_at - ahead, f"Expired at {_when(row.expires_at, now)}."
    for sibling in newer:
        used = "" if sibling.used is None else "; it has been used" if sibling.used else "; not used yet"
        yield (
            sibling.created_at - ahead,
            f"A newer token of the same application and owner since {_when(sibling.created_at, now)}{used}.",
        )
    for sibling in scene.related("successor"):
        yield sibling.created_at - ahead, f"Refreshed: a successor was issued {_when(sibling.created_at, now)}."
    if scene.gone and scene.before is not None:
        start, end = scene.vanished
        yield end, f"Its row vanished between {utc(start)} and {_when(end, now)}."


def _later(scene: Scene) -> Iterable[str]:
    for look in scene.later:
        yield f"{span(look.read_at - scene.at)} later, {look.source} ({look.via}): {_short(look.state, look)}"
    for note in sorted(scene.evidence.notes, key=lambda n: (n.at, n.name, n.text)):
        if note.text and note.text[0] not in "{[":  # what is told in JSON is told of in words
            yield f"{utc(note.at)}: {note.text}"
    if scene.evidence.client is not None and scene.evidence.client.again is not None:
        yield f"{utc(scene.evidence.client.again)}: the client carried a credential again"


def _cause(diagnosis: Diagnosis) -> Iterable[str]:
    cause = diagnosis.cause
    yield f"{cause.code} ({_SURE[cause.confidence]}). {cause.title}"
    yield from (f"+ {line}" for line in cause.evidence_for)
    yield from (f"- {line}" for line in cause.evidence_against)
    yield from (f"? Missing: {line}" for line in cause.missing)
    yield from (f"Finding: {finding}" for finding in cause.findings)
    if diagnosis.runner_up is not None:
        yield f"Next best: {diagnosis.runner_up.code}. {diagnosis.runner_up.title}"


def _access(scene: Scene) -> str:
    """The access token that the calls are told of."""
    call = refused_call(scene) if is_oauth(scene) else None
    return (call.presented or call.refresh_presented) if call is not None else scene.fingerprint


def _beside(scene: Scene) -> tuple[str, ...]:
    """The refused exchange of a code, unless it is what this is about."""
    return () if is_oauth(scene) else exchange_lines(scene)


def _setup(scene: Scene) -> Iterable[str]:
    name, grants = _access(scene), scene.evidence.grant_exists
    call = refused_call(scene)
    if name:
        found = setup_of(scene.last_row or scene.before, scene.evidence.oauth, name, grant_exists=grants)
    else:
        found = setup_of(None, () if call is None else (call,))
    if found.setup is not Setup.UNKNOWN:
        yield f"{str(found.setup).capitalize()}."
        yield from found.evidence


def _asked(scene: Scene) -> Iterable[str]:
    asked = scene.evidence.absence
    if asked is not None:
        arrived = "an unknown number of" if asked.requests is None else asked.requests
        yield f"From {utc(asked.start)} to {utc(asked.end)}: {arrived} requests of this tenant arrived."
