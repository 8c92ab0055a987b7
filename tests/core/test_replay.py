"""An incident judged again: which verdict changed, and whether the state or the rules are the reason."""

from __future__ import annotations

import pytest

from proxy.core.incident import Kind
from proxy.core.policy import Policy
from proxy.core.replay import Outcome, replay
from proxy.core.token import Known, OwnerState, Reading, Unavailable, Unknown
from tests.evidence.conftest import START, make_exchange, make_incident

LATER = START + 3600
ALIVE = Known(row=7, tenant="acme", created_at=START - 1000)
REVOKED = Known(row=7, tenant="acme", created_at=START - 1000, revoked_at=START - 1)
EXPIRED = Known(row=7, tenant="acme", created_at=START - 1000, expires_in=900)
INACTIVE = Known(row=7, tenant="acme", created_at=START - 1000, owner="5", owner_state=OwnerState.INACTIVE)
STRICT = Policy(refuse_inactive_owner=True)


def look(state, at=START):
    return Reading(state, "doorkeeper", "primary", at)


def incident(reason="revoked", verdict="deny", **changes):
    return make_incident(exchange=make_exchange(reason=reason, verdict=verdict), reason=reason, **changes)


@pytest.mark.parametrize(
    "outcome, reason_now, reason_then, state_then, state_now",
    [
        (Outcome.SAME, "revoked", "revoked", REVOKED, REVOKED),
        (Outcome.WOULD_PASS, "active", "revoked", REVOKED, ALIVE),
        (Outcome.WOULD_PASS, "active", "unknown", Unknown(), ALIVE),
        (Outcome.OTHER_REASON, "expired", "revoked", REVOKED, EXPIRED),
        (Outcome.OTHER_REASON, "unknown", "revoked", REVOKED, Unknown()),
        (Outcome.NOT_JUDGED, "source_unavailable", "revoked", REVOKED, Unavailable("refused")),
    ],
)
def test_the_outcome(outcome, reason_now, reason_then, state_then, state_now):
    found = replay(incident(reason_then), look(state_then), look(state_now, LATER), Policy(), LATER)
    assert found.now is not None
    assert (outcome, reason_now) == (found.outcome, found.now.reason)


def test_what_differs_is_named_and_what_cannot_be_read_differs_in_nothing():
    found = replay(incident(), look(REVOKED), look(ALIVE, LATER), Policy(), LATER)
    assert [("revoked_at", START - 1, None)] == [(d.field, d.then, d.now) for d in found.differences]
    gone = replay(incident(), look(REVOKED), look(Unknown(), LATER), Policy(), LATER)
    assert ("state", "known", "unknown") in {(d.field, d.then, d.now) for d in gone.differences if d.field == "state"}
    away = replay(incident(), look(REVOKED), look(Unavailable("timeout"), LATER), Policy(), LATER)
    assert ((), True) == (away.differences, "timeout" in away.remark)


def test_rules_that_changed_since_are_told_from_a_state_that_did():
    found = replay(incident("owner_inactive"), look(INACTIVE), look(INACTIVE, LATER), Policy(), LATER)
    assert found.then_by_rules_of_now is not None
    assert ("owner_inactive", "active") == (found.then.reason, found.then_by_rules_of_now.reason)
    assert (Outcome.WOULD_PASS, ()) == (found.outcome, found.differences)
    assert Outcome.SAME == replay(incident("owner_inactive"), look(INACTIVE), look(INACTIVE, LATER), STRICT, LATER).outcome


def test_time_alone_can_be_the_reason():
    soon = Known(row=7, tenant="acme", created_at=START - 1000, expires_in=1600)
    refused = incident("insufficient_scope")
    found = replay(refused, look(soon), look(soon, LATER), Policy(), LATER)
    assert found.then_by_rules_of_now is not None
    assert found.now is not None
    assert ("active", "expired") == (found.then_by_rules_of_now.reason, found.now.reason)


def test_the_clock_is_the_sources_own():
    ahead = Reading(Known(row=7, tenant="acme", created_at=START, expires_in=3650), "doorkeeper", "primary", LATER, LATER + 100)
    found = replay(incident("expired"), None, ahead, Policy(), LATER)
    assert found.now is not None
    assert "expired" == found.now.reason


@pytest.mark.parametrize(
    "credential, reason",
    [
        ("missing", "missing_credential"),
        ("several", "several_credentials"),
        ("malformed:scheme_missing", "malformed_credential"),
        ("malformed:of_a_later_version", "malformed_credential"),
    ],
)
def test_a_request_at_fault_is_judged_without_a_source(credential, reason):
    exchange = make_exchange(reason=reason, credential=credential, fingerprint="")
    found = replay(make_incident(exchange=exchange, reason=reason), None, None, Policy(), LATER)
    assert found.now is not None
    assert (Outcome.SAME, reason) == (found.outcome, found.now.reason)
    assert "request itself" in found.remark


def test_what_is_not_ours_to_judge_is_said():
    refused = replay(incident("active", "allow", kind=Kind.BACKEND_REFUSAL), look(ALIVE), look(REVOKED, LATER), Policy(), LATER)
    assert Outcome.WOULD_BE_REFUSED is refused.outcome
    assert "backend" in refused.remark
    oauth = replay(incident("invalid_grant", "", kind=Kind.OAUTH_REFUSAL), None, None, Policy(), LATER)
    assert (Outcome.NOT_JUDGED, None) == (oauth.outcome, oauth.now)
