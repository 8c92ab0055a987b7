"""Builders of evidence: a world of one tenant whose token fails at AT. Each case states only what differs."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.core.diagnosis import Evidence
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.history import StateChange, TokenHistory
from proxy.core.incident import BackendAnswer, Incident, Kind, Note
from proxy.core.token import Known, NearMiss, Reading, Sibling, Surroundings, TokenState, Unknown

AT = 1_779_000_000.0
"""The refusal, by the proxy's clock: 2026-05-17 06:40:00 UTC."""
DAY = 86_400.0
OKTA = "Okta SCIM Client 1.0.0"
FP = "0123456789abcdef0123456789abcdef"
ISSUED = AT - 14 * DAY
ROW = Known(
    row=7, tenant="acme", created_at=ISSUED, scopes=("scim",), application="3", application_name="SCIM", owner="11",
    refreshable=False, stored_mark="aa",
)  # fmt: skip


def row(**changes) -> Known:
    return msgspec.structs.replace(ROW, **changes)


def reading(state: TokenState, at: float = AT, via: str = "primary", source: str = "doorkeeper", offset: float | None = 0.0):
    return Reading(state, source, via, at, None if offset is None else at + offset)


def newer(created_at: float, **changes) -> Sibling:
    sibling = Sibling("newer", 8, created_at, application="3", owner="11")
    return msgspec.structs.replace(sibling, **changes)


def around(*siblings: Sibling, misses: tuple[NearMiss, ...] = (), count: int = 0, flags: tuple[str, ...] = (), error=None):
    return Surroundings(AT, "doorkeeper", siblings, misses, count, flags, error)


def exchange(reason: str, status: int = 401, credential: str = "bearer", agent: str = OKTA, **changes) -> Exchange:
    values: dict[str, Any] = {
        "id": "r1", "at": AT, "method": "GET", "target": "/scim/v2/Users", "operation": "Users.list", "tenant": "acme",
        "client": "192.0.2.7", "status": status, "answered_by": AnsweredBy.PROXY, "credential": credential,
        "fingerprint": FP if credential == "bearer" else "", "reason": reason, "user_agent": agent,
    }  # fmt: skip
    return Exchange(**values | changes)


def history(last_good: float | None = AT - 3600, **changes) -> TokenHistory:
    values: dict[str, Any] = {
        "fingerprint": FP, "tenant": "acme", "first_seen": ISSUED + 60, "last_seen": AT, "last_good": last_good,
        "last_good_operation": "Users.list",
    }  # fmt: skip
    return TokenHistory(**values | changes)


def refusal(
    state: TokenState | None = None, reason: str = "revoked", surroundings: Surroundings | None = None, offset=0.0,
    via: str = "primary", credential: str = "bearer", agent: str = OKTA, status: int = 401, past=..., **evidence,
) -> Evidence:  # fmt: skip
    look = None if state is None else reading(state, via=via, offset=offset)
    past = history() if past is ... else past
    said = exchange(reason, status, credential, agent)
    incident = Incident(
        "I1", AT, Kind.REFUSAL, "acme", said.fingerprint, reason, said, "w1", look, look, surroundings, None, past
    )
    return Evidence(incident, **evidence)


def backend_refusal(
    state: TokenState | None = ROW,
    answer: BackendAnswer | None = None,
    surroundings: Surroundings | None = None,
    past=...,
    **evidence,
) -> Evidence:
    answer = answer or BackendAnswer(401, "10.0.0.5:8080", ('Bearer error="invalid_token"',))
    said = exchange("active", answer.status, answered_by=AnsweredBy.BACKEND, backend=answer.address)
    look = None if state is None else reading(state, AT + 0.05)
    incident = Incident(
        "I1", AT, Kind.BACKEND_REFUSAL, "acme", FP, "active", said, "w1", reading(ROW, AT - 0.5), look, surroundings, answer,
        history() if past is ... else past,
    )  # fmt: skip
    return Evidence(incident, **evidence)


def gone(*siblings: Sibling, before: Known = ROW, seen=(AT - 1801, AT - 1800), misses=(), **changes) -> Evidence:
    """A row that was seen and then had vanished between two looks."""
    past = history(changes=(StateChange(before, Unknown(), *seen),), last_good=AT - 3600, first_bad=AT)
    found = changes.pop("surroundings", around(*siblings, misses=misses))
    return refusal(Unknown(), "unknown", found, past=past, **changes)


def never_known(*misses: NearMiss, **changes) -> Evidence:
    """A token that no row and no memory knows."""
    return refusal(Unknown(), "unknown", changes.pop("surroundings", around(misses=misses)), past=None, **changes)


def reread(state: TokenState, after: float, offset: float = 0.0) -> Note:
    return Note("I1", f"reread+{after:.0f}s", AT + after, reading(state, AT + after, offset=offset))
