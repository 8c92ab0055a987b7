"""Tokens in use that will fail, by what is remembered of them."""

from __future__ import annotations

import pytest

from proxy.core.audit import DAY, Code, Rules
from proxy.core.exchange import AnsweredBy
from proxy.core.history import TokenHistory
from proxy.core.token import Known, OwnerState, Reading, Unknown
from proxy.evidence.history import History
from proxy.evidence.risk import Risk, at_risk, judge
from tests.evidence.conftest import Clock, make_exchange

NOW = 1_790_000_000.0
RULES = Rules(30 * DAY)


def used(row, name="a", last_good=NOW - 60):
    return TokenHistory(name * 32, row.tenant, last_good=last_good, last_reading=Reading(row, "doorkeeper", "primary", NOW - 1))


def token(row=1, tenant="acme", age=100 * DAY, **changes):
    return Known(row, tenant, NOW - age, **changes)


@pytest.mark.parametrize(
    "expected, histories",
    [
        ((), [used(token())]),
        ((Risk(Code.EXPIRING, 1, NOW + 3 * DAY),), [used(token(expires_in=int(103 * DAY)))]),
        ((), [used(token(expires_in=int(200 * DAY)))]),
        ((), [used(token(expires_in=int(103 * DAY), refreshable=True))]),  # its client renews it
        ((), [used(token(expires_in=int(103 * DAY), revoked_at=NOW - 5))]),  # it has failed already
        ((), [used(token(expires_in=int(103 * DAY)), last_good=NOW - 40 * DAY)]),  # nobody uses it
        ((Risk(Code.OWNER_INACTIVE, 1),), [used(token(owner="5", owner_state=OwnerState.INACTIVE))]),
        ((Risk(Code.SUPERSEDED_IN_USE, 1),), [used(token(1)), used(token(2, age=10 * DAY), "b")]),
        ((), [used(token(1)), used(token(2, age=10 * DAY, application="other"), "b")]),
        (
            (Risk(Code.EXPIRING, 2, NOW + DAY),),
            [used(token(1, expires_in=int(101 * DAY), owner="1")), used(token(2, expires_in=int(105 * DAY), owner="2"), "b")],
        ),
    ],
)
def test_what_is_at_risk(expected, histories):
    assert ({"acme": expected} if expected else {}) == judge(histories, NOW, RULES)


def test_a_token_that_is_gone_or_was_never_good_is_at_no_risk():
    gone = TokenHistory("a" * 32, "acme", last_good=NOW, last_reading=Reading(Unknown(), "doorkeeper", "primary", NOW))
    assert {} == judge([gone, TokenHistory("b" * 32, "acme", last_seen=NOW)], NOW, RULES)


async def test_from_the_store_for_every_replica(store):
    clock = Clock(NOW)
    history = History(store, "one", clock=clock)
    for number, tenant in enumerate(("acme", "globex", "acme")):
        name = f"{number}" * 32
        row = token(number, tenant, expires_in=int((100 + number + 1) * DAY), owner=str(number))
        history.saw(
            make_exchange(NOW - 5, tenant=tenant, fingerprint=name, status=200, verdict="allow", answered_by=AnsweredBy.BACKEND)
        )
        history.noted(name, Reading(row, "doorkeeper", "primary", NOW - 5))
    await history.flush()
    await history.flush()
    found = await at_risk(store, NOW, RULES)
    assert {"acme": (Risk(Code.EXPIRING, 2, NOW + DAY),), "globex": (Risk(Code.EXPIRING, 1, NOW + 2 * DAY),)} == found
