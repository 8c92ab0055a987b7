"""What was known of a token at a time: only readings up to then count, and doubt is named."""

from __future__ import annotations

import pytest

from proxy.cli.token import known_at, state_in_words
from proxy.core.history import StateChange, TokenHistory
from proxy.core.token import Known, Reading, Unavailable, Unknown

ALIVE = Known(row=1, tenant="acme", created_at=0.0)
REVOKED = Known(row=1, tenant="acme", created_at=0.0, revoked_at=205.0)
HISTORY = TokenHistory(
    "f" * 32,
    first_seen=100.0,
    changes=(StateChange(ALIVE, REVOKED, 200.0, 210.0), StateChange(REVOKED, Unknown(), 300.0, 310.0)),
    last_reading=Reading(Unknown(), "doorkeeper", "primary", 400.0),
)


@pytest.mark.parametrize(
    "state, certain, at",
    [
        (None, False, 99.0),  # not seen yet
        (ALIVE, True, 100.0),
        (ALIVE, True, 200.0),
        (ALIVE, False, 205.0),  # it changed somewhere in here
        (REVOKED, True, 210.0),
        (REVOKED, False, 305.0),
        (Unknown(), True, 310.0),
        (Unknown(), True, 400.0),
        (Unknown(), False, 401.0),  # no reading came after it
    ],
)
def test_known_at(state, certain, at):
    then = known_at(HISTORY, at)
    assert (state, certain) == (then.state, then.certain)


def test_without_a_change_the_last_reading_counts():
    history = TokenHistory("f" * 32, first_seen=100.0, last_reading=Reading(ALIVE, "doorkeeper", "primary", 200.0))
    before, after = known_at(history, 150.0), known_at(history, 300.0)
    assert (ALIVE, True, None) == (before.state, before.certain, before.read_at)
    assert (ALIVE, False, 200.0) == (after.state, after.certain, after.read_at)


def test_a_history_without_a_reading_knows_nothing():
    assert known_at(TokenHistory("f" * 32), 1.0).state is None


def test_states_in_words():
    assert state_in_words(Unknown()) == "no such token"
    assert state_in_words(Unavailable("timeout")) == "not known: timeout"
    assert state_in_words(REVOKED) == "row 1 of acme, issued 1970-01-01 00:00:00 UTC, revoked 1970-01-01 00:03:25 UTC"
