"""What happened to the row: per cause scenarios that must give it, and near misses that must not."""

import msgspec
import pytest

from proxy.core.diagnosis import Death, NeighbourIncident, NeighbourRequest, OauthEvent, Others, diagnose
from proxy.core.history import ClientIdentity, StateChange
from proxy.core.incident import Kind
from proxy.core.token import FAR_FUTURE, Sibling, Unknown
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
    newer,
    reading,
    refusal,
    reread,
    row,
)  # fmt: skip

HOUR = 3600.0
REVOKED = row(revoked_at=AT - HOUR)
OAUTH = row(refreshable=True, expires_in=30 * 86_400, revoked_at=AT - HOUR)


def successor(created_at, used=None):
    return Sibling("successor", 9, created_at, application="3", owner="11", used=used)


def shared(first="Okta SCIM Client", second="OneLogin", gap=0.0, count=50):
    a = ClientIdentity(first, "192.0.2.0/24", ISSUED, AT - HOUR, count)
    b = ClientIdentity(second, "198.51.100.0/24", (AT - HOUR + 1 if gap else ISSUED + DAY), AT, count)
    return refusal(REVOKED, surroundings=around(newer(AT - HOUR)), past=history(AT - 2 * HOUR, clients=(a, b)))


ENDED = AT - HOUR + 0.25
"""A revocation that is told to fractions of a second."""


def null_refresh(*requests, flags=("previous_refresh_token_nullable",), state=None, siblings=(), count=0, **more):
    state = state or row(revoked_at=ENDED)
    return refusal(state, surroundings=around(*siblings, flags=flags, count=count), others=Others(requests=requests), **more)


def cut(length, *flags):
    evidence = never_known(surroundings=around(flags=("digests_only", *flags)))
    assert evidence.incident is not None
    incident = msgspec.structs.replace(evidence.incident, credential_length=length)
    return msgspec.structs.replace(evidence, incident=incident)


def observed(past, **changes):
    evidence = refusal(Unknown(), "unknown", around(), past=past, history=past, **changes)
    assert evidence.incident is not None
    return msgspec.structs.replace(evidence, incident=msgspec.structs.replace(evidence.incident, kind=Kind.WOULD_REFUSE))


ENTRY = row(application=None, application_name=None, owner=None)
"""An entry of a token file that names its tenant only."""


def entry(created_at, **changes):
    return newer(created_at, **{"application": None, "owner": None, "tenant": "acme"} | changes)


STRANGER = NeighbourRequest("globex", ENDED - 0.1, first_use=True, seconds=0.15)
ANSWERED = NeighbourRequest("globex", ENDED - 0.3, first_use=True, seconds=0.15)
RENEWED = NeighbourRequest("globex", ENDED - 0.1, first_use=True, seconds=0.15, renewed=True)
REFRESH = OauthEvent(AT - HOUR - 5, "token", 200, "refresh_token", presented=FP, created="ff")

SEEN_AND_FAILING = history(AT - 2 * HOUR, first_bad=AT - 9 * DAY, last_bad=AT - HOUR, last_reading=reading(ROW, AT - 2 * HOUR))

