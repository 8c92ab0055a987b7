"""Never claim what is not proven."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.absence import (
    ENDED,
    PURGED,
    SET_BACK,
    UNCOUNTED,
    Coverage,
    Gap,
    LastRequest,
    Renamed,
    Span,
    Traffic,
    conclude,
    coverage,
    forgotten,
)

NOTHING = Traffic()


def good(start, end, instance="a"):
    return Span(instance, start, end, 2, 0, ok=True)


def bad(start, end, why="listener closed", instance="a"):
    return Span(instance, start, end, 1, 0, ok=False, why=why)


def ended(at, instance="a"):
    return bad(at, at, ENDED, instance)


@pytest.mark.parametrize(
    "spans, share, gaps",
    [
        ([], 0.0, [(0, 100, "no heartbeat")]),
        ([good(-5, 105)], 1.0, []),
        ([good(0, 100)], 1.0, []),
        ([good(0, 50), good(60, 100)], 1.0, []),
        ([good(0, 50), good(70, 100)], 0.8, [(50, 70, "no heartbeat")]),
        ([good(0, 50), bad(55, 55), good(60, 100)], 0.9, [(50, 60, "listener closed")]),
        ([good(0, 50), bad(55, 55), good(60, 100), good(0, 100, "b")], 1.0, []),
        ([good(50, 50)], 0.0, [(0, 100, "no heartbeat")]),
        ([good(20, 40), ended(40), good(30, 60, "b")], 0.4, [(0, 20, "no heartbeat"), (60, 100, "no heartbeat")]),
        ([good(0, 30), ended(31), good(40, 100, "b")], 0.9, [(30, 40, "no heartbeat")]),
        ([good(0, 30), good(40, 100, "b")], 0.85, [(30, 45, UNCOUNTED)]),
        ([good(0, 30), good(0, 100, "b")], 0.85, [(30, 45, UNCOUNTED)]),
        ([good(0, 30), bad(35, 50, SET_BACK), good(0, 100, "b")], 0.85, [(30, 45, SET_BACK)]),
        ([good(0, 30), bad(30, 60), good(0, 100, "b")], 0.85, [(60, 75, "listener closed")]),
        ([good(0, 30), bad(30, 60), ended(60), good(0, 100, "b")], 1.0, []),
        ([good(0, 98), good(0, 100, "b")], 0.98, [(98, 100, UNCOUNTED)]),
        ([good(-50, -10), good(110, 120)], 0.0, [(0, 100, "no heartbeat")]),
        ([good(-50, -5), good(5, 100)], 1.0, []),
    ],
)
def test_coverage(spans, share, gaps):
    found = coverage(spans, 0, 100, 15)
    assert found.share == pytest.approx(share)
    assert [(gap.start, gap.end, gap.why) for gap in found.gaps] == gaps


def test_one_process_out_while_another_listens_is_said():
    found = coverage([good(0, 40), good(80, 100), good(0, 100, "b")], 0, 100, 15)
    assert found.partial == (Gap(40, 80, "no heartbeat", "a"),)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30), st.booleans(), st.sampled_from("ab")), max_size=12))
def test_share_and_gaps_add_up_in_any_order(raw):
    spans = [Span(i, a, a + n, 1, 0, ok=ok) for a, n, ok, i in raw]
    found = coverage(spans, 10, 90, 5)
    assert found.share + sum(g.end - g.start for g in found.gaps) / 80 == pytest.approx(1)
    assert coverage(spans[::-1], 10, 90, 5).share == pytest.approx(found.share)


@pytest.mark.parametrize(
    "until, share, gaps",
    [
        (5, 0.85, [(0, 5, PURGED), (20, 30, "no heartbeat")]),
        (25, 0.7, [(0, 25, PURGED), (25, 30, "no heartbeat")]),
        (100, 0.0, [(0, 100, PURGED)]),
    ],
)
def test_what_was_purged_proves_nothing(until, share, gaps):
    found = forgotten(coverage([good(0, 20), good(30, 100)], 0, 100, 5), 0, 100, until)
    assert found.share == pytest.approx(share)
    assert [(gap.start, gap.end, gap.why) for gap in found.gaps] == gaps


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ValueError, match="after"):
        coverage([], 5, 5, 1)


def say(cover, arrived=NOTHING, others=NOTHING, unattributed=NOTHING, last=None, renamed=None):
    known = {"arrived": arrived, "others": others, "unattributed": unattributed, "last_before": last, "renamed": renamed}
    return conclude("acme", 0, 100, cover=cover, **known)


WHOLE = Coverage(1.0, ())
PART = Coverage(0.9999, (Gap(99.99, 100, "no heartbeat"),))


@pytest.mark.parametrize(
    "said, code, words",
    [
        (say(WHOLE, others=Traffic(9, 9, 0)), "absent_proven", "stopped before it reached us"),
        (say(WHOLE), "absent_proven", "may have been broken"),
        (say(WHOLE, unattributed=Traffic(1, 0, 1)), "absent_proven", "not known as its"),
        (say(PART), "absent_partly", "in the gaps is not known"),
        (say(Coverage(0.0, (Gap(0, 100, "no heartbeat"),))), "absent_unproven", "nothing can be concluded"),
        (say(PART, Traffic(3, 2, 1)), "arrived", "do reach us"),
    ],
)
def test_conclusion(said, code, words):
    assert said.code == code
    assert words in said.sentences[-1]


@pytest.mark.parametrize(
    "came, told, meaning",
    [
        (Traffic(7, 6, 1), "7 requests of that one arrived: 6 served, 1 refused", "goes on under that name"),
        (NOTHING, "no request of that one arrived either", "sent nothing"),
    ],
)
def test_another_name_of_the_customer_is_told(came, told, meaning):
    *_, name, last = say(WHOLE, others=Traffic(9, 9, 0), renamed=Renamed("acme-inc", came)).sentences
    assert f"as tenant acme-inc; in this time {told}." in name
    assert meaning in last


def test_almost_all_does_not_read_as_all():
    assert "99.9 %" in say(PART).sentences[1]


def test_the_last_request_before_is_told_with_its_answer():
    last = LastRequest(-60, 401, "proxy", "Users.list", "revoked", "INC1")
    assert "answered 401 by proxy, revoked (incident INC1)" in " ".join(say(WHOLE, last=last).sentences)
    assert "No earlier request" in " ".join(say(WHOLE).sentences)
    assert "answer is not on record" in " ".join(say(WHOLE, last=LastRequest(-60, 0, "")).sentences)
