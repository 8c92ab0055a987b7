"""An incident judged again: by what was read then, and by what the sources say now. Pure.

Three verdicts, so that the cause of a difference can be told: the one on record; the same reading by the rules of now (another
one means that the policy changed since); and the reading of now. No backend is asked: what it would say is not known here.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from proxy.core.credential import Malformed, Missing, Secret, Several, Why
from proxy.core.exchange import OAUTH
from proxy.core.incident import Incident, Kind
from proxy.core.policy import Policy
from proxy.core.scim import classify
from proxy.core.token import Known, Reading, Unavailable
from proxy.core.verdict import MEANINGS, Allow, Deny, Subject, Verdict, decide

_NOBODY: Final = Secret(b"", "")


class Outcome(enum.StrEnum):
    """What came out. `same`: a request like it would end as it did. `would_pass`, `would_be_refused`, `other_reason`: it would
    not. `not_judged`: no source could be asked, or there is nothing to ask about."""

    SAME = "same"
    WOULD_PASS = "would_pass"  # noqa: S105 - a word, not a password
    WOULD_BE_REFUSED = "would_be_refused"
    OTHER_REASON = "other_reason"
    NOT_JUDGED = "not_judged"


class Judged(msgspec.Struct, frozen=True):
    """A verdict in words: allow, deny or unable, and its reason."""

    verdict: str
    reason: str
    sentence: str


class Difference(msgspec.Struct, frozen=True):
    """One field of the token's state that is not what it was. Times are epoch seconds."""

    field: str
    then: Any
    now: Any


class Replay(msgspec.Struct, frozen=True):
    """An incident judged again. `then` is on record; `then_by_rules_of_now` is what these settings make of the reading of then;
    `now` of the reading of now. None where there was nothing to judge; `remark` says why."""

    incident: str
    tenant: str
    at: float
    judged_at: float
    outcome: Outcome
    then: Judged
    then_by_rules_of_now: Judged | None
    now: Judged | None
    reading_then: Reading | None
    reading_now: Reading | None
    differences: tuple[Difference, ...]
    remark: str = ""


def needs_source(incident: Incident) -> bool:
    """Whether a source has a say in it: a bearer token was presented."""
    return incident.exchange.credential.startswith("bearer")


def replay(
    incident: Incident, then: Reading | None, now: Reading | None, policy: Policy, at: float, base_path: str = "", why: str = ""
) -> Replay:
    """Judge an incident again. `then` is the reading taken at the incident, `now` one taken at `at` (epoch seconds); `why` says
    why there is none."""
    remark = _remark(incident, now, why)
    before = _judge(incident, then, incident.at, policy, base_path)
    after = None if incident.kind is Kind.OAUTH_REFUSAL else _judge(incident, now, at, policy, base_path)
    recorded = _recorded(incident)
    return Replay(
        incident.id,
        incident.tenant,
        incident.at,
        at,
        _outcome(recorded, after),
        recorded,
        before,
        after,
        then,
        now,
        _differences(then, now),
        remark,
    )


def _recorded(incident: Incident) -> Judged:
    said = incident.exchange
    meaning = next((m for reason, m in MEANINGS.items() if reason == said.reason), None)
    return Judged(said.verdict or "none", said.reason or incident.reason, meaning.sentence if meaning is not None else "")


def _judge(incident: Incident, look: Reading | None, at: float, policy: Policy, base_path: str) -> Judged | None:
    subject = _subject(incident, look)
    if subject is None:
        return None
    operation = classify(incident.exchange.method.encode(), incident.exchange.target.encode(), base_path.encode())
    clock = at + (look.clock_offset or 0.0) if look is not None else at
    return _in_words(decide(subject, clock, 0.0, policy, operation))


def _subject(incident: Incident, look: Reading | None) -> Subject | None:
    """What is judged: the request itself where it is at fault, else what the source said."""
    credential = incident.exchange.credential
    kind, _, why = credential.partition(":")
    if kind == "missing":
        return Missing()
    if kind == "several":
        return Several(2)
    if kind == "malformed":
        return Malformed(Why(why) if why in set(Why) else Why.CHARACTERS, _NOBODY)
    return None if credential == OAUTH or look is None else look.state


def _in_words(verdict: Verdict) -> Judged:
    word = "allow" if isinstance(verdict, Allow) else "deny" if isinstance(verdict, Deny) else "unable"
    return Judged(word, str(verdict.reason), MEANINGS[verdict.reason].sentence)


def _outcome(then: Judged, now: Judged | None) -> Outcome:
    if now is None or now.verdict == "unable":
        return Outcome.NOT_JUDGED
    if then.verdict == now.verdict:
        return Outcome.SAME if then.reason == now.reason or now.verdict == "allow" else Outcome.OTHER_REASON
    return Outcome.WOULD_PASS if now.verdict == "allow" else Outcome.WOULD_BE_REFUSED


def _remark(incident: Incident, now: Reading | None, why: str) -> str:
    if incident.kind is Kind.OAUTH_REFUSAL:
        return "The token endpoint refused it: that is not for this proxy to judge."
    if not needs_source(incident):
        return "The request itself is at fault: no source has a say in it."
    if now is not None and isinstance(now.state, Unavailable):
        return f"The source does not answer now ({now.state.why}), so nothing is known of the state now."
    if now is None:
        return why or "No source was asked."
    if incident.kind in (Kind.BACKEND_REFUSAL, Kind.DISAGREEMENT):
        return "The backend refused it, not this proxy; it is not asked again."
    return ""


def _differences(then: Reading | None, now: Reading | None) -> tuple[Difference, ...]:
    if then is None or now is None or isinstance(now.state, Unavailable):
        return ()
    before, after = _fields(then), _fields(now)
    names = [*before, *(name for name in after if name not in before)]
    return tuple(Difference(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n))


_SHOWN: Final = (
    "row", "tenant", "created_at", "expires_in", "revoked_at", "scopes", "application", "application_name", "owner",
    "owner_state", "refreshable",
)  # fmt: skip


def _fields(look: Reading) -> dict[str, Any]:
    """The facts by name. A row that is gone has none but that."""
    tag = str(look.state.__struct_config__.tag)
    if not isinstance(look.state, Known):
        return {"state": tag}
    return {"state": tag} | {name: getattr(look.state, name) for name in _SHOWN}