SUPERSEDED = {
    "regenerated in one transaction": refusal(REVOKED, surroundings=around(newer(AT - HOUR + 0.01))),
    "regenerated slowly": refusal(REVOKED, surroundings=around(newer(AT - HOUR - 4))),
    "issued after the last good answer, revoked 2 h later": refusal(
        REVOKED, surroundings=around(newer(AT - 3 * HOUR)), past=history(AT - 4 * HOUR)
    ),
    "replaced by delete and insert, seen to the second": gone(newer(AT - 1800.5)),
    "replaced by delete and insert, seen only by the failing": gone(newer(AT - 1000), seen=(AT - 3000, AT - 10)),
    "another with a refresh token, which no refresh had given, first used as this one ended": refusal(
        OAUTH,
        surroundings=around(newer(AT - HOUR - 2, refreshable=True)),
        first_uses_of_rows={"8": AT - HOUR},
        not_renewed=("8",),
    ),
    "an entry of a file in place of another": gone(entry(AT - 1800), before=ENTRY, via="file"),
    "an entry of a file that names its application, in place of another": gone(newer(AT - 1800), via="file"),
    "an entry of a file holds another digest": gone(surroundings=around(flags=("secret_replaced",)), before=ENTRY, via="file"),
    "an entry of a file that is marked revoked, and another": refusal(
        row(application=None, owner=None, revoked_at=AT - HOUR), surroundings=around(entry(AT - HOUR)), via="file"
    ),
    "revoked at the replacement, and the row erased since": gone(newer(AT - HOUR), before=REVOKED),
    "memory was stale and the backend refused it": backend_refusal(row(revoked_at=AT - 1), surroundings=around(newer(AT - 1))),
    "clocks 90 s apart": refusal(row(revoked_at=AT + 60), offset=90.0, surroundings=around(newer(AT + 60))),
}
NOT_SUPERSEDED = {
    "repaired a day after an unexplained revocation": refusal(
        row(revoked_at=AT - 2 * DAY), surroundings=around(newer(AT - DAY))
    ),
    "repaired within seconds, but after a refusal": refusal(
        row(revoked_at=AT - 20), surroundings=around(newer(AT - 16)), past=history(failing_since=AT - 19)
    ),
    "deleted and repaired after a refusal": refusal(
        Unknown(),
        "unknown",
        around(newer(AT - 16)),
        past=history(AT - 20, failing_since=AT - 19, changes=(StateChange(row(), Unknown(), AT - 20, AT - 1),)),
    ),
    "the row holds a digest now": gone(surroundings=around(flags=("secret_replaced", "stored_otherwise"))),
    "another digest, and so for many tenants": gone(
        before=row(stored="sha256"),
        surroundings=around(flags=("secret_replaced",)),
        others=Others(incidents=tuple(NeighbourIncident(tenant, "unknown", AT - 5) for tenant in "bcd")),
    ),
    "repaired after the incident": refusal(row(revoked_at=AT - 1), surroundings=around(newer(AT + 2))),
    "a second connection since January": refusal(
        REVOKED, surroundings=around(newer(ISSUED + DAY)), past=history(AT - 2 * HOUR)
    ),
    "two clients within the hour: it may have been shared": shared(gap=1),
    "a row of nobody's, and another of the tenant": gone(entry(AT - 1800), before=ENTRY),
    "an entry of a file that is dated the day of the other's end": gone(entry(AT - DAY / 2), before=ENTRY, via="file"),
    "another owner's token": refusal(REVOKED, surroundings=around(newer(AT - HOUR, owner="12"))),
    "neither application nor owner": refusal(
        row(revoked_at=AT - HOUR, application=None, owner=None), surroundings=around(newer(AT - HOUR))
    ),
    "the newer row died with it": refusal(
        REVOKED, surroundings=around(newer(AT - HOUR - 1, revoked_at=AT - HOUR), newer(AT - HOUR - 2, revoked_at=AT - HOUR))
    ),
    "newer row, this one alive": backend_refusal(surroundings=around(newer(AT - 1))),
    "revocation in the future": backend_refusal(row(revoked_at=FAR_FUTURE), surroundings=around(newer(AT - 1))),
    "deleted, and replaced much later": gone(newer(AT - 60)),
    "replaced between two failures, after an old failure": refusal(
        Unknown(), "unknown", around(newer(AT - 600)), past=SEEN_AND_FAILING
    ),
    "deleted together with other tenants' tokens": gone(
        newer(AT - 1800.5), others=Others(deaths=(Death("f", "globex", AT - 1800, application="4"),))
    ),
}
OTHER_ENDED = newer(ISSUED - 5, relation="older", row=5, refreshable=True, revoked_at=AT - HOUR - 0.05)
ROTATED = {
    "successor in use": refusal(OAUTH, surroundings=around(successor(AT - HOUR - 2, used=True))),
    "without the column nothing tells that no refresh gave it": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR + 0.01), flags=("no_previous_refresh_token",)), not_renewed=("8",)
    ),
    "successor, use not known": refusal(OAUTH, surroundings=around(successor(AT - HOUR - 2))),
    "successor is also the newer row": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 2, row=9), successor(AT - HOUR - 2, used=True))
    ),
    "the refresh passed through here": refusal(OAUTH, oauth=(REFRESH,)),
    "rotated by the refresh itself": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR + 0.01), flags=("no_previous_refresh_token",))
    ),
    "link emptied at first use": refusal(OAUTH, surroundings=around(newer(AT - HOUR - 2, used=True))),
    "renewed and used within milliseconds": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 0.02, refreshable=True, fingerprint="ff")), first_uses={"ff": AT - HOUR}
    ),
    "the same among digests, by the row": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 0.02, refreshable=True)), first_uses_of_rows={"8": AT - HOUR - 0.01}
    ),
    "first used here as this one ended, the link not emptied yet": refusal(
        OAUTH, surroundings=around(successor(AT - HOUR - 2, used=False)), first_uses_of_rows={"9": AT - HOUR}
    ),
}
TWICE = msgspec.structs.replace(REFRESH, created="ff")
ROTATED |= {
    "the first answer was lost, what the second one gave was used": refusal(
        OAUTH, surroundings=around(successor(AT - HOUR - 3, used=False)), oauth=(TWICE,), first_uses={"ff": AT - HOUR}
    ),
    "two connections renewed in one second": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 2), newer(AT - HOUR - 1, row=7), OTHER_ENDED),
        first_uses_of_rows={"8": AT - HOUR - 0.2, "7": AT - HOUR},
    ),
}  # fmt: skip
NOT_ROTATED = {
    "first used as this one ended, and no refresh had given it": refusal(
        OAUTH,
        surroundings=around(newer(AT - HOUR - 2, refreshable=True)),
        first_uses_of_rows={"8": AT - HOUR},
        not_renewed=("8",),
    ),
    "another connection's token ended by that first use": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 2), OTHER_ENDED), first_uses_of_rows={"8": AT - HOUR - 0.05}
    ),
    "what a refresh gave was first used after its end": refusal(
        OAUTH, surroundings=around(successor(AT - HOUR - 3, used=False)), oauth=(TWICE,), first_uses={"ff": AT - 60}
    ),
    "another connection refreshed and used what it got": refusal(
        OAUTH,
        surroundings=around(newer(AT - HOUR - 2, fingerprint="ff")),
        first_uses={"ff": AT - HOUR},
        oauth=(msgspec.structs.replace(REFRESH, presented="ee", created="ff"),),
    ),
    "another sign-in passed through here": refusal(
        OAUTH,
        surroundings=around(newer(AT - HOUR - 2, fingerprint="ff")),
        oauth=(OauthEvent(AT - HOUR - 2, "token", 200, "authorization_code", created="ff"),),
    ),
    "another sign-in ten minutes before, used elsewhere": refusal(OAUTH, surroundings=around(newer(AT - HOUR - 600))),
    "regenerated: issued after the revocation": refusal(OAUTH, surroundings=around(newer(AT - HOUR + 0.01, used=True))),
    "the newer one has no refresh token": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 2, refreshable=False)), first_uses_of_rows={"8": AT - HOUR}
    ),
    "issued just before its end, used after it": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 0.02, refreshable=True)), first_uses_of_rows={"8": AT - HOUR + 0.05}
    ),
    "a static token": refusal(REVOKED, surroundings=around(newer(AT - HOUR - 2, used=True))),
    "the refresh passed through here, and nobody used the new one": refusal(
        OAUTH, surroundings=around(successor(AT - HOUR - 2, used=False)), oauth=(REFRESH,)
    ),
    "revoked before the refresh": refusal(row(revoked_at=AT - 2 * HOUR, refreshable=True), oauth=(REFRESH,)),
    "a static token, where a refresh rotates at once": refusal(
        REVOKED, surroundings=around(newer(AT - HOUR + 0.01), flags=("no_previous_refresh_token",))
    ),
    "rotated at once, but the newer row is of another hour": refusal(
        OAUTH, surroundings=around(newer(AT - 2 * HOUR), flags=("no_previous_refresh_token",))
    ),
    "successor never used": refusal(OAUTH, surroundings=around(successor(AT - HOUR - 2, used=False))),
    "successor made after the revocation": refusal(OAUTH, surroundings=around(successor(AT - 60, used=True))),
    "refused refresh": refusal(
        OAUTH, oauth=(OauthEvent(AT - HOUR, "token", 400, "refresh_token", "invalid_grant", presented=FP),)
    ),
    "refresh of another token": refusal(OAUTH, oauth=(OauthEvent(AT - HOUR, "token", 200, "refresh_token", presented="ee"),)),
    "not revoked at all": backend_refusal(row(refreshable=True), surroundings=around(successor(AT - 5, used=True))),
}
NULL_REFRESH = {
    "first use of a stranger's token": null_refresh(STRANGER),
    "with the column of another adapter's migration": null_refresh(STRANGER, flags=("previous_refresh_token_nullable", "x")),
    "another's first use was answered just before": null_refresh(ANSWERED, STRANGER),
}
NOT_NULL_REFRESH = {
    "column not nullable": null_refresh(STRANGER, flags=()),
    "this token has a refresh token": null_refresh(STRANGER, state=row(refreshable=True, revoked_at=ENDED)),
    "the same tenant's request": null_refresh(msgspec.structs.replace(STRANGER, tenant="acme")),
    "a request after the revocation": null_refresh(msgspec.structs.replace(STRANGER, at=ENDED + 3)),
    "a token long in use": null_refresh(msgspec.structs.replace(STRANGER, first_use=False)),
    "the only request in that second, of a token that may be old": null_refresh(
        msgspec.structs.replace(STRANGER, first_use=None)
    ),
    "a busy second": null_refresh(
        NeighbourRequest("globex", ENDED - 0.2, seconds=0.5), NeighbourRequest("initech", ENDED - 0.1, seconds=0.5)
    ),
    "regenerated at that moment": null_refresh(STRANGER, siblings=(newer(ENDED),)),
    "mass revocation": null_refresh(STRANGER, count=5),
    "a first use that the backend had answered": null_refresh(ANSWERED),
    "a first use of which it is not known how long it took": null_refresh(msgspec.structs.replace(STRANGER, seconds=None)),
    "a first use by which another token ends": null_refresh(RENEWED),
    "in a database that keeps whole seconds": null_refresh(
        NeighbourRequest("globex", AT - HOUR - 0.1, first_use=True, seconds=0.15), state=REVOKED
    ),
    "revoked by a call that named it": null_refresh(
        STRANGER, oauth=(OauthEvent(ENDED - 0.1, "revoke", 200, presented=FP, client="admin"),)
    ),
}
REVOKED_CASES = {
    "no sibling": refusal(REVOKED, surroundings=around()),
    "nothing but the row": refusal(REVOKED, surroundings=around(), past=None),
    "only the verdict": refusal(None, "revoked"),
    "many in one millisecond": refusal(REVOKED, surroundings=around(count=12)),
    "in the moment of a stranger's first use by which another token ends": null_refresh(RENEWED),
    "by a call that named it, in the moment of a stranger's first use": null_refresh(
        STRANGER, oauth=(OauthEvent(ENDED - 0.1, "revoke", 200, presented=FP, client="admin"),)
    ),
    "named by /oauth/revoke": refusal(REVOKED, oauth=(OauthEvent(AT - HOUR, "revoke", 200, presented=FP, client="admin"),)),
    "revoked, then erased": gone(before=row(revoked_at=AT - 2000)),
    "revoked between our memory and the backend": backend_refusal(row(revoked_at=AT - 0.2), surroundings=around()),
    **{name: NOT_SUPERSEDED[name] for name in ("repaired after the incident", "a second connection since January")},
}
NOT_REVOKED = {
    "just after a stranger's first use": null_refresh(ANSWERED),
    "in a second in which a stranger's token was first used": null_refresh(
        NeighbourRequest("globex", AT - HOUR + 0.8, first_use=True, seconds=0.1), state=REVOKED
    ),
    "a newer one with a refresh token, whose first use nobody saw": refusal(
        OAUTH, surroundings=around(newer(AT - HOUR - 600, refreshable=True))
    ),
    "a newer one was first used at that moment, by which another ended too": NOT_ROTATED[
        "another connection's token ended by that first use"
    ],
    "nobody has looked around it yet": refusal(REVOKED),
    "the look around it gave up": refusal(REVOKED, surroundings=around(error="timeout")),
    "alive then, revoked at the re-read": backend_refusal(notes=(reread(REVOKED, 1),)),
    "revoked in the future": backend_refusal(row(revoked_at=AT + 60)),
    "expired before it was revoked": refusal(row(expires_in=3600, revoked_at=AT - HOUR)),
    "unknown": never_known(),
    "replaced at that moment, by whom is not clear": shared(gap=1),
    "the client had refreshed, and nobody used the new one": NOT_ROTATED["successor never used"],
    "a stranger's request that may have done it": NOT_NULL_REFRESH[
        "the only request in that second, of a token that may be old"
    ],
}
EXPIRED = {
    "a day ago": refusal(row(expires_in=13 * 86_400), "expired"),
    "expires_in 0": refusal(row(expires_in=0), "expired"),
    "expired, then revoked by a clean-up": refusal(row(expires_in=3600, revoked_at=AT - HOUR)),
    "expired, then erased": gone(before=row(expires_in=3600)),
    "only the verdict": refusal(None, "expired"),
    "clock behind, still expired by both": refusal(row(expires_in=13 * 86_400), "expired", offset=-30.0),
    "a newer token waits": refusal(row(expires_in=13 * 86_400), "expired", around(newer(AT - 2 * DAY))),
}
NOT_EXPIRED = {
    "at the very instant": backend_refusal(row(expires_in=14 * 86_400 + 1)),
    "never expires": backend_refusal(row(expires_in=None)),
    "revoked before it expired": refusal(row(expires_in=13 * 86_400, revoked_at=AT - 5 * DAY)),
    "only the offset decides": refusal(row(expires_in=14 * 86_400 + 30), "expired", offset=60.0),
    "expired later, at the re-read": backend_refusal(row(expires_in=15 * 86_400), notes=(reread(row(expires_in=0), 60),)),
}
SKEWED = {
    "source a minute ahead": refusal(row(expires_in=14 * 86_400 + 30), "expired", offset=60.0),
    "source 5 s ahead": refusal(row(expires_in=14 * 86_400 + 2), "expired", offset=5.0),
}
NOT_SKEWED = {
    "expired by both clocks": refusal(row(expires_in=13 * 86_400), "expired", offset=60.0),
    "offset unknown": refusal(row(expires_in=14 * 86_400 - 1), "expired", offset=None),
    "offset of 0.3 s": refusal(row(expires_in=14 * 86_400), "expired", offset=0.3),
    "revoked": refusal(row(expires_in=14 * 86_400 + 30, revoked_at=AT - HOUR), offset=60.0),
}
DELETED = {
    "seen to vanish": gone(),
    "vanished with all of its application": gone(others=Others(deaths=(Death("f", "acme", AT - 1800, application="3"),))),
    "only known to have worked": refusal(Unknown(), "unknown", around()),
    "replaced much later": gone(newer(AT - 60)),
    "an entry of a file, and one of weeks ago is left": gone(entry(ISSUED + DAY), before=ENTRY, via="file"),
    "gone although the search failed": refusal(Unknown(), "unknown", around(error="timeout")),
    "still gone a minute later": gone(notes=(reread(Unknown(), 60),)),
    "the backend found it first": backend_refusal(Unknown(), past=history(AT - 1, last_reading=reading(ROW, AT - 0.5))),
}
NOT_DELETED = {
    "an entry of a file, and one that is dated the day of its end": gone(entry(AT - DAY / 2), before=ENTRY, via="file"),
    "back a second later": gone(notes=(reread(ROW, 1),)),
    "had been revoked before": gone(before=row(revoked_at=AT - 2000)),
    "had expired before": gone(before=row(expires_in=3600)),
    "never seen": never_known(),
    "only a replica misses it": refusal(Unknown(), "unknown", via="replica"),
    "let through without a row, by a proxy that observed": observed(history(AT, tenant="")),
    "the same, whose address names a tenant": observed(history(AT - DAY), addressed_tenant="acme"),
    "deleted after it had been refused as revoked": refusal(REVOKED, notes=(reread(Unknown(), 60),)),
}
UNKNOWN = {
    "no row, no memory, nothing near": never_known(),
    "refused before as well": refusal(Unknown(), "unknown", around(), past=history(None, first_bad=AT - DAY)),
    "let through, and the backend refused it too": observed(history(None, tenant="", last_bad=AT)),
    "of another length, and only digests to compare with": cut(64),
    "of the full length, and only digests to compare with": cut(43),
    "too short for a part of a token": cut(11),
}
NOT_UNKNOWN = {
    "worked yesterday": refusal(Unknown(), "unknown", around(), past=history(AT - DAY)),
    "the search for near misses failed": never_known(surroundings=around(error="timeout")),
    "only a replica was asked": never_known(via="replica"),
    "there a second later": never_known(notes=(reread(ROW, 1),)),
    "as long as a token that lost its end, and only digests to compare with": cut(41),
    "the first characters alone, and only digests to compare with": cut(12),
    "all of one case, and only digests to compare with": cut(43, "one_case"),
    "the backend serves it": observed(history(AT + 5, tenant="")),
    "let through, and the backend's answer is not known yet": observed(None),
    "a refresh token that was issued here": never_known(refresh_token_of="ee"),
}
SHARED = {"two clients": shared(), "two clients, few calls": shared(count=3)}
NOT_SHARED = {
    "one client from two addresses": shared("Okta SCIM Client", "Okta SCIM Client"),
    "an engineer's curl": shared(second="curl"),
    "one after the other": shared(gap=1),
}
TABLE = {
    "token_superseded": (SUPERSEDED, NOT_SUPERSEDED),
    "token_rotated": (ROTATED, NOT_ROTATED),
    "token_revoked": (REVOKED_CASES, NOT_REVOKED),
    "token_expired": (EXPIRED, NOT_EXPIRED),
    "clock_skew": (SKEWED, NOT_SKEWED),
    "token_deleted": (DELETED, NOT_DELETED),
    "token_unknown": (UNKNOWN, NOT_UNKNOWN),
    "shared_token": (SHARED, NOT_SHARED),
    "null_refresh_match": (NULL_REFRESH, NOT_NULL_REFRESH),
}


