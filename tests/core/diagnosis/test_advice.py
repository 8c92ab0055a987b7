"""What operator and customer are told must hold in the case at hand, and not only for most cases of a cause."""

from __future__ import annotations

import msgspec
import pytest

from proxy.core.diagnosis import Evidence, diagnose
from proxy.core.diagnosis.evidence import Absence, ClientMemory, NeighbourIncident, NeighbourRequest, Others
from proxy.core.history import StateChange
from proxy.core.incident import BackendAnswer, Kind
from proxy.core.memory import OauthEvent
from proxy.core.token import NearMiss, OwnerState, Unknown
from tests.core.diagnosis.world import (
    AT,
    DAY,
    FP,
    ROW,
    around,
    backend_refusal,
    gone,
    history,
    newer,
    reading,
    refusal,
    reread,
    row,
)

HOUR = 3600
REVOKED = row(revoked_at=AT - HOUR)
REVOKE_CALL = OauthEvent(AT - HOUR, "revoke", 200, client="console", presented=FP, tenant="acme")
SHORTENED = history(changes=(StateChange(ROW, row(expires_in=DAY), AT - 60, AT - 59),))
DEAD = newer(AT - HOUR, revoked_at=AT - 60)
REFUSED_REFRESH = OauthEvent(AT - 20, "token", 400, "refresh_token", "invalid_grant", "acme", presented=FP)
BORN = OauthEvent(ROW.created_at, "token", 200, "authorization_code", created=FP, tenant="acme")
STRANGER = NeighbourRequest("globex", AT - HOUR + 0.15, first_use=True, seconds=0.15)
BESIDE = OauthEvent(AT - HOUR, "token", 200, "authorization_code", created="ff", tenant="acme")
FETCHED = OauthEvent(ROW.created_at, "token", 200, "client_credentials", created=FP, tenant="acme", refresh_issued=False)
REFRESHED = OauthEvent(AT - 1900, "token", 200, "refresh_token", created="ff", presented=FP, tenant="acme")
EXPIRED = row(expires_in=int(14 * DAY) - 30, refreshable=True)
CASES = {
    "the newer token has ended too": (
        refusal(REVOKED, surroundings=around(DEAD)),
        "token_superseded",
        "has ended as well. Issue a new one",
        "nor is the one that replaced it. We will give you a new one.",
    ),
    "regenerated twice: the last one is to be entered": (
        refusal(REVOKED, surroundings=around(DEAD, newer(AT - 60, row=9))),
        "token_superseded",
        "Enter the token issued 2026-05-17 06:39:00 UTC at Okta",
        "please enter the new one",
    ),
    "the revoking call passed through here": (
        refusal(REVOKED, oauth=(REVOKE_CALL,)),
        "token_revoked",
        "Revoked by a call of /oauth/revoke by console.",
        "was revoked at 2026-05-17 05:40:00 UTC",
    ),
    "a stranger's call that Doorkeeper forbade revoked nothing": (
        refusal(REVOKED, surroundings=around(), oauth=(msgspec.structs.replace(REVOKE_CALL, status=403),)),
        "token_revoked",
        "Nothing here shows who revoked it",
        "was revoked at 2026-05-17 05:40:00 UTC",
    ),
    "nor did one ten minutes before": (
        refusal(REVOKED, surroundings=around(), oauth=(msgspec.structs.replace(REVOKE_CALL, at=AT - HOUR - 600),)),
        "token_revoked",
        "Nothing here shows who revoked it",
        "was revoked at 2026-05-17 05:40:00 UTC",
    ),
    "the tenant may only read": (
        refusal(ROW, "insufficient_scope", status=403, required_scopes=("scim",)),
        "scope_missing",
        "Take it out if it shall write",
        "the token can stay",
    ),
    "the tenant may only read by the settings of now as well": (
        refusal(ROW, "insufficient_scope", status=403, required_scopes=("scim",), reads_only=True),
        "scope_missing",
        "No scope is lacking: the tenant stands in policy.read_only_tenants",
        "the token can stay",
    ),
    "the settings that forbade it were changed": (
        refusal(ROW, "insufficient_scope", status=403, required_scopes=("scim",), reads_only=False),
        "scope_missing",
        "by those of now the token may do this",
        "it is there now",
    ),
    "a scope is lacking, and the tenant may write": (
        refusal(row(scopes=("public",)), "insufficient_scope", status=403, required_scopes=("scim",), reads_only=False),
        "scope_missing",
        "Required is one of: scim",
        "lacks a permission",
    ),
    "the tenant may only read, and no scope is ever required": (
        refusal(ROW, "insufficient_scope", status=403),
        "scope_missing",
        "Take it out if it shall write",
        "the token can stay",
    ),
    "a 403 of the backend is no fault to correct": (
        backend_refusal(answer=BackendAnswer(403, "10.0.0.5:8080")),
        "backend_disagrees",
        "10.0.0.5:8080 forbids it.",
        "by a rule that has nothing to do with the token",
    ),
    "no replica was asked": (
        refusal(Unknown(), "unknown", around(), past=None, notes=(reread(row(created_at=AT - 5), 1),)),
        "replica_lag",
        "committed late",
        "It is accepted now",
    ),
    "the owner's account is gone": (
        refusal(row(owner_state=OwnerState.DELETED), "owner_inactive"),
        "owner_inactive",
        "Owner 11 is deleted: restore it",
        "Please restore it",
    ),
    "revoked_at lies before it last worked": (
        refusal(row(revoked_at=AT - DAY), surroundings=around()),
        "token_revoked",
        "It was accepted here up to 2026-05-17 05:40:00 UTC: look there too",
        "was revoked at 2026-05-16 06:40:00 UTC",
    ),
    "who signed in is given no new token": (
        refusal(REVOKED, surroundings=around(), oauth=(BORN,)),
        "token_revoked",
        "have the customer authorize again",
        "sign in again; there is no token to enter",
    ),
    "who fetches it with id and secret is asked neither to sign in nor to enter one": (
        refusal(row(expires_in=int(14 * DAY) - 30, refreshable=False), "expired", around(), oauth=(FETCHED,)),
        "token_expired",
        "Such a client has to fetch another by itself",
        "test the connection again, so that it fetches another",
    ),
    "nor when its next one took its place": (
        refusal(REVOKED, surroundings=around(newer(AT - HOUR)), oauth=(FETCHED,)),
        "token_superseded",
        "See that only one process uses them",
        "only one connection uses them",
    ),
    "nobody who signed in enters a token because of a clock": (
        backend_refusal(
            row(expires_in=int(14 * DAY) + 9, refreshable=True), BackendAnswer(401, "b", body="token expired"), oauth=(BORN,)
        ),
        "clock_skew",
        "The clocks differ by at least",
        "If the connection does not renew it by itself, please authorize it again.",
    ),
    "nor who fetches its own": (
        backend_refusal(row(expires_in=int(14 * DAY) + 9), BackendAnswer(401, "b", body="token expired"), oauth=(FETCHED,)),
        "clock_skew",
        "The clocks differ by at least",
        "test the connection again, so that it fetches another",
    ),
    "nor because of a scope": (
        refusal(row(refreshable=True), "insufficient_scope", status=403, required_scopes=("scim.write",), oauth=(BORN,)),
        "scope_missing",
        "has to be allowed that scope, and the client to ask for it",
        "with which scope the connection has to be authorized again",
    ),
    "nor because of a stranger's first use": (
        refusal(
            row(revoked_at=AT - HOUR + 0.25),
            surroundings=around(flags=("previous_refresh_token_nullable",)),
            others=Others(requests=(STRANGER,)),
            oauth=(BORN,),
        ),
        "null_refresh_match",
        "have the customer authorize again",
        "Please authorize the connection again.",
    ),
    "a time was asked about, at whose end nothing was refused": (
        Evidence(absence=Absence(AT - DAY, AT, requests=3)),
        "undetermined",
        "Not decided.",
        "between 2026-05-16 06:40:00 UTC and 2026-05-17 06:40:00 UTC",
    ),
    "the newer token is another connection's, which signs in": (
        refusal(REVOKED, surroundings=around(newer(AT - HOUR, fingerprint="ff")), oauth=(BESIDE,)),
        "token_superseded",
        "is not to be entered: a connection that signs in was given it",
        "when a connection was authorized by signing in",
    ),
    "nor who signed in past the proxy, as the rows tell": (
        refusal(
            row(revoked_at=AT - HOUR, refreshable=True), surroundings=around(newer(AT - HOUR + 0.1)), grant_exists=True
        ),
        "token_superseded",
        "have the customer authorize again",
        "sign in again; there is no token to enter",
    ),
    "tokens of several applications were revoked at once": (
        refusal(REVOKED, surroundings=around(newer(AT - HOUR, relation="same_instant", application="4", owner="9"), count=19)),
        "token_revoked",
        "Tokens of several applications were revoked at once",
        "was revoked at 2026-05-17 05:40:00 UTC",
    ),
    "tokens of one application were revoked at once": (
        refusal(REVOKED, surroundings=around(newer(AT - HOUR, relation="same_instant", owner="9"), count=19)),
        "token_revoked",
        "Many tokens were revoked at once: an application was",
        "was revoked at 2026-05-17 05:40:00 UTC",
    ),
    "a backend's empty refusal is no page": (
        backend_refusal(answer=BackendAnswer(401, "10.0.0.5:8080", content_type="text/html")),
        "backend_disagrees",
        "Compare its hash_token_secrets",
        "Your access token is valid on our side",
    ),
    "nor when its row is gone": (
        gone(oauth=(BORN,)),
        "token_deleted",
        "Have the customer authorize again",
        "sign in again; there is no token to enter",
    ),
    "the clean-up of expired tokens is not blamed for one with a refresh token": (
        gone(before=row(refreshable=True), oauth=(BORN,)),
        "token_deleted",
        "leaves those with a refresh token alone",
        "sign in again; there is no token to enter",
    ),
    "nor when another took its place": (
        refusal(REVOKED, surroundings=around(newer(AT - HOUR)), oauth=(BORN,)),
        "token_superseded",
        "have the customer authorize again",
        "sign in again; there is no token to enter",
    ),
    "the answer of a refresh was lost": (
        refusal(EXPIRED, "expired", around(), oauth=(BORN, REFRESHED)),
        "token_expired",
        "its answer was lost, or another connection took it",
        "sign in again; there is no token to enter",
    ),
    "cleaned up after the refresh that ended it": (
        gone(newer(AT - 1900, fingerprint="ff"), before=EXPIRED, oauth=(BORN, REFRESHED), first_uses={"ff": AT - 1850}),
        "token_rotated",
        "refreshed at 2026-05-17 06:08:20 UTC and kept the old token",
        "sign in again; there is no token to enter",
    ),
    "damaged, and revoked as well": (
        refusal(Unknown(), "unknown", around(misses=(NearMiss("quoted", "token", "f1", 1, "acme", "revoked"),)), past=None),
        "token_mangled",
        "the token is revoked as well. Issue a new one; when it is entered: paste the token without quotes",
        "It is revoked as well, so that we will give you a new one.",
    ),
    "damaged, and alive": (
        refusal(Unknown(), "unknown", around(misses=(NearMiss("quoted", "token", "f1", 1, "acme", ""),)), past=None),
        "token_mangled",
        "Okta sends it damaged: the token stands in quotes.",
        "Please paste the token without quotes.",
    ),
    "who signed in has no token to enter": (
        refusal(EXPIRED, "expired", around(), oauth=(REFUSED_REFRESH,)),
        "refresh_failed",
        "The customer must authorize again",
        "sign in again; there is no token to enter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_both_are_told_what_holds(name):
    evidence, code, operator, customer = CASES[name]
    cause = diagnose(evidence).cause
    assert (code, True, True) == (cause.code, operator in cause.advice_operator, customer in cause.text_customer), cause


@pytest.mark.parametrize("client,code", [("okta-id", "refresh_failed"), ("stranger-id", "token_expired")])
def test_a_refresh_that_was_refused_to_another_client_is_not_this_ones(client, code):
    born = msgspec.structs.replace(BORN, client="okta-id")
    refused = msgspec.structs.replace(REFUSED_REFRESH, client=client)
    assert code == diagnose(refusal(EXPIRED, "expired", around(), oauth=(born, refused))).cause.code


def test_what_is_set_already_is_not_advised():
    refused = backend_refusal()
    assert refused.incident is not None
    exchange = msgspec.structs.replace(refused.incident.exchange, status=503)
    incident = msgspec.structs.replace(refused.incident, exchange=exchange)
    said = [diagnose(msgspec.structs.replace(refused, incident=one)).cause for one in (refused.incident, incident)]
    assert [True, False] == ["on_disagreement" in cause.advice_operator for cause in said]
    assert "was answered 503 in its place" in said[1].advice_operator


def test_without_the_column_the_refresh_itself_ended_it():
    over, end = row(revoked_at=AT - 1900, refreshable=True), AT - 1900
    for flag, by in (("no_previous_refresh_token", "that refresh."), ("", "the first use of the new one.")):
        seen = around(newer(end, fingerprint="ff"), flags=(flag,))
        cause = diagnose(refusal(over, surroundings=seen, oauth=(BORN, REFRESHED))).cause
        assert ("token_rotated", True) == (cause.code, cause.title.endswith(by)), cause


@pytest.mark.parametrize("presented,told", [(FP, "no longer takes this refresh token"), ("", "cut short, or of another place")])
def test_a_refresh_token_that_nobody_knows_may_never_have_been_one(presented, told):
    call = msgspec.structs.replace(REFUSED_REFRESH, at=AT, presented=presented, exchange="r1")
    refused = refusal(None, "refresh", oauth=(call,), past=None)
    assert refused.incident is not None
    incident = msgspec.structs.replace(refused.incident, kind=Kind.OAUTH_REFUSAL, oauth=call)
    cause = diagnose(msgspec.structs.replace(refused, incident=incident)).cause
    assert ("refresh_failed", True) == (cause.code, told in " ".join(cause.evidence_for)), cause


def test_a_life_that_was_shortened_is_told():
    said = diagnose(refusal(row(expires_in=DAY), "expired", past=SHORTENED)).cause.evidence_for
    assert [line for line in said if "its end was another (never)" in line]


def test_a_revocation_beside_a_disabled_owner_names_it():
    revoked = row(revoked_at=AT - HOUR, owner_state=OwnerState.INACTIVE)
    said = diagnose(refusal(revoked, surroundings=around())).cause.evidence_for
    assert "The account that owns it was inactive then: that may be why." in said


@pytest.mark.parametrize(
    "via,why,told",
    [
        ("jwks", "unknown_key", "jwt does not take it because the key that it names is not, or no longer, among the issuer's"),
        ("jwks", "not_yet_valid", "jwt does not take it because it is valid only later (nbf) (not_yet_valid)."),
        ("introspection", "", "a table of tokens"),
    ],
)
@pytest.mark.parametrize("past", [None, history()])
def test_what_keeps_no_rows_decides_nothing_and_is_quoted(via, why, told, past):
    look = reading(Unknown(why), via=via, source="jwt" if via == "jwks" else via)
    refused = refusal(Unknown(), "unknown", around(), past=past)
    assert refused.incident is not None
    incident = msgspec.structs.replace(refused.incident, reading=look, second_look=look)
    cause = diagnose(msgspec.structs.replace(refused, incident=incident)).cause
    assert ("undetermined", True) == (cause.code, told in " ".join((*cause.evidence_for, *cause.missing)))
    assert not [line for line in cause.evidence_for if "No row" in line]


def test_that_a_damaged_token_is_a_known_one_does_not_say_that_it_lives():
    near = NearMiss("truncated", "token", "ee", 7, "acme")
    cause = diagnose(refusal(Unknown(), "unknown", around(misses=(near,)), past=None)).cause
    assert ("token_mangled", True) == (cause.code, any("is alive" in line for line in cause.missing))


def test_that_another_form_is_stored_does_not_say_that_the_row_lives():
    near = NearMiss("none", "token", "ee", 7, "acme")
    cause = diagnose(refusal(Unknown(), "unknown", around(misses=(near,)), past=None)).cause
    assert ("hashing_switched", True) == (cause.code, "see first that the row itself is alive" in cause.advice_operator)


def test_of_two_tokens_that_begin_alike_none_is_named_for_sure():
    def cut(number: int) -> NearMiss:
        return NearMiss("truncated", "token", f"f{number}", number, None)

    evidence = refusal(Unknown(), "unknown", around(misses=(cut(1), cut(2))), past=None)
    cause = diagnose(evidence).cause
    assert (cause.code, cause.confidence) == ("token_mangled", "likely")
    assert ["perhaps" in line for line in cause.evidence_for] == [True, True]
    assert "which of them was meant" in cause.missing


def test_whose_a_damaged_token_is_is_told_to_the_operator_alone():
    miss = NearMiss("quoted", "token", "f1", 1, "globex")
    evidence = refusal(Unknown(), "unknown", around(misses=(miss,)), past=None, addressed_tenant="acme")
    cause = diagnose(evidence).cause
    assert "of tenant globex" in cause.evidence_for[0]
    assert "whether acme, whose address was called, is globex" in cause.missing
    assert "globex" not in cause.text_customer


@pytest.mark.parametrize(
    "target, told",
    [
        ("/scim/v2/Users?filter&access_token", "(access_token=...)"),
        ("/scim/v2/Users?bearer_token", "(bearer_token=...)"),
        ("/scim/v2/Users?filter&*", ""),
        ("/scim/v2/access_token", ""),
    ],
)
def test_a_token_in_the_query_is_no_header_that_somebody_strips(target, told):
    before = ClientMemory(AT - HOUR, AT - HOUR, AT - 60)
    others = Others(incidents=tuple(NeighbourIncident(name, "missing_credential", AT - 5) for name in ("globex", "initech")))
    evidence = refusal(None, "missing_credential", credential="missing", past=None, client=before, others=others)
    assert evidence.incident is not None
    asked = msgspec.structs.replace(evidence.incident.exchange, target=target)
    incident = msgspec.structs.replace(evidence.incident, exchange=asked)
    cause = diagnose(msgspec.structs.replace(evidence, incident=incident)).cause
    assert cause.code == "header_missing"
    for text in (cause.advice_operator, cause.text_customer):
        assert told in text
        assert ("in the query" in text or "within the address" in text) == bool(told)
        assert ("gateway" in text or "strips" in text) != bool(told)
    assert ("stripped_on_the_way" in cause.findings) != bool(told)
