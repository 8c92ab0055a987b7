"""What holds for any evidence: never raises, same evidence same cause, order makes no difference, later is not then."""

import re

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.diagnosis import CATALOGUE, Code, Evidence, diagnose
from proxy.core.explain import explain, explain_text
from proxy.core.token import Unknown
from tests.core.diagnosis import test_other_causes, test_token_causes
from tests.core.diagnosis.strategies import struct
from tests.core.diagnosis.world import AT, ROW, reread, row

SCENES = {
    f"{code}: {name}": evidence
    for table in (test_token_causes.TABLE, test_other_causes.TABLE)
    for code, sides in table.items()
    for side in sides
    for name, evidence in side.items()
}
QUIET = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@QUIET
@given(struct(Evidence, odd=True))
def test_any_combination_of_fields_gives_a_diagnosis_and_an_explanation(evidence):
    diagnosis = diagnose(evidence)
    told = explain(evidence, diagnosis, AT)
    assert diagnosis.cause.code in Code
    assert all(line.isprintable() for line in explain_text(evidence, diagnosis, AT).split("\n"))
    assert msgspec.json.encode(told)


def shuffled(value, draw):
    """The same value with every tuple in it in another order."""
    if isinstance(value, tuple) and not all(isinstance(item, float) for item in value):  # but not a pair (from, to)
        return tuple(draw(st.permutations([shuffled(item, draw) for item in value])))
    if isinstance(value, msgspec.Struct):
        changes = {f: shuffled(getattr(value, f), draw) for f in value.__struct_fields__}
        return msgspec.structs.replace(value, **changes)
    return value


@QUIET
@given(struct(Evidence, odd=False), st.data())
def test_the_order_of_any_evidence_makes_no_difference(evidence, data):
    other = shuffled(evidence, data.draw)
    assert diagnose(other) == diagnose(evidence)


@pytest.mark.parametrize("name", sorted(name for name, scene in SCENES.items() if scene.incident and scene.incident.backend))
def test_the_order_of_a_backends_challenges_makes_no_difference(name):
    def with_challenges(*challenges):
        incident = SCENES[name].incident
        backend = msgspec.structs.replace(incident.backend, www_authenticate=challenges)
        return msgspec.structs.replace(SCENES[name], incident=msgspec.structs.replace(incident, backend=backend))

    assert diagnose(with_challenges("Bearer", 'Basic realm="x"')) == diagnose(with_challenges('Basic realm="x"', "Bearer"))


@QUIET
@given(st.sampled_from(sorted(SCENES)), st.data())
def test_the_order_in_a_scene_makes_no_difference(name, data):
    assert diagnose(shuffled(SCENES[name], data.draw)) == diagnose(SCENES[name])


@QUIET
@given(st.sampled_from(sorted(SCENES)), st.data())
def test_a_scene_with_fields_taken_away_never_raises(name, data):
    evidence = SCENES[name]
    defaults = Evidence()
    taken = data.draw(st.sets(st.sampled_from(Evidence.__struct_fields__)))
    poorer = msgspec.structs.replace(evidence, **{field: getattr(defaults, field) for field in taken})
    if poorer.incident is not None:
        gone = data.draw(st.sets(st.sampled_from(["reading", "second_look", "surroundings", "backend", "history"])))
        poorer = msgspec.structs.replace(poorer, incident=msgspec.structs.replace(poorer.incident, **dict.fromkeys(gone)))
    diagnosis = diagnose(poorer)
    assert explain_text(poorer, diagnosis, AT + 60)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_delivered_twice_makes_no_difference(name):
    evidence = SCENES[name]
    assert diagnose(msgspec.structs.replace(evidence, notes=evidence.notes * 2)) == diagnose(evidence)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_survives_the_store(name):
    evidence = SCENES[name]
    again = msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence)
    assert diagnose(again) == diagnose(evidence)


@pytest.mark.parametrize("later", [row(revoked_at=AT + 5), row(revoked_at=AT - 86_400), row(expires_in=0), Unknown(), ROW])
@pytest.mark.parametrize("code", ["token_revoked", "token_expired", "token_superseded", "token_deleted", "owner_inactive"])
def test_what_is_read_later_never_gives_a_cause_of_the_row_to_a_token_that_was_alive(code, later):
    evidence = test_other_causes.TABLE["backend_disagrees"][0]["401"]
    assert diagnose(msgspec.structs.replace(evidence, notes=(reread(later, 60),))).cause.code != code


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_customer_reads_nothing_internal_and_no_blank(name):
    cause = diagnose(SCENES[name]).cause
    assert not re.search(
        r"proxy|backend|database|replica|fingerprint|doorkeeper|redis|row\b|\{|\(unknown ", cause.text_customer, re.IGNORECASE
    )
    assert not re.search(r"\{|\(unknown ", cause.advice_operator)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_one_rule_and_two_scenes_and_a_near_miss(code):
    sides = [table[code] for table in (test_token_causes.TABLE, test_other_causes.TABLE) if code in table]
    assert len([rule for rule in CATALOGUE if rule.code == code]) == 1
    assert sum(len(given) for given, _ in sides) >= 2
    assert sum(len(near) for _, near in sides) >= 1
