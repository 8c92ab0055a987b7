"""Which pause is out of the ordinary, for whom."""

from __future__ import annotations

import pytest

from proxy.core.absence import LastRequest
from proxy.core.silence import DAY, HOUR, PROFILES, SHORTEST, allowed, expectation, profile_of

OKTA, ENTRA, OTHER = PROFILES["okta"], PROFILES["entra"], PROFILES["other"]


@pytest.mark.parametrize(
    "expected, profile, usual, samples, more",
    [
        (DAY, OKTA, HOUR, 20, {}),  # busy, but a quiet day is no fault
        (52 * HOUR, OKTA, 26 * HOUR, 20, {}),  # twice its own longest pause
        (3 * DAY, ENTRA, 40 * 60.0, 99, {}),  # cycles of 40 minutes, and yet: only on change
        (2 * HOUR, OKTA, HOUR, 20, {"refused": True}),  # a failed job waits for a person
        (26 * HOUR, OKTA, 26 * HOUR, 20, {"refused": True}),
        (26 * HOUR, ENTRA, HOUR, 20, {"refused": True}),  # quarantine: 6, 12, 24 h
        (None, OKTA, HOUR, 2, {}),  # too few pauses to tell
        (None, OKTA, None, 0, {}),
        (7200.0, ENTRA, DAY, 20, {"expected_every": HOUR}),  # the setting wins
        (7200.0, OTHER, None, 0, {"expected_every": HOUR}),
    ],
)
def test_allowed(expected, profile, usual, samples, more):
    assert expected == allowed(profile, usual, samples, **{"refused": False, **more})


@pytest.mark.parametrize(
    "expected, client, agent",
    [
        ("okta", None, "Okta SCIM Client 1.0.0"),
        ("entra", None, "Microsoft Azure AD"),
        ("other", None, ""),
        ("entra", "entra", "Okta SCIM Client 1.0.0"),  # the setting wins
        ("pingone", None, "PingOne"),
    ],
)
def test_profiles(expected, client, agent):
    assert expected == profile_of(client, agent).name


def test_the_normal_quiet_day_of_entra_is_none():
    """Cycles every 40 minutes for weeks, and then nobody joins or leaves over a long weekend."""
    found = expectation("acme", LastRequest(0.0, 200, "backend", agent="Microsoft Azure AD"), 2400.0, 500, None, None)
    assert found is not None
    assert found.allowed >= 3 * DAY


def test_nothing_is_looked_at_too_late():
    assert all(SHORTEST <= min(profile.quiet, profile.after_refusal) for profile in PROFILES.values())
