"""A refused exchange of an authorization code: no cause of the catalogue, so none is named, and everything is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.core.credential import Fingerprinter
from proxy.core.diagnosis import Absence, Activity, Code, Coverage, Evidence, diagnose
from proxy.core.diagnosis.cause import Cause
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.explain import explain_text
from proxy.core.grammar import Fields, parse_fields
from proxy.core.incident import Incident, Kind
from proxy.core.memory import OauthEvent
from proxy.core.oauth import Copy, event_of, read_answer, read_call
from proxy.core.setup import refused_exchanges
from proxy.core.token import Reading, Unknown
from proxy.evidence.oauth_ledger import OauthLedger

NOW = 1_800_000_000.0
DAY = 86_400.0
OKTA = "Okta SCIM Client 1.0.0"
NAME = Fingerprinter(b"k" * 32).of
CALL = OauthEvent(
    NOW, "token", 400, "authorization_code", "invalid_grant", tenant="acme", client="okta", user_agent=OKTA, exchange="x",
    code="c" * 32,
)  # fmt: skip
ISSUED = OauthEvent(NOW - DAY, "token", 200, "authorization_code", tenant="acme", client="okta", created="f" * 32)
REFUSED_REFRESH = OauthEvent(NOW - 60, "token", 400, "refresh_token", "invalid_grant", tenant="acme", presented="f" * 32)


def incident(call: OauthEvent) -> Incident:
    said = Exchange(
        "x", NOW, "POST", "/oauth/token", "oauth.token", "acme", "192.0.2.1", call.status, AnsweredBy.BACKEND, "oauth",
        user_agent=OKTA,
    )  # fmt: skip
    return Incident("0" * 26, NOW, Kind.OAUTH_REFUSAL, "acme", "", call.error, said, "i1", oauth=call)


def told(call: OauthEvent, *others: OauthEvent) -> tuple[Cause, str]:
    evidence = Evidence(incident=incident(call), oauth=(call, *others))
    return diagnose(evidence).cause, " ".join(explain_text(evidence, diagnose(evidence), NOW + 60).split())


@pytest.mark.parametrize(
    "more, said",
    [
        ({}, "expired, of another client or redirect_uri, used up, or withdrawn"),
        ({"error": "invalid_client", "status": 401}, "did not accept the client's id or secret"),
        ({"exchanged_at": NOW - 30}, "had been exchanged at 2027-01-15 07:59:30 UTC already"),
        ({"code_issued_at": NOW - 5, "redirect_differs": True}, "redirect_uri is not the one for which the code was issued"),
        ({"code_issued_at": NOW - 700, "redirect_differs": False}, "11 min 40 s before, which is more than the 10 min 0 s"),
    ],
)
def test_what_the_evidence_tells_of_why(more: dict[str, Any], said: str) -> None:
    cause, text = told(msgspec.structs.replace(CALL, **more), ISSUED, REFUSED_REFRESH)
    assert (Code.UNDETERMINED, ("exchange_refused",)) == (cause.code, cause.findings)
    assert "exchange of the authorization code was refused at 2027-01-15 08:00:00 UTC to Okta (okta)" in text
    assert said in text
    assert "Set-up Authorization code. One call of the token endpoint with grant_type authorization_code" in text
    assert ("used up, or withdrawn" in text) is (more == {})


def test_a_token_that_the_client_was_given_later_is_told() -> None:
    cause, _ = told(CALL, msgspec.structs.replace(ISSUED, at=NOW + 9))
    assert ("The same client was given a token at 2027-01-15 08:00:09 UTC.",) == cause.evidence_against


def test_other_grants_are_no_exchange() -> None:
    cause, text = told(msgspec.structs.replace(CALL, grant_type="client_credentials", error="invalid_client", code=""))
    assert (Code.UNDETERMINED, ()) == (cause.code, cause.findings)
    assert "A token by client_credentials was refused" in text


def silent(*calls: OauthEvent) -> Cause:
    activity = Activity(last_at=NOW - 9 * DAY, last_status=200, usual_gap=DAY, samples=9, learned_over=30 * DAY)
    asked = Absence(NOW - 8 * DAY, NOW + 60, 0, 100)
    return diagnose(Evidence(activity=activity, absence=asked, coverage=Coverage(1.0), oauth=calls)).cause


def test_in_a_silence_it_is_told_beside_the_cause() -> None:
    cause = silent(ISSUED, CALL)
    assert (Code.WENT_SILENT, ("exchange_refused",)) == (cause.code, cause.findings)
    assert any("exchange of the authorization code was refused" in line for line in cause.evidence_for)
    cause = silent(REFUSED_REFRESH, CALL)
    assert (Code.REFRESH_FAILED, ("exchange_refused",)) == (cause.code, cause.findings)


@pytest.mark.parametrize(
    "calls",
    [
        (),
        (ISSUED,),
        (msgspec.structs.replace(CALL, at=NOW - 2 * DAY), ISSUED),
        (msgspec.structs.replace(CALL, status=503, error=""),),
    ],
)
def test_an_exchange_that_was_put_right_or_never_refused_is_not(calls: tuple[OauthEvent, ...]) -> None:
    assert () == refused_exchanges(calls)
    cause = silent(*calls)
    assert (Code.WENT_SILENT, ()) == (cause.code, cause.findings)


# --- what the ledger remembers of a code ------------------------------------------------------------------------------


def fields(*lines: bytes) -> Fields:
    parsed = parse_fields(list(lines))
    assert not isinstance(parsed, str)
    return parsed


def authorize(book: OauthLedger, at: float, redirect: bytes = b"https%3A%2F%2Fokta%2Fcb") -> None:
    call = read_call("authorize", b"/oauth/authorize?client_id=okta&redirect_uri=" + redirect, fields(), Copy(), NAME)
    answer = read_answer(302, fields(b"Location: https://okta/cb?code=PLANTED-code-1&state=x"), Copy(), NAME)
    event = book.recalled(event_of(call, answer, at, "a", OKTA, book.owner_of))
    assert b"PLANTED" not in msgspec.json.encode(event)
    book.saw(event, None)


def exchange(book: OauthLedger, at: float, redirect: bytes = b"https://okta/cb", body: bytes = b"{}") -> OauthEvent:
    form = b"grant_type=authorization_code&code=PLANTED-code-1&client_id=okta&redirect_uri=" + redirect
    call = read_call("token", b"/oauth/token", fields(b"Content-Type: application/x-www-form-urlencoded"), Copy(form), NAME)
    answer = read_answer(200 if len(body) > 2 else 400, fields(b"Content-Type: application/json"), Copy(body), NAME)
    event = book.recalled(event_of(call, answer, at, "t", OKTA, book.owner_of))
    assert b"PLANTED" not in msgspec.json.encode(event)
    book.saw(event, None)
    return event


def ledger() -> OauthLedger:
    async def look(_: object) -> Reading:
        return Reading(Unknown(), "fake", "primary", NOW)

    return OauthLedger(None, look, lambda _: "", lambda *_, **__: None)


def test_a_code_is_followed_from_its_issue_to_its_exchanges() -> None:
    book = ledger()
    authorize(book, NOW)
    wrong = exchange(book, NOW + 5, b"https://okta/other")
    assert (NOW, True, None) == (wrong.code_issued_at, wrong.redirect_differs, wrong.exchanged_at)
    good = exchange(book, NOW + 6, body=b'{"access_token":"T","token_type":"Bearer"}')
    assert (NOW, False, None) == (good.code_issued_at, good.redirect_differs, good.exchanged_at)
    again = exchange(book, NOW + 7)
    assert NOW + 6 == again.exchanged_at


def test_of_a_code_that_did_not_pass_here_nothing_is_claimed() -> None:
    event = exchange(ledger(), NOW)
    assert (None, None, None) == (event.code_issued_at, event.redirect_differs, event.exchanged_at)


def test_codes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.evidence.oauth_ledger.EXCHANGED_LIMIT", 0)
    book = ledger()
    authorize(book, NOW)
    assert exchange(book, NOW + 1).code_issued_at is None
