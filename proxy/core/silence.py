"""When a tenant's silence is out of the ordinary: by what the operator expects, its own past, and its kind of client. Pure.

Times in epoch seconds, durations in seconds. The profiles are public knowledge (docs/silence.md) and only ever make the alarm
more patient; what a tenant itself did in the past makes it more patient still. The alarm (evidence/silence.py) and the
diagnosis (core/diagnosis/silence.py) both go by `allowed`; what the past was, evidence/cadence.py tells.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.core.absence import LastRequest

HOUR: Final = 3_600.0
DAY: Final = 86_400.0

FACTOR: Final = 2.0
"""A pause is out of the ordinary when it is this much longer than the longest one before."""
SAMPLES: Final = 3
"""Pauses from which a cadence may be told. With fewer and without a setting nobody is called silent."""


class Profile(msgspec.Struct, frozen=True):
    """`quiet`: a pause up to this is normal whatever the past says. `after_refusal`: the same when the last answer was a 401 or
    403; the client's own retries come within it."""

    name: str
    quiet: float
    after_refusal: float


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("okta", DAY, 2 * HOUR),  # sends on change; a failed job waits for a person: silence is the effect of a 401
        Profile("entra", 3 * DAY, 26 * HOUR),  # only on change, so a quiet weekend is normal; retries after 6, 12, 24 h
        Profile("onelogin", 2 * DAY, 2 * HOUR),
        Profile("pingone", 2 * DAY, 2 * HOUR),
        Profile("jumpcloud", 2 * DAY, 2 * HOUR),
        Profile("other", 2 * DAY, 6 * HOUR),
    )
}
SHORTEST: Final = min(profile.after_refusal for profile in PROFILES.values())
"""No pause up to this is looked at, unless the operator expects requests more often."""
_WORDS: Final = {
    "okta": "okta", "entra": "entra", "azure": "entra", "microsoft": "entra", "msft": "entra",
    "onelogin": "onelogin", "ping": "pingone", "jumpcloud": "jumpcloud",
}  # fmt: skip


def profile_of(client: str | None, agent: str) -> Profile:
    """The profile that the settings name, else the one that the user agent tells, else `other`."""
    if client is not None:
        return PROFILES.get(client, PROFILES["other"])
    lower = agent.lower()
    return PROFILES[next((name for word, name in _WORDS.items() if word in lower), "other")]


class Silence(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant that went silent. `allowed` is the pause after which that is said, `usual` the longest one of its past."""

    tenant: str
    last: LastRequest
    allowed: float
    client: str
    usual: float | None = None
    expected_every: float | None = None


def allowed(
    profile: Profile, usual: float | None, samples: int, *, refused: bool, expected_every: float | None = None
) -> float | None:
    """The longest pause in which nothing is wrong; None when nobody can tell. The setting wins over past and profile."""
    if expected_every is not None:
        return FACTOR * expected_every
    if usual is None or samples < SAMPLES:
        return None
    if refused:
        return max(usual, profile.after_refusal)
    return max(FACTOR * usual, profile.quiet)


def expectation(
    tenant: str, last: LastRequest, usual: float | None, samples: int, client: str | None, expected_every: float | None
) -> Silence | None:
    """What may be said of a tenant if nothing comes after `last` for longer than `allowed`; None when nothing ever."""
    profile = profile_of(client, last.agent)
    pause = allowed(profile, usual, samples, refused=last.status in (401, 403), expected_every=expected_every)
    return None if pause is None else Silence(tenant, last, pause, profile.name, usual, expected_every)
