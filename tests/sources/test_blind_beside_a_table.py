"""`introspection_blind` where a table decides: both deny what the table has alive, and what speaks against blindness."""

from __future__ import annotations

import msgspec
import pytest

from proxy.core.diagnosis import BackendVerdicts, Code, Confidence, Evidence, diagnose
from proxy.core.incident import BackendAnswer
from proxy.core.token import Known, Reading, TokenState, Unavailable, Unknown
from tests.core.diagnosis.world import AT, ROW, around, backend_refusal, reading, reread, row


def said(state: TokenState, after: float = 0.3) -> Reading:
    return Reading(state, "endpoint", "introspection", AT + after)


def denied(*looks: Reading, since: float | None = None, checked: bool = True, **more) -> Evidence:
    found = msgspec.structs.replace(around(), cross_checked=checked, differs_since=since)
    return backend_refusal(surroundings=found, readings=looks or (said(Unknown()),), **more)


def named(evidence: Evidence) -> tuple[Code, Confidence]:
    cause = diagnose(evidence).cause
    return cause.code, cause.confidence


def test_all_three_verdicts_are_told_and_it_is_not_certain() -> None:
    cause = diagnose(denied()).cause
    assert (Code.INTROSPECTION_BLIND, Confidence.LIKELY) == (cause.code, cause.confidence)
    assert ["doorkeeper", "Introspection", "The backend (10.0.0.5:8080)"] == [
        line.partition(" at ")[0] for line in cause.evidence_for
    ]


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(denied(checked=False), id="two sources for different tokens"),
        pytest.param(denied(said(Known(1, "acme", 0.0))), id="the endpoint calls it active"),
        pytest.param(denied(said(Unavailable("timeout"))), id="the endpoint was away"),
        pytest.param(denied(said(Unknown("refresh_token"))), id="the endpoint has a reason"),
        pytest.param(denied(said(Unknown(), 600)), id="the endpoint was asked much later"),
        pytest.param(denied(since=AT - 7200), id="it was inactive before, and the backend took it"),
        pytest.param(denied(answer=BackendAnswer(403, "10.0.0.5:8080")), id="a 403 is a rule of its own"),
        pytest.param(denied(notes=(reread(row(revoked_at=AT - 1), 1),)), id="the table came to the same view"),
        pytest.param(denied(notes=(reread(Unknown(), 1),)), id="the row was gone a second later"),
        pytest.param(
            denied(
                backend_verdicts=(BackendVerdicts("a", 0, 2, AT - 60, AT), BackendVerdicts("b", 9, 0, None, None, AT - 90, AT))
            ),
            id="another instance takes it",
        ),
    ],
)
def test_what_speaks_against_it(evidence: Evidence) -> None:
    code, confidence = named(evidence)
    assert Code.INTROSPECTION_BLIND is not code, confidence


def test_a_replica_alone_does_not_decide() -> None:
    evidence = denied(state=None)
    assert evidence.incident is not None
    by_replica = msgspec.structs.replace(evidence.incident, reading=reading(ROW, AT - 0.5, via="replica"))
    diagnosis = diagnose(msgspec.structs.replace(evidence, incident=by_replica))
    assert Code.INTROSPECTION_BLIND is not diagnosis.cause.code


def test_differing_before_it_last_worked_is_named_against_it() -> None:
    candidates = {cause.code: cause for cause in diagnose(denied(since=AT - 7200)).candidates}
    assert Confidence.POSSIBLE is candidates[Code.INTROSPECTION_BLIND].confidence
    assert "It was called inactive since" in candidates[Code.INTROSPECTION_BLIND].evidence_against[0]
