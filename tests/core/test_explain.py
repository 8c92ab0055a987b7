"""The explanation: what a person with the ticket in hand must find in it, and what must not be in it."""

import msgspec
import pytest

from proxy.core.diagnosis import Evidence, diagnose
from proxy.core.explain import WIDTH, explain, explain_text
from proxy.core.incident import BackendAnswer, Kind, Note
from proxy.core.memory import ClientMemory
from proxy.core.token import Unknown
from tests.core.diagnosis import test_other_causes
from tests.core.diagnosis.world import AT, around, backend_refusal, gone, history, newer, reading, refusal, reread, row

REGENERATED = refusal(
    row(revoked_at=AT - 1800.25),
    surroundings=around(newer(AT - 1800.2)),
    past=history(AT - 3600),
    notes=(reread(row(revoked_at=AT - 1800.25), 1), Note("I1", "seen", AT + 30, text="Regenerated in the admin console.")),
)


def text_of(evidence, now=AT + 300):
    return explain_text(evidence, diagnose(evidence), now)


def flat(evidence, now=AT + 300):
    return " ".join(text_of(evidence, now).split())


@pytest.mark.parametrize(
    "sentence",
    [
        "At 2026-05-17 06:40:00 UTC (5 min 0 s ago) Okta (192.0.2.7) asked for GET /scim/v2/Users (Users.list)",
        "and this proxy answered 401: The access token was revoked.",
        "Refused by this proxy (instance w1), reason revoked; the backend never saw it.",
        "The verdict rests on a second look: doorkeeper (primary), read at that moment: revoked at 2026-05-17 06:09:59 UTC.",
        "Revoked at 2026-05-17 06:09:59 UTC (35 min 0 s ago) (regenerated).",
        "A newer token of the same application and owner since 2026-05-17 06:09:59 UTC",
        "Last good answer: 2026-05-17 05:40:00 UTC (1 h 5 min ago), Users.list.",
        "1.0 s later, doorkeeper (primary): revoked",
        "2026-05-17 06:40:30 UTC: Regenerated in the admin console.",
        "token_superseded (certain",
        "For the customer (ready to paste) Okta still sends the access token issued 2026-05-03 06:40:00 UTC.",
        "in the Okta Admin Console open Applications",
    ],
)
def test_the_regenerated_token_is_told(sentence):
    assert sentence in flat(REGENERATED)


def test_lines_fit_a_ticket():
    assert max(len(line) for line in text_of(REGENERATED).splitlines()) <= WIDTH


def test_the_backends_refusal_names_it_with_its_own_words():
    answer = BackendAnswer(401, "10.0.0.5:8080", ('Bearer realm="x"',), "text/html", "nginx", "<h1>No\x1b[31m\r\nentry</h1>")
    told = flat(backend_refusal(answer=answer))
    assert "Refused by the backend 10.0.0.5:8080 with 401; the proxy had let the request through." in told
    assert 'Its challenge: Bearer realm="x"' in told
    assert "<h1>No [31m entry</h1>" in told
    assert "HTML page (server: nginx)" in told


def test_a_refusal_that_was_kept_from_the_client_says_so():
    evidence = test_other_causes.incident_with(backend_refusal(), kind=Kind.DISAGREEMENT)
    assert "the backend refused it; the client was answered 401 instead" in flat(evidence)


def test_what_the_client_did_afterwards_is_told_in_words():
    note = Note("I1", "client_again", AT + 40, text='{"again":%r}' % (AT + 40))
    told = flat(msgspec.structs.replace(REGENERATED, notes=(note,), client=ClientMemory(again=AT + 40)))
    assert "2026-05-17 06:40:40 UTC: the client carried a credential again" in told
    assert '{"again"' not in told


def test_what_is_read_later_stands_apart_from_the_state_at_that_moment():
    evidence = backend_refusal(notes=(reread(Unknown(), 10),))
    told = explain(evidence, diagnose(evidence), AT)
    sections = {section.title: " ".join(section.lines) for section in told.sections}
    assert "Not revoked." in sections["The token at that moment"]
    assert "10 s later" in sections["Read again afterwards"]
    assert "no such token" not in sections["The token at that moment"]


def test_a_row_that_is_gone_is_told_as_it_was_last_seen():
    told = flat(gone())
    assert "The source had no such token. Its row as last seen before that: Row 7, tenant acme" in told
    assert "Its row vanished between 2026-05-17 06:09:59 UTC and 2026-05-17 06:10:00 UTC" in told


def test_that_it_works_again_is_told_as_later():
    evidence = refusal(Unknown(), "unknown", around(), past=None, history=history(AT + 120))
    told = flat(evidence)
    assert "It works again: last good answer 2026-05-17 06:42:00 UTC" in told
    assert diagnose(evidence).cause.code == "token_unknown"


def test_a_malformed_credential_is_told_by_its_form():
    assert "the request carried a malformed credential (scheme_doubled)" in flat(test_other_causes.malformed("scheme_doubled"))


def test_a_silence_is_told_without_an_incident():
    told = flat(test_other_causes.silence())
    assert "No incident Nothing has arrived for 9 d 0 h (usually at most 1 d 2 h), since the 401 at" in told
    assert "0 requests of this tenant arrived." in told


def test_nothing_at_all_is_told_as_undetermined():
    assert "undetermined (not decided)" in flat(Evidence())


def test_the_age_of_a_reading_from_memory_is_told():
    evidence = refusal(row(revoked_at=AT - 1800))
    said = msgspec.structs.replace(evidence.incident.exchange, state_age=0.001)  # of the second look
    evidence = test_other_causes.incident_with(evidence, exchange=said, reading=reading(row(), AT - 1.5))
    told = flat(evidence)
    assert "In memory until then: doorkeeper (primary), read 1.5 s before the incident: alive." in told
    assert "The verdict rests on a second look: doorkeeper (primary), read at that moment: revoked" in told
    assert "0.0 s" not in told


def test_the_structured_form_holds_the_same():
    told = msgspec.json.decode(msgspec.json.encode(explain(REGENERATED, diagnose(REGENERATED), AT + 300)))
    assert (told["incident"], told["cause"]["code"], told["customer"]) == (
        "I1",
        "token_superseded",
        told["cause"]["text_customer"],
    )