def cases(which):
    return [pytest.param(code, e, id=f"{code}: {name}") for code, sides in TABLE.items() for name, e in sides[which].items()]


@pytest.mark.parametrize("code,evidence", cases(0))
def test_gives(code, evidence):
    diagnosis = diagnose(evidence)
    assert (code, True) == (diagnosis.cause.code, diagnosis.cause.confidence != "possible"), diagnosis


@pytest.mark.parametrize("code,evidence", cases(1))
def test_does_not_give(code, evidence):
    assert code != diagnose(evidence).cause.code


def test_a_regeneration_seen_at_the_same_moment_is_certain_and_names_its_times():
    cause = diagnose(SUPERSEDED["regenerated in one transaction"]).cause
    assert cause.confidence == "certain"
    assert {name: cause.facts[name] for name in ("issued_at", "newer_at", "revoked_at", "last_good_at")} == {
        "issued_at": ISSUED,
        "newer_at": AT - HOUR + 0.01,
        "revoked_at": AT - HOUR,
        "last_good_at": AT - 3600,
    }


def test_a_newer_row_that_does_not_explain_is_named_as_runner_up():
    diagnosis = diagnose(NOT_SUPERSEDED["repaired a day after an unexplained revocation"])
    assert diagnosis.runner_up is not None
    assert (diagnosis.cause.code, diagnosis.runner_up.code) == ("token_revoked", "token_superseded")
    assert diagnosis.runner_up.evidence_against


