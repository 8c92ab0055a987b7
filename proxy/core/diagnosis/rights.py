"""The token is alive, but may not do this: `owner_inactive`, `scope_missing`, `wrong_tenant`."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.scene import Scene, refused_beside
from proxy.core.diagnosis.signed_in import fetched, signed_in
from proxy.core.diagnosis.words import listed, utc
from proxy.core.token import Known, OwnerState
from proxy.core.verdict import Reason

OUT: Final = (OwnerState.INACTIVE, OwnerState.DELETED)
_SCOPE: Final = re.compile(r'\bscope="([^"]*)"')


def examine_owner(scene: Scene) -> Found | None:
    """The row is healthy and its owner is not."""
    row = scene.row
    ours = scene.reason == Reason.OWNER_INACTIVE
    if row is None:
        return _owner_by_reason() if ours and scene.then is None else None
    if row.owner_state not in OUT or not scene.alive_then or not (ours or scene.by_backend):
        return None
    against = () if ours else _not_the_owner(scene)
    change = scene.evidence.owner_change
    return Found(
        Confidence.CERTAIN if ours else Confidence.POSSIBLE if against else Confidence.LIKELY,
        f"The account {row.owner or '(unnamed)'} that owns the token is {row.owner_state}.",
        evidence_for=(
            "The row itself is alive.",
            f"Its owner {row.owner or '(unnamed)'} was {row.owner_state} at {utc(scene.at)}.",
            *(() if ours else ("The backend refused it; Doorkeeper alone would not look at the owner.",)),
            *(
                (f"A {change.method} of that account passed through here at {utc(change.at)} and was taken.",)
                if change is not None and change.at <= scene.at
                else ()
            ),
        ),
        evidence_against=against,
        words={
            "owner": row.owner or "(unnamed)",
            "state": str(row.owner_state),
            "repair": "reactivate it" if row.owner_state is OwnerState.INACTIVE else "restore it",
        },
        times={"owner_changed_at": change.at if change is not None else None},
        findings=("changed_by_provisioning",) if change is not None and change.at <= scene.at else (),
    )


class _Sight(msgspec.Struct, frozen=True):
    """A row, and when it was seen."""

    state: Known
    read_at: float


def _not_the_owner(scene: Scene) -> tuple[str, ...]:
    """Why the backend may have refused it for something else."""
    worked = _worked_without_owner(scene)
    beside = refused_beside(scene)
    return (
        *(
            (f"It was {worked.state.owner_state} already at {utc(worked.read_at)}, and the token worked after that.",)
            if worked is not None
            else ()
        ),
        *((f"The backend refused live tokens of {listed(beside)} in the same minute.",) if beside else ()),
        *_said_otherwise(scene),
    )


def _said_otherwise(scene: Scene) -> tuple[str, ...]:
    """The refusal names another reason, or is the page of a tier that knows of no owner."""
    answer = scene.backend
    if answer is None:
        return ()
    said = " ".join(sorted(answer.www_authenticate)).lower()
    word = next((word for word in ("insufficient_scope", "expired", "revoked") if word in said), "")
    return (
        *((f"The backend gave another reason: {word}.",) if word else ()),
        *(("The answer is an HTML page, as of a tier before the backend.",) if scene.by_a_page else ()),
    )


def _worked_without_owner(scene: Scene) -> _Sight | None:
    """A look before the last good answer at which the owner was gone already."""
    if scene.last_good is None:
        return None
    seen = [_Sight(row, at) for at, row in scene.sightings if at < scene.last_good]
    return next((sight for sight in reversed(seen) if sight.state.owner_state in OUT), None)


def _owner_by_reason() -> Found:
    return Found(
        Confidence.LIKELY,
        "The account that owns the token is inactive.",
        evidence_for=("The verdict at that moment was `owner_inactive`.",),
        missing=("the row as it was read",),
        words={"owner": "(not recorded)", "state": "inactive", "repair": "reactivate it"},
    )


def examine_scope(scene: Scene) -> Found | None:
    """403 because the scopes do not suffice."""
    row, required = scene.row, frozenset(scene.evidence.required_scopes)
    ours = scene.reason == Reason.INSUFFICIENT_SCOPE
    answer = scene.backend
    theirs = scene.by_backend and answer is not None and answer.status == 403 and (row is None or scene.alive_then)
    if not (ours or theirs):
        return None
    has = frozenset(row.scopes) if row else frozenset()
    challenge = " ".join(sorted(answer.www_authenticate)) if answer is not None else ""
    said = answer is not None and "insufficient_scope" in challenge + answer.body
    asked = _asked_for(challenge)
    has_it = theirs and row is not None and bool(asked) and asked <= has
    enough = bool(required) and not required.isdisjoint(has)
    sufficient = ours and row is not None and (enough or not required)
    changed = sufficient and scene.evidence.reads_only is False
    reads_only = sufficient and not changed
    if theirs and not said and (enough or not required):
        return None
    return Found(
        Confidence.CERTAIN if ours and row else Confidence.POSSIBLE if has_it else Confidence.LIKELY,
        "No scope is lacking: this tenant may only read, by the policy of this proxy."
        if reads_only
        else "By the settings of now the token may do this; it was refused by those of then."
        if changed
        else "The token may not do this."
        if enough or not required
        else f"The token has the scopes {_listed(has)}; the operation needs one of {_listed(required)}.",
        evidence_for=(
            f"Scopes of the row: {_listed(has)}." if row else "The verdict at that moment was `insufficient_scope`.",
            *((f"One of these is required: {_listed(required)}.",) if required else ()),
            *((f"The backend {answer.address} says insufficient_scope.",) if said and answer else ()),
            *(("Its tenant stands in policy.read_only_tenants.",) if reads_only and scene.evidence.reads_only else ()),
        ),
        evidence_against=(*((f"The backend asks for {_listed(asked)}, which the token has.",) if has_it else ()),),
        missing=(
            *(() if row else ("the row as it was read",)),
            *(() if required or sufficient else ("the scopes that are required",)),
        ),
        words={"has": _listed(has), "needs": _listed(required) if required else "(not recorded)"},
        findings=("read_only_tenant",) if reads_only else (),
        instead=READ_ONLY
        if reads_only
        else ALLOWED_NOW
        if changed
        else GRANTED
        if signed_in(scene) or fetched(scene)
        else None,
    )


def _asked_for(challenge: str) -> frozenset[str]:
    """The scopes that a challenge names (RFC 6750 section 3)."""
    return frozenset(scope for named in _SCOPE.findall(challenge) for scope in named.split())


READ_ONLY: Final = Advice(
    operator="No scope is lacking: the tenant stands in policy.read_only_tenants. Take it out if it shall write.",
    customer="Your access token is valid. This connection may only read here, so that the changes which {client} sends are "
    "refused. Please tell us if it shall make changes; the token can stay.",
)
"""In place of what is said about scopes."""


ALLOWED_NOW: Final = Advice(
    operator="The settings were changed since: by those of now the token may do this. Nothing is left to do but to try again.",
    customer="Your access token is valid. A permission that this operation needs had not been set up on our side; it is there "
    "now. Please run the failed provisioning tasks of {client} again.",
)
"""In place of what is said about scopes, where neither they nor the tenant's rights forbid it any more."""


