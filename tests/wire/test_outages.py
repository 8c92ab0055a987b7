"""What the log says of a source that does not answer: each kind of trouble once, in its own words, and the end of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from proxy.core.token import Reading, Unavailable, Unknown
from proxy.wire.outages import TOLD_EVERY, Outages


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told(clock):
    """Feed words (empty: it answers); return the events that they leave, as (event, why)."""
    outages = Outages(clock)

    def feed(*words):
        with capture_logs() as events:
            for why in words:
                state = Unavailable(why, f"detail of {why}") if why else Unknown()
                outages.saw(Reading(state, "doorkeeper", "primary", clock.now))
        return [(event["event"], event.get("why")) for event in events]

    return feed


def test_a_source_that_answers_leaves_no_line(told):
    assert told("", "", "") == []


def test_trouble_is_told_once_with_its_words(clock):
    with capture_logs() as events:
        Outages(clock).saw(Reading(Unavailable("refused", "password authentication failed"), "doorkeeper", "primary", 1.0))
    (event,) = events
    assert (event["source"], event["via"], event["detail"]) == ("doorkeeper", "primary", "password authentication failed")
    assert "scim-witness doctor" in event["fix"]


def test_repeats_are_silent_until_a_minute_has_passed(told, clock):
    assert told("refused", "refused", "refused") == [("source_unavailable", "refused")]
    clock.now += TOLD_EVERY
    assert told("refused", "refused") == [("source_unavailable", "refused")]


def test_the_end_is_told_once(told):
    assert told("error", "", "") == [("source_unavailable", "error"), ("source_answers", None)]


def test_a_source_that_comes_and_goes_does_not_fill_the_log(told):
    assert told(*["overload", ""] * 50) == [("source_unavailable", "overload"), ("source_answers", None)]


def test_a_breaker_repeats_what_opened_it_and_is_told_only_when_nothing_was(told):
    assert told("timeout", "breaker", "timeout") == [("source_unavailable", "timeout")]
    assert told("", "breaker") == [("source_answers", None), ("source_unavailable", "breaker")]