@pytest.mark.parametrize(
    "finding,evidence",
    [
        ("mass_revocation", REVOKED_CASES["many in one millisecond"]),
        ("application_destroyed", DELETED["vanished with all of its application"]),
    ],
)
def test_findings(finding, evidence):
    assert (finding,) == diagnose(evidence).cause.findings


@pytest.mark.parametrize(
    "siblings,deaths",
    [
        ((), ()),
        ((newer(ISSUED - DAY, relation="older"),), (Death("f", "acme", AT, application="3"),)),
        ((), (Death("f", "acme", AT, application="3"), Death("g", "globex", AT, application="4"))),
    ],
    ids=["it died alone", "one of the application lives", "another application's died as well"],
)
def test_no_destroyed_application(siblings, deaths):
    assert diagnose(gone(*siblings, others=Others(deaths=deaths))).cause.findings == ()


@pytest.mark.parametrize(
    "evidence",
    [gone(before=ENTRY, via="file"), refusal(row(revoked_at=AT - HOUR), surroundings=around(), via="file")],
    ids=["taken out", "marked revoked"],
)
def test_of_a_token_file_its_history_is_asked_and_no_application(evidence):
    advice = diagnose(evidence).cause.advice_operator
    assert "history of th" in advice
    assert "Doorkeeper" not in advice
    assert "audit log" not in advice


def test_age_at_death_and_the_known_fault_of_the_cleanup_are_told():
    advice = diagnose(gone()).cause.advice_operator
    assert "age 13 d 23 h" in advice
    assert "#1792" in advice