GRANTED: Final = Advice(
    operator="The token has: {has}. Required is one of: {needs}. The application has to be allowed that scope, and the client "
    "to ask for it when it gets its next token.",
    customer="The access of {client} is valid but lacks a permission that this operation needs. We will tell you when it can "
    "be given, and with which scope the connection has to be authorized again.",
)
"""In place of what is said about scopes, where the client got its token by itself."""


def _listed(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes)) or "none"


def examine_tenant(scene: Scene) -> Found | None:
    """A live token of one tenant at the address of another."""
    row, addressed = scene.row, scene.evidence.addressed_tenant
    if row is None or not scene.elsewhere or not scene.alive_then or not scene.by_backend:
        return None
    history = scene.incident.history if scene.incident else None
    usual = history.last_good_address if history is not None else ""
    proven = scene.evidence.addressed_serves is True
    return Found(
        Confidence.LIKELY if proven else Confidence.POSSIBLE,
        f"The token is of tenant {row.tenant} and was presented at the address of {addressed}.",
        evidence_for=(
            f"The row is alive and of tenant {row.tenant}.",
            f"The path or host called is that of {addressed}.",
            *((f"It works at the address of {usual}.",) if usual else ()),
            *(("Tokens of that tenant are served at its address.",) if scene.evidence.addressed_serves else ()),
        ),
        missing=() if proven else (f"a request of {addressed} with a token of its own, to know that the names are the same",),
        words={"ours": row.tenant, "addressed": addressed},
    )


OWNER: Final = Rule(
    Code.OWNER_INACTIVE,
    "The account that owns the token was disabled or deleted, perhaps by provisioning itself.",
    "The row is alive and its owner's own row is not. Doorkeeper never looks at the owner; this proxy does where told to, and "
    "the vendor's own code may. A backend that refuses other tenants too in that minute does not do it for the owner.",
    "Owner {owner} is {state}: {repair}, or issue a token to a service account that provisioning does not manage.",
    "The account to which the access token of {client} belongs is {state}, possibly by your own provisioning. Please "
    "{repair} or exclude it from provisioning, then run the failed tasks again.",
    examine_owner,
)

SCOPE: Final = Rule(
    Code.SCOPE_MISSING,
    "The token's scopes do not allow the operation.",
    "403 with the row's scopes and the required ones side by side, or a backend that says insufficient_scope and does not ask "
    "for what the token has. Finding `read_only_tenant`: the scopes suffice, the tenant may only read.",
    "The token has: {has}. Required is one of: {needs}. Issue a token with it.",
    "The access token of {client} is valid but lacks a permission that this operation needs. We will give you a token with it. "
    "{steps}",
    examine_scope,
)

TENANT: Final = Rule(
    Code.WRONG_TENANT,
    "A live token of one tenant is used at the address of another.",
    "The row's tenant differs from that of the path or host, at which tokens of that tenant are served; the row is alive, "
    "and the backend refused.",
    "The token is of {ours}, the address of {addressed}. Correct the base URL or the token at {client}.",
    "The base URL and the access token in {client} belong to two different accounts. Please check the base URL, and enter the "
    "token of the same account. {steps}",
    examine_tenant,
)
