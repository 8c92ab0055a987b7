"""The verdict: a pure, total function of what was presented, what is known, the clock, the policy and the operation.

All reasons live here, each with one sentence, one status and one `error` code of RFC 6750 section 3.1. On Doorkeeper
states the verdict is Doorkeeper's own (lib/doorkeeper/models/concerns/{revocable,expirable,accessible}.rb) unless a policy
setting says otherwise.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from proxy.core.credential import Malformed, Missing, Several
from proxy.core.policy import Policy
from proxy.core.scim import Operation
from proxy.core.token import Known, OwnerState, TokenState, Unavailable, Unknown


class Reason(enum.StrEnum):
    """Why a request was let through, refused or could not be judged."""

    ACTIVE = "active"
    ACTIVE_STALE = "active_stale"
    MISSING_CREDENTIAL = "missing_credential"
    MALFORMED_CREDENTIAL = "malformed_credential"
    SEVERAL_CREDENTIALS = "several_credentials"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    OWNER_INACTIVE = "owner_inactive"
    SOURCE_UNAVAILABLE = "source_unavailable"


class Meaning(msgspec.Struct, frozen=True):
    """What a reason means: the status it leads to, RFC 6750's error code if any, one sentence for people."""

    status: int
    error: str | None
    sentence: str


MEANINGS: Final[dict[Reason, Meaning]] = {
    Reason.ACTIVE: Meaning(200, None, "The token is alive."),
    Reason.ACTIVE_STALE: Meaning(200, None, "The token was alive when last read; the source cannot be reached now."),
    Reason.MISSING_CREDENTIAL: Meaning(401, None, "The request carries no credential."),
    Reason.MALFORMED_CREDENTIAL: Meaning(401, "invalid_token", "The Authorization header is not of the form Bearer <token>."),
    Reason.SEVERAL_CREDENTIALS: Meaning(401, "invalid_token", "The request carries more than one credential."),
    Reason.UNKNOWN: Meaning(401, "invalid_token", "The access token is not known here."),
    Reason.REVOKED: Meaning(401, "invalid_token", "The access token was revoked."),
    Reason.EXPIRED: Meaning(401, "invalid_token", "The access token expired."),
    Reason.INSUFFICIENT_SCOPE: Meaning(403, "insufficient_scope", "The access token does not allow this operation."),
    Reason.OWNER_INACTIVE: Meaning(401, "invalid_token", "The account that owns the access token is inactive."),
    Reason.SOURCE_UNAVAILABLE: Meaning(503, None, "The token could not be checked now; nothing was refused. Try again."),
}


class Allow(msgspec.Struct, frozen=True, tag="allow"):
    """Forward it. `identity` is the row it rests on."""

    reason: Reason
    identity: Known


class Deny(msgspec.Struct, frozen=True, tag="deny"):
    """Refuse it with `status`, 401 or 403."""

    reason: Reason
    status: int


class Unable(msgspec.Struct, frozen=True, tag="unable"):
    """It cannot be judged: 503, never a 401."""

    reason: Reason


Verdict = Allow | Deny | Unable
Subject = Missing | Several | Malformed | TokenState

_DENIALS: Final = {reason: Deny(reason, m.status) for reason, m in MEANINGS.items() if m.status in (401, 403)}
_UNABLE: Final = Unable(Reason.SOURCE_UNAVAILABLE)


def decide(subject: Subject, now: float, age: float, policy: Policy, operation: Operation) -> Verdict:
    """Judge one request.

    `now` is UTC in epoch seconds by the source's clock where it has one; `age` is how many seconds ago `subject` was read,
    by a monotonic clock. Precedence is Doorkeeper's: unknown, revoked, expired, then scopes; our own rules come after.
    """
    if not isinstance(subject, Known):
        return _decide_without_row(subject)
    if age > policy.fresh_for + policy.stale_grace:
        return _UNABLE
    refusal = _refusal(subject, now, policy, operation)
    if refusal is not None:
        return _DENIALS[refusal]
    return Allow(Reason.ACTIVE if age <= policy.fresh_for else Reason.ACTIVE_STALE, subject)


def _decide_without_row(subject: Missing | Several | Malformed | Unknown | Unavailable) -> Verdict:
    match subject:
        case Missing():
            return _DENIALS[Reason.MISSING_CREDENTIAL]
        case Several():
            return _DENIALS[Reason.SEVERAL_CREDENTIALS]
        case Malformed():
            return _DENIALS[Reason.MALFORMED_CREDENTIAL]
        case Unknown():
            return _DENIALS[Reason.UNKNOWN]
        case Unavailable():
            return _UNABLE


def _refusal(row: Known, now: float, policy: Policy, operation: Operation) -> Reason | None:
    if row.revoked_at is not None and row.revoked_at <= now:
        return Reason.REVOKED
    if row.expires_in is not None and now > row.created_at + row.expires_in:
        return Reason.EXPIRED
    required = policy.write_scopes if operation.writes else policy.read_scopes
    if required and required.isdisjoint(row.scopes):
        return Reason.INSUFFICIENT_SCOPE
    if operation.writes and row.tenant in policy.read_only_tenants:
        return Reason.INSUFFICIENT_SCOPE
    if policy.refuse_inactive_owner and row.owner_state in (OwnerState.INACTIVE, OwnerState.DELETED):
        return Reason.OWNER_INACTIVE
    return None
