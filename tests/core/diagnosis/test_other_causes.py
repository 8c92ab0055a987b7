"""Causes beside the row: what was presented, sources, backends, rights, OAuth calls, silence."""

import msgspec
import pytest

from proxy.core.diagnosis import (
    Absence,
    Activity,
    BackendVerdicts,
    ClientMemory,
    Coverage,
    Evidence,
    NeighbourIncident,
    OauthEvent,
    Others,
    diagnose,
)
from proxy.core.exchange import AnsweredBy
from proxy.core.incident import BackendAnswer, Kind
from proxy.core.token import NearMiss, OwnerState, Unavailable, Unknown
from tests.core.diagnosis.world import (
    AT,
    DAY,
    FP,
    ISSUED,
    ROW,
    around,
    backend_refusal,
    gone,
    history,
    never_known,
    reading,
    refusal,
    reread,
    row,
)

HOUR = 3600.0


def miss(change="none", column="token"):
    return NearMiss(change, column, "fedc", "9", "acme")


def malformed(why, *misses, searched=True):
    return refusal(
        None, "malformed_credential", around(misses=misses) if searched else None, credential=f"malformed:{why}", past=None
    )


def bare(client=None, others=None, credential="missing", agent="Okta SCIM Client 1.0.0"):
    reason = "missing_credential" if credential == "missing" else "malformed_credential"
    return refusal(None, reason, credential=credential, past=None, client=client, others=others, agent=agent)


def incident_with(evidence, **changes):
    return msgspec.structs.replace(evidence, incident=msgspec.structs.replace(evidence.incident, **changes))


def without_row(*tenants, reason="unknown"):
    return Others(incidents=tuple(NeighbourIncident(tenant, reason, AT - 5) for tenant in tenants))


def introspected(*readings, verdicts=(), source="introspection", state=None):
    evidence = never_known(readings=readings, backend_verdicts=verdicts)
    look = reading(state or Unknown(), source=source, via=source)
    return incident_with(evidence, reading=look, second_look=look)


def lagging(created_at, healed_after=1.0, past=None, before=(), via="primary"):
    notes = (*before, reread(row(created_at=created_at), healed_after))
    return refusal(Unknown(), "unknown", around(), via=via, past=past, notes=notes)


def verdicts(bad=3, good=3, last_accepted=AT, mixed=()):
    return (
        BackendVerdicts("10.0.0.5:8080", 0, bad, AT - 60, AT),
        BackendVerdicts("10.0.0.6:8080", good, 0, None, None, AT - 90, last_accepted),
        *mixed,
    )


def refresh(status=400, at=AT - HOUR, presented=FP, tenant="acme", error="invalid_grant"):
    return OauthEvent(at, "token", status, "refresh_token", error, tenant, presented=presented)


NEAR_END = row(expires_in=14 * 86_400 + 20)
SLOW = reading(Unavailable("timeout"), AT + 1)
KINDS = ("refresh_token", "application_secret", "grant", "digest")
EXPIRED = row(expires_in=13 * 86_400, refreshable=True)
NO_REFRESH = row(expires_in=13 * 86_400, refreshable=False)
SIGNED_IN = OauthEvent(ISSUED, "token", 200, "authorization_code", created=FP, refresh_issued=False)
LOOKS = BackendAnswer(403, "10.0.0.5:8080")
SCOPE_SAID = BackendAnswer(403, "10.0.0.5:8080", ('Bearer error="insufficient_scope", scope="scim"',))


def silence(pause=9 * DAY, gap=26 * HOUR, samples=50, proven=1.0, others=900, status=401, agent="Okta", **absence):
    asked = Absence(**{"start": AT - pause, "end": AT, "requests": 0, "others": others} | absence)
    activity = Activity(AT - pause, status, "revoked", "I0", agent, gap, samples)
    return Evidence(activity=activity, absence=asked, coverage=Coverage(proven))


def reported(proven=1.0, gaps=(), others=900, **changes):
    asked = Absence(**{"start": AT - HOUR, "end": AT, "requests": 0, "others": others, "reported_at": AT - 600} | changes)
    return Evidence(absence=asked, coverage=Coverage(proven, gaps))


