"""decide(): one table of state, clock, policy and operation -> exact verdict."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credential import Malformed, Missing, Secret, Several, Why
from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ, OTHER_WRITE
from proxy.core.token import FAR_FUTURE, FAR_PAST, Known, OwnerState, Unavailable, Unknown
from proxy.core.verdict import MEANINGS, Allow, Deny, Reason, Unable, decide
from proxy.sources.doorkeeper.rows import instant, scopes
from tests.core.verdict_table import CASES, NOW, SCIM, Case

CLOCK = NOW.timestamp()
ROW = Known(row=1, tenant="acme", created_at=0.0, scopes=("scim",))


def row(**facts) -> Known:
    return msgspec.structs.replace(ROW, **facts)


def expected(reason: Reason, subject: Known) -> Allow | Deny | Unable:
    if reason in (Reason.ACTIVE, Reason.ACTIVE_STALE):
        return Allow(reason, subject)
    status = MEANINGS[reason].status
    return Unable(reason) if status == 503 else Deny(reason, status)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_doorkeepers_own_verdict(case: Case):
    subject = row(
        created_at=instant(CLOCK + case.created),
        expires_in=case.expires_in,
        revoked_at=None if case.revoked is None else instant(CLOCK + case.revoked),
        scopes=scopes(case.scopes),
    )
    verdict = decide(subject, CLOCK, 0.0, Policy(read_scopes=case.required), OTHER_READ)
    assert expected(case.expected, subject) == verdict


@pytest.mark.parametrize(
    "reason, subject",
    [
        (Reason.MISSING_CREDENTIAL, Missing()),
        (Reason.SEVERAL_CREDENTIALS, Several(2)),
        (Reason.MALFORMED_CREDENTIAL, Malformed(Why.QUOTED, Secret(b"x", "f"))),
        (Reason.UNKNOWN, Unknown()),
    ],
)
def test_what_is_no_row_is_refused_whatever_the_age(reason, subject):
    for age in (0.0, 1e9):
        assert Deny(reason, 401) == decide(subject, CLOCK, age, Policy(), OTHER_READ)


@pytest.mark.parametrize("why", ["refused", "timeout", "error", "overload", "breaker", "starting"])
def test_our_own_trouble_is_never_a_refusal(why):
    assert Unable(Reason.SOURCE_UNAVAILABLE) == decide(Unavailable(why), CLOCK, 0.0, Policy(), OTHER_READ)


@pytest.mark.parametrize(
    "age, reason",
    [
        (0.0, Reason.ACTIVE),
        (2.0, Reason.ACTIVE),
        (2.001, Reason.ACTIVE_STALE),
        (302.0, Reason.ACTIVE_STALE),
        (302.001, Reason.SOURCE_UNAVAILABLE),
    ],
)
def test_age_makes_a_reading_stale_and_then_none(age, reason):
    assert expected(reason, ROW) == decide(ROW, CLOCK, age, Policy(fresh_for=2, stale_grace=300), OTHER_READ)


def test_too_old_a_reading_refuses_nothing_either():
    dead = row(revoked_at=1.0)
    assert Unable(Reason.SOURCE_UNAVAILABLE) == decide(dead, CLOCK, 302.5, Policy(fresh_for=2, stale_grace=300), OTHER_READ)
    assert Deny(Reason.REVOKED, 401) == decide(dead, CLOCK, 302.0, Policy(fresh_for=2, stale_grace=300), OTHER_READ)


@pytest.mark.parametrize("owner_state", list(OwnerState))
@pytest.mark.parametrize("refuses", [False, True])
def test_the_owner_counts_only_where_told_to(owner_state, refuses):
    subject = row(owner_state=owner_state)
    dead = refuses and owner_state in (OwnerState.INACTIVE, OwnerState.DELETED)
    reason = Reason.OWNER_INACTIVE if dead else Reason.ACTIVE
    assert expected(reason, subject) == decide(subject, CLOCK, 0.0, Policy(refuse_inactive_owner=refuses), OTHER_READ)


@pytest.mark.parametrize(
    "policy, operation, reason",
    [
        (Policy(write_scopes=frozenset({"w"})), OTHER_READ, Reason.ACTIVE),
        (Policy(write_scopes=frozenset({"w"})), OTHER_WRITE, Reason.INSUFFICIENT_SCOPE),
        (Policy(read_scopes=frozenset({"r"})), OTHER_READ, Reason.INSUFFICIENT_SCOPE),
        (Policy(read_scopes=frozenset({"r"})), OTHER_WRITE, Reason.ACTIVE),
        (Policy(read_scopes=SCIM, write_scopes=SCIM), OTHER_WRITE, Reason.ACTIVE),
        (Policy(read_only_tenants=frozenset({"acme"})), OTHER_WRITE, Reason.INSUFFICIENT_SCOPE),
        (Policy(read_only_tenants=frozenset({"acme"})), OTHER_READ, Reason.ACTIVE),
        (Policy(read_only_tenants=frozenset({"other"})), OTHER_WRITE, Reason.ACTIVE),
    ],
)
def test_scopes_and_read_only_tenants_by_operation(policy, operation, reason):
    assert expected(reason, ROW) == decide(ROW, CLOCK, 0.0, policy, operation)


TIMES = st.floats(FAR_PAST, FAR_FUTURE)


LIVES = st.none() | st.integers(-(2**31), 2**31 - 1)


@given(created=TIMES, expires=LIVES, revoked=st.none() | TIMES, now=TIMES, age=st.floats(0, 1e9))
def test_it_is_total_and_alive_means_neither_revoked_nor_expired(created, expires, revoked, now, age):
    subject = row(created_at=created, expires_in=expires, revoked_at=revoked)
    verdict = decide(subject, now, age, Policy(), OTHER_READ)
    dead = (revoked is not None and revoked <= now) or (expires is not None and now > created + expires)
    assert isinstance(verdict, Unable if age > 302 else Deny if dead else Allow)


@given(now=TIMES)
def test_what_was_revoked_or_expired_stays_so_as_time_goes_on(now):
    dead = row(revoked_at=now, expires_in=None)
    assert Deny(Reason.REVOKED, 401) == decide(dead, now, 0.0, Policy(), OTHER_READ)
    assert Deny(Reason.REVOKED, 401) == decide(dead, now + 1, 0.0, Policy(), OTHER_READ)
