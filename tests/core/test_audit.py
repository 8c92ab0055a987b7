"""Who will fail next: one row per rule and its near misses."""

from __future__ import annotations

import pytest

from proxy.core.audit import DAY, MEANINGS, Code, Finding, Row, Rules, Tally, examine, given_up, schema_finding
from proxy.core.history import ClientIdentity, TokenHistory
from proxy.core.token import Known, OwnerState

NOW = 1_800_000_000.0
RULES = Rules(within=30 * DAY, cleanup_after=14 * DAY)


def known(**facts):
    return Known(**{"row": 1, "tenant": "acme", "created_at": NOW - DAY, "refreshable": True, **facts})


def codes(row, use=None, rules=RULES):
    return [str(finding.code) for finding in examine(row, use, NOW, rules)]


def use(**facts):
    return TokenHistory("f" * 32, tenant="acme", **facts)


@pytest.mark.parametrize(
    "expected, facts",
    [
        (["expiring"], {"expires_in": 31 * 86_400, "refreshable": None}),
        ([], {"expires_in": 31 * 86_400 + 1, "refreshable": None}),  # a second beyond the days asked for
        ([], {"expires_in": 7200 + 86_400}),  # its client renews it
        (["expiring"], {"revoked_at": NOW + 60}),  # whatever it has, it is to be revoked
        ([], {"revoked_at": NOW}),  # dead
        ([], {"expires_in": 0, "owner_state": OwnerState.DELETED}),  # dead
        (["owner_inactive"], {"owner_state": OwnerState.INACTIVE}),
        (["owner_inactive"], {"owner_state": OwnerState.DELETED}),
        ([], {"owner_state": OwnerState.NOT_READ}),
    ],
)
def test_facts_of_the_row(expected, facts):
    assert expected == codes(Row("db", known(**facts)))


@pytest.mark.parametrize(
    "granted, expected", [(True, ["expiring", "no_refresh_token"]), (False, ["expiring"]), (None, ["expiring"])]
)
def test_a_code_flow_client_without_refresh_token(granted, expected):
    token = known(expires_in=20 * 86_400, refreshable=False)
    assert expected == codes(Row("db", token, granted=granted), rules=Rules(30 * DAY))


@pytest.mark.parametrize(
    "expected, newest, last_good",
    [
        (["superseded_in_use"], NOW - 600, NOW - 60),
        ([], NOW - 600, NOW - 601),  # not used since the newer one was issued
        ([], NOW - DAY, NOW - 60),  # it is itself the newest
        ([], None, NOW - 60),
        ([], NOW - 600, None),
    ],
)
def test_superseded_but_in_use(expected, newest, last_good):
    assert expected == codes(Row("db", known(), newest), use(last_good=last_good))


def test_superseded_and_in_use_long_ago():
    row = Row("db", known(created_at=NOW - 400 * DAY), NOW - 300 * DAY)
    assert codes(row, use(last_good=NOW - 31 * DAY)) == []
    assert codes(row, use(last_good=NOW - 29 * DAY)) == ["superseded_in_use"]


@pytest.mark.parametrize(
    "expected, agents",
    [
        (["shared_token"], [("Okta SCIM Client 1.0.0", NOW), ("OneLogin", NOW)]),
        ([], [("Okta SCIM Client 1.0.0", NOW), ("curl", NOW)]),  # a person tried it
        ([], [("Okta SCIM Client 1.0.0", NOW), ("OneLogin", NOW - 31 * DAY)]),  # it moved
        ([], [("Okta SCIM Client 1.0.0", NOW), ("Okta SCIM Client 1.0.0", NOW)]),  # two networks of one product
    ],
)
def test_shared_tokens(expected, agents):
    clients = tuple(ClientIdentity(agent, f"192.0.{n}.0/24", at - 60, at) for n, (agent, at) in enumerate(agents))
    assert expected == codes(Row("db", known()), use(clients=clients))


@pytest.mark.parametrize(
    "expected, facts",
    [
        (["cleanup_deletes"], {"created_at": NOW - 15 * DAY, "expires_in": 315_360_000}),
        (["cleanup_deletes"], {"created_at": NOW - 15 * DAY}),  # never expires: 5.5.0 deletes it too
        (["cleanup_deletes"], {"created_at": NOW - DAY, "expires_in": 315_360_000}),  # within 30 days it will be
        ([], {"created_at": NOW - 15 * DAY, "expires_in": 315_360_000, "refreshable": True}),  # spared: refresh_token set
        ([], {"created_at": NOW - 15 * DAY, "refreshable": None}),  # not known whether it is spared
    ],
)
def test_rows_that_the_old_cleanup_deletes(expected, facts):
    assert expected == codes(Row("db", known(**{"refreshable": False, **facts})))
    assert [] == codes(Row("db", known(**{"refreshable": False, **facts})), rules=Rules(30 * DAY))


def test_a_token_that_expires_before_the_cleanup_comes_is_none_of_its_victims():
    assert codes(Row("db", known(refreshable=False, expires_in=13 * 86_400))) == ["expiring"]


def test_the_schema():
    assert schema_finding("db", ("no_refresh_token",), 0) is None
    found = schema_finding("db", ("previous_refresh_token_nullable",), 3)
    assert (Code.NULLABLE_PREVIOUS_REFRESH_TOKEN, True) == (found.code, "3 rows" in found.sentence)


def test_a_tenant_that_gave_up_is_named_once():
    uses = [use(last_good=NOW - 2 * DAY, last_bad=NOW - DAY, last_bad_reason="revoked"), use(last_good=NOW - 3 * DAY)]
    (found,) = given_up(uses, NOW)
    assert (Code.QUIET_SINCE_REFUSAL, "acme", NOW - DAY) == (found.code, found.tenant, found.at)


def test_a_tenant_with_a_new_token_has_not_given_up():
    assert [] == list(given_up([use(last_good=NOW - 9, last_bad=NOW - 7200), use(last_good=NOW - 60)], NOW))
    assert [] == list(given_up([use(last_good=NOW - DAY, last_bad=NOW - 7200), use(last_good=NOW - 60)], NOW))
    assert [] == list(given_up([use(last_bad=NOW - 7200)], NOW)), "a guess is no tenant"
    assert [] == list(given_up([use(last_good=NOW - DAY, last_bad=NOW - 60)], NOW)), "it may still try again"


def test_the_tally_keeps_the_first_to_fail_and_counts_all():
    tally = Tally(kept=3)
    for n in (5, 1, 4, 2, 3):
        tally.add(Finding(Code.EXPIRING, "acme", "", at=float(n)))
    tally.add(Finding(Code.OWNER_INACTIVE, "acme", ""))
    assert [1.0, 2.0, 3.0, None] == [finding.at for finding in tally.findings()]
    assert (5, 6, 1.0, None) == (
        tally.counts[Code.EXPIRING],
        tally.total,
        tally.next_failure(Code.EXPIRING),
        tally.next_failure(Code.OWNER_INACTIVE),
    )


def test_every_code_has_its_sentence():
    assert set(Code) == set(MEANINGS)