TABLE = {
    "token_mangled": (
        {
            "quotes around a known token": malformed("quoted", miss("quoted")),
            "the word Bearer is missing": malformed("scheme_missing", miss("none")),
            "Bearer twice, not searched": malformed("scheme_doubled", searched=False),
            "another scheme before a known token": malformed("scheme_other", miss("scheme_other")),
            "well-formed but cut": never_known(miss("truncated")),
            "case changed": never_known(miss("case_changed")),
            "two headers": refusal(None, "several_credentials", credential="several", past=None),
        },
        {
            "Basic credentials": malformed("scheme_other"),
            "Bearer twice, and what remains is not known either": malformed("scheme_doubled"),
            "an endless value": malformed("too_long"),
            "nothing near": never_known(),
            "a refresh token in quotes": malformed("quoted", miss("quoted", "refresh_token")),
            "it had worked in this form": gone(misses=(miss("truncated"),)),
            "revoked": refusal(row(revoked_at=AT - HOUR), surroundings=around(misses=(miss("truncated"),))),
        },
    ),
    "wrong_secret_kind": (
        {f"the {column}": never_known(miss("none", column)) for column in KINDS}
        | {
            "a refresh token with white space": malformed("whitespace", miss("whitespace", "refresh_token")),
            "a refresh token of a row long gone": never_known(refresh_token_of="ee"),
        },
        {
            "a damaged access token": never_known(miss("truncated")),
            "also an access token": never_known(miss("quoted"), miss("quoted", "refresh_token")),
            "alive": backend_refusal(surroundings=around(misses=(miss("none", "refresh_token"),))),
        },
    ),
    "header_missing": (
        {
            "had one an hour ago": bare(ClientMemory(AT - HOUR, AT - HOUR, AT - 60)),
            "the field was emptied": bare(ClientMemory(AT - HOUR), credential="malformed:empty"),
            "stripped from three tenants": bare(others=without_row("globex", "initech", reason="missing_credential")),
        },
        {
            "a stranger's browser": bare(agent="Mozilla/5.0"),
            "one other stranger": bare(others=without_row("globex", reason="missing_credential")),
            "others are unknown, not without": bare(others=without_row("globex", "initech")),
            "another scheme": bare(ClientMemory(AT - HOUR), credential="malformed:scheme_other"),
            "it shows one when asked": bare(ClientMemory(AT - HOUR, AT - HOUR, AT, again=AT + 0.1)),
            "an egress that many share": bare(ClientMemory(AT - 1, AT - 1, AT, shared=True)),
        },
    ),
    "wrong_environment": (
        {
            "lives in staging": never_known(readings=(reading(ROW, source="staging"),)),
            "seen in staging, and worked": gone(before=row(row="staging:7"), readings=(reading(ROW, source="staging"),)),
        },
        {
            "its row was here and went": gone(readings=(reading(ROW, source="staging"),)),
            "dead there too": never_known(readings=(reading(row(revoked_at=AT - DAY), source="staging"),)),
            "unknown there too": never_known(readings=(reading(Unknown(), source="staging"),)),
            "read there an hour later": never_known(readings=(reading(ROW, AT + HOUR, source="staging"),)),
            "the same source again": never_known(readings=(reading(ROW, source="doorkeeper"),)),
        },
    ),
    "introspection_blind": (
        {
            "the table has it": introspected(reading(ROW)),
            "the backend accepts it": introspected(verdicts=(BackendVerdicts("b", 3, 0, last_accepted=AT + 5),)),
        },
        {
            "the table says revoked": introspected(reading(row(revoked_at=AT - DAY))),
            "nobody else was asked": introspected(),
            "accepted only before": introspected(verdicts=(BackendVerdicts("b", 3, 0, last_accepted=AT - 5),)),
            "not by introspection": introspected(reading(ROW, source="staging"), source="doorkeeper"),
        },
    ),
    "replica_lag": (
        {
            "there after a second": lagging(AT - 2),
            "there after ten": lagging(AT - 2, 10, before=(reread(Unknown(), 1),)),
            "a row of two minutes, committed after a second": lagging(AT - 120),
            "a row of ten minutes, which a replica got a second later": lagging(AT - 600, via="replica"),
            "a young row that worked, which a replica lacked": lagging(AT - 30, past=history(AT - 5), via="replica"),
            "a young row, there after a minute": lagging(AT - 5, 60),
            "replica without, primary with": incident_with(
                backend_refusal(), reading=reading(Unknown(), AT - 0.01, via="replica"), second_look=reading(ROW, AT + 0.02)
            ),
        },
        {
            "created after the refusal": lagging(AT + 0.5),
            "an old row, back after a minute": lagging(ISSUED, 60, past=history()),
            "an old row that worked, back after a second": lagging(ISSUED, past=history()),
            "an old row, there after a second": lagging(ISSUED, past=None),
            "a row of ten minutes that the primary lacked, there after a second": lagging(AT - 600),
            "the same, which the replica lacked as well": incident_with(
                lagging(AT - 600), reading=reading(Unknown(), AT - 0.01, via="replica")
            ),
            "an entry that came into the file after a second": lagging(AT - 120, via="file"),
            "a young row that worked, which the primary lacked": lagging(AT - 30, past=history(AT - 5)),
            "still missing": never_known(notes=(reread(Unknown(), 1),)),
            "there, but revoked": never_known(notes=(reread(row(revoked_at=AT - 9), 1),)),
            "replica late with a revocation": incident_with(
                refusal(row(revoked_at=AT - 1)), reading=reading(ROW, AT - 0.01, via="replica")
            ),
        },
    ),
    "hashing_switched": (
        {
            "the other form is there": never_known(miss(), surroundings=around(misses=(miss(),), flags=("stored_as_sha256",))),
            "rows of many tenants hold another kind of digest": gone(
                surroundings=around(flags=("secret_replaced", "stored_otherwise")), others=without_row("b", "c", "d")
            ),
            "and many tenants with it": gone(misses=(miss(),), others=without_row("b", "c", "d")),
        },
        {
            "many tenants, no match": never_known(others=without_row("b", "c", "d")),
            "one tenant": never_known(),
            "a digest presented": never_known(miss("none", "digest")),
            "without the word Bearer": malformed("scheme_missing", miss()),
        },
    ),
    "source_unavailable": (
        {
            "refused": refusal(Unavailable("refused"), "source_unavailable", status=503),
            "nothing recorded": refusal(None, "source_unavailable", status=503),
        },
        {
            "only the second look failed": incident_with(backend_refusal(), second_look=SLOW),
            "unknown": never_known(),
        },
    ),
    "backend_disagrees": (
        {
            "401": backend_refusal(),
            "403 with sufficient scopes": backend_refusal(answer=LOOKS, required_scopes=("scim",)),
            "403 without a word": backend_refusal(answer=LOOKS),
            "an endpoint has it alive, and it had worked": incident_with(
                backend_refusal(), second_look=reading(ROW, AT + 0.05, via="introspection")
            ),
            "kept from the client": incident_with(backend_refusal(), kind=Kind.DISAGREEMENT),
            "revoked a minute later": backend_refusal(notes=(reread(row(revoked_at=AT + 40), 60),)),
            "refused only once by one instance": backend_refusal(backend_verdicts=verdicts(bad=1)),
        },
        {
            "no second look": backend_refusal(None),
            "of a source of which the backend has served nothing": incident_with(
                backend_refusal(row(row="b:7"), past=None), second_look=reading(row(row="b:7"), AT + 0.05, source="b"),
                served={"a": 1},
            ),
            "an endpoint has it alive, and it never worked: it may be a refresh token": incident_with(
                backend_refusal(past=None), second_look=reading(ROW, AT + 0.05, via="introspection")
            ),
            "everybody refused, and its owner inactive": backend_refusal(
                row(owner_state=OwnerState.INACTIVE), past=None, others=without_row("globex", reason="active")
            ),
            "second look failed": incident_with(backend_refusal(), second_look=SLOW),
            "second look revoked": backend_refusal(row(revoked_at=AT - 1)),
            "second look without it": backend_refusal(Unknown()),
            "gone a second later": backend_refusal(notes=(reread(Unknown(), 1),)),
            "the re-read dates the revocation before": backend_refusal(notes=(reread(row(revoked_at=AT - 1), 1),)),
            "refused by us": refusal(row(revoked_at=AT - 1)),
        },
    ),
    "backend_instance_skew": (
        {
            "one refuses, one accepts": backend_refusal(backend_verdicts=verdicts()),
            "twice": backend_refusal(backend_verdicts=verdicts(bad=2, good=1)),
        },
        {
            "all accepted before": backend_refusal(backend_verdicts=verdicts(last_accepted=AT - 80)),
            "one does both": backend_refusal(backend_verdicts=verdicts(mixed=(BackendVerdicts("10.0.0.7:8080", 1, 1),))),
            "this one accepts otherwise": backend_refusal(
                answer=BackendAnswer(401, "10.0.0.6:8080"), backend_verdicts=verdicts()
            ),
            "dead": backend_refusal(row(revoked_at=AT - 1), backend_verdicts=verdicts()),
        },
    ),
    "clock_skew": (
        {
            "the backend ends it early": backend_refusal(
                NEAR_END, BackendAnswer(401, "b", ('Bearer error_description="The access token expired"',))
            ),
            "its body says so": backend_refusal(NEAR_END, BackendAnswer(401, "b", body="token expired")),
        },
        {"a day before its end": backend_refusal(row(expires_in=15 * 86_400), BackendAnswer(401, "b", body="token expired"))},
    ),
    "owner_inactive": (
        {
            "refused by us": refusal(row(owner_state=OwnerState.INACTIVE), "owner_inactive"),
            "deleted": refusal(row(owner_state=OwnerState.DELETED), "owner_inactive"),
            "refused by the backend": backend_refusal(row(owner_state=OwnerState.INACTIVE)),
            "refused by a backend in Rails, with nothing": backend_refusal(
                row(owner_state=OwnerState.INACTIVE), answer=BackendAnswer(401, "10.0.0.5:8080", content_type="text/html")
            ),
            "only the verdict": refusal(None, "owner_inactive"),
        },
        {
            "revoked as well": refusal(row(owner_state=OwnerState.INACTIVE, revoked_at=AT - DAY)),
            "owner not read": backend_refusal(),
            "the backend gives another reason": backend_refusal(row(owner_state=OwnerState.INACTIVE), answer=SCOPE_SAID),
            "the page of a tier before it": backend_refusal(
                row(owner_state=OwnerState.INACTIVE),
                answer=BackendAnswer(403, "10.0.0.5:8080", content_type="text/html", body="<html>Forbidden</html>"),
            ),
            "the backend refuses others too": backend_refusal(
                row(owner_state=OwnerState.INACTIVE), others=without_row("globex", reason="active")
            ),
            "inactive only later": backend_refusal(notes=(reread(row(owner_state=OwnerState.INACTIVE), 60),)),
        },
    ),
    "scope_missing": (
        {
            "refused by us": refusal(row(scopes=("public",)), "insufficient_scope", status=403, required_scopes=("scim",)),
            "read-only tenant": refusal(ROW, "insufficient_scope", status=403, required_scopes=("scim",)),
            "the backend says so": backend_refusal(row(scopes=("profile",)), answer=SCOPE_SAID),
            "by the scopes": backend_refusal(row(scopes=()), answer=LOOKS, required_scopes=("scim",)),
        },
        {
            "sufficient": backend_refusal(answer=LOOKS, required_scopes=("scim",)),
            "required not known": backend_refusal(answer=LOOKS),
            "the backend asks for what the token has": backend_refusal(answer=SCOPE_SAID),
            "401": backend_refusal(row(scopes=()), required_scopes=("scim",)),
        },
    ),
    "wrong_tenant": (
        {
            "another path": backend_refusal(addressed_tenant="globex", addressed_serves=True),
            "another path, 403": backend_refusal(answer=LOOKS, addressed_tenant="globex", addressed_serves=True),
        },
        {
            "another path than usual, which may be its own too": backend_refusal(
                past=history(last_good_address="acme"), addressed_tenant="globex", addressed_serves=False
            ),
            "its own path": backend_refusal(addressed_tenant="acme", addressed_serves=True),
            "a path at which it works": backend_refusal(
                past=history(last_good_address="globex"), addressed_tenant="globex", addressed_serves=True
            ),
            "a path that may name tenants in another way": backend_refusal(addressed_tenant="a-4711", addressed_serves=False),
            "revoked": refusal(row(revoked_at=AT - 1), addressed_tenant="globex"),
            "not known": backend_refusal(),
        },
    ),
    "refresh_failed": (
        {
            "of this token": refusal(EXPIRED, "expired", oauth=(refresh(),)),
            "of this tenant": refusal(EXPIRED, "expired", oauth=(refresh(presented=""),)),
            "and then silence": msgspec.structs.replace(silence(pause=HOUR), oauth=(refresh(),)),
        },
        {
            "granted afterwards": refusal(EXPIRED, "expired", oauth=(refresh(), refresh(200, AT - 60))),
            "of another tenant": refusal(EXPIRED, "expired", oauth=(refresh(presented="", tenant="globex"),)),
            "of another token": refusal(EXPIRED, "expired", oauth=(refresh(presented="ee"),)),
            "after a revocation": refusal(row(revoked_at=AT - DAY, refreshable=True), oauth=(refresh(),)),
            "500": refusal(EXPIRED, "expired", oauth=(refresh(500),)),
            "later": refusal(EXPIRED, "expired", oauth=(refresh(at=AT + 60),)),
        },
    ),
    "refresh_impossible": (
        {
            "token response seen": refusal(NO_REFRESH, "expired", oauth=(SIGNED_IN,)),
            "a grant exists": refusal(NO_REFRESH, "expired", grant_exists=True),
        },
        {
            "a static token": refusal(NO_REFRESH, "expired", grant_exists=False),
            "it had one": refusal(EXPIRED, "expired", grant_exists=True),
            "revoked": refusal(row(revoked_at=AT - DAY), grant_exists=True),
        },
    ),
    "went_silent": (
        {
            "since a 401": silence(),
            "since a 200": silence(status=200),
            "three hours after a refusal by Okta, which does not try again": silence(pause=3 * HOUR, gap=HOUR),
        },
        {
            "Entra's quiet day": silence(pause=30 * HOUR, gap=40 * 60, status=200, agent="azure-scim"),
            "three hours after a good answer": silence(pause=3 * HOUR, gap=HOUR, status=200),
            "cadence not known": silence(samples=1),
            "heartbeats with gaps": silence(proven=0.7),
            "everybody silent": silence(others=0),
            "something arrived": silence(requests=3),
            "renamed, and goes on": silence(renamed="acme-inc", as_renamed=70),
            "renamed, and later silent under that name": silence(renamed="acme-inc"),
        },
    ),
    "never_arrived": (
        {
            "reported ten minutes ago": reported(),
            "heartbeats almost whole": reported(proven=0.995),
            "renamed, and as silent under that name": reported(renamed="acme-inc"),
        },
        {
            "something arrived": reported(requests=1),
            "renamed, and it arrived under that name": reported(renamed="acme-inc", as_renamed=1),
            "heartbeats with gaps": reported(proven=0.9),
            "the gap is at that time": reported(proven=0.995, gaps=((AT - 605, AT - 595),)),
            "nobody arrived": reported(others=0),
            "a refusal two hours before: another time zone?": msgspec.structs.replace(
                reported(), activity=Activity(last_at=AT - 600 - 2 * HOUR, last_status=401)
            ),
            "reported for another day": reported(reported_at=AT - DAY),
            "requests not counted": reported(requests=None),
        },
    ),
    "undetermined": (
        {"nothing": Evidence(), "a 401 without evidence": refusal(None, "unknown", past=None)},
        {"alive": backend_refusal()},
    ),
}  # fmt: skip


