"""Which set-up a customer uses, and the story of a token."""

from __future__ import annotations

import pytest

from proxy.core.memory import OauthEvent
from proxy.core.setup import Setup, setup_of, story
from proxy.core.token import Known

NOW = 1_800_000_000.0
FP, OLD = "f" * 32, "e" * 32
OKTA = "Okta SCIM Client 1.0.0"


def row(**more):
    return Known(1, "acme", NOW, **more)


def issued(**more):
    return OauthEvent(NOW, "token", 200, **{"grant_type": "authorization_code", "created": FP, "user_agent": OKTA} | more)


@pytest.mark.parametrize(
    "setup, stops, finding",
    [
        (Setup.CODE, None, setup_of(row(expires_in=7200, refreshable=True), (), FP)),
        (Setup.CODE, NOW + 7200, setup_of(row(expires_in=7200, refreshable=False), (), FP, grant_exists=True)),
        (Setup.CODE, NOW + 60, setup_of(None, [issued(refresh_issued=False, expires_in=60)], FP)),
        (Setup.CODE, None, setup_of(None, [issued(refresh_issued=False)], FP)),
        (Setup.CODE, None, setup_of(None, [issued(refresh_issued=True, expires_in=60)])),
        (Setup.CODE, None, setup_of(row(), [issued(grant_type="refresh_token", created=OLD, presented=FP)], FP)),
        (Setup.MACHINE, None, setup_of(None, [issued(grant_type="client_credentials")], FP)),
        (Setup.STATIC, None, setup_of(row(refreshable=False), (), FP)),
        (Setup.STATIC, None, setup_of(row(refreshable=False), [issued(created=OLD)], FP)),
        (Setup.UNKNOWN, None, setup_of(row(refreshable=None), (), FP)),
        (Setup.UNKNOWN, None, setup_of(None, ())),
    ],
)
def test_the_set_up(setup, stops, finding):
    assert (setup, stops) == (finding.setup, finding.stops_at)
    assert bool(finding.evidence) == (setup is not Setup.UNKNOWN)


def test_the_story_of_a_token():
    calls = [
        issued(expires_in=7200, refresh_issued=True),
        *(OauthEvent(NOW + n, "token", 200, "refresh_token", presented=FP, user_agent=OKTA) for n in (10, 20, 30, 40)),
        OauthEvent(NOW + 50, "token", 400, "refresh_token", "invalid_grant", presented=FP, user_agent=OKTA),
        OauthEvent(NOW + 60, "token", 400, "refresh_token", "invalid_grant", presented=OLD),
    ]
    expected = (
        "Born 2027-01-15 08:00:00 UTC by authorization_code from Okta, for 2 h 0 min and with a refresh token.",
        "Refreshed 4 times, the last at 2027-01-15 08:00:40 UTC by Okta.",
        "Refresh refused 2027-01-15 08:00:50 UTC to Okta: invalid_grant.",
    )
    assert expected == story(calls, FP) == story(reversed(calls), FP)