def cases(which):
    return [pytest.param(code, e, id=f"{code}: {name}") for code, sides in TABLE.items() for name, e in sides[which].items()]


@pytest.mark.parametrize("code,evidence", cases(0))
def test_gives(code, evidence):
    diagnosis = diagnose(evidence)
    assert (diagnosis.cause.code, diagnosis.cause.confidence == "possible") == (code, code == "undetermined"), diagnosis


@pytest.mark.parametrize("code,evidence", cases(1))
def test_does_not_give(code, evidence):
    assert diagnose(evidence).cause.code != code


def test_advice_on_a_doubled_prefix_tells_what_to_do_in_okta():
    cause = diagnose(malformed("scheme_doubled", miss("scheme_doubled"))).cause
    assert "remove the word Bearer from the token field" in cause.text_customer
    assert "Okta Admin Console" in cause.text_customer


def test_undetermined_names_two_candidates_and_what_is_missing():
    evidence = never_known(surroundings=around(error="timeout"), others=without_row("b", "c", "d"))
    diagnosis = diagnose(evidence)
    assert [c.code for c in diagnosis.candidates] == ["hashing_switched", "token_unknown"]
    assert diagnosis.cause.missing == ("a match of the other stored form", "a search for near misses")


def test_a_token_that_is_let_through_in_observe_mode_is_diagnosed_as_if_it_were_refused():
    evidence = refusal(row(revoked_at=AT - 1), surroundings=around())
    said = msgspec.structs.replace(evidence.incident.exchange, answered_by=AnsweredBy.BACKEND, status=200, observed=True)
    assert diagnose(incident_with(evidence, kind=Kind.WOULD_REFUSE, exchange=said)).cause.code == "token_revoked"
