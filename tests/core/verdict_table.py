"""Every state of a row that Doorkeeper tells apart, and its verdict on it: for decide() and for real databases alike."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from proxy.core.verdict import Reason

NOW: Final = dt.datetime(2026, 7, 1, 3, 30, tzinfo=dt.UTC)
"""Half past three UTC: yesterday in New York, afternoon in Tokyo, so a mistaken zone shows in every case."""

DAY: Final = 86_400


class Case(NamedTuple):
    """`created` and `revoked` are seconds from NOW (or infinite); `required` are the scopes of the operation."""

    name: str
    expected: Reason
    created: float = -DAY
    expires_in: int | None = None
    revoked: float | None = None
    scopes: str | None = "scim"
    required: frozenset[str] = frozenset()


INFINITE: Final = float("inf")
SCIM: Final = frozenset({"scim", "scim.admin"})

CASES: Final = (
    Case("lives for ever", Reason.ACTIVE),
    Case("ten years old and lives for ever", Reason.ACTIVE, created=-3_650 * DAY),
    Case("ten years to live", Reason.ACTIVE, expires_in=315_360_000),
    Case("created ahead of the clock", Reason.ACTIVE, created=3_600),
    Case("created ahead of the clock and expires later", Reason.ACTIVE, created=3_600, expires_in=60),
    Case("one second to live", Reason.ACTIVE, expires_in=DAY + 1),
    Case("at the very instant of expiry", Reason.ACTIVE, expires_in=DAY),
    Case("a microsecond after expiry", Reason.EXPIRED, created=-DAY - 0.000_001, expires_in=DAY),
    Case("a second after expiry", Reason.EXPIRED, expires_in=DAY - 1),
    Case("four hours after expiry, less than a zone's offset", Reason.EXPIRED, created=-5 * 3_600, expires_in=3_600),
    Case("four hours before expiry, less than a zone's offset", Reason.ACTIVE, created=-3_600, expires_in=5 * 3_600),
    Case("expires_in 0", Reason.EXPIRED, expires_in=0),
    Case("expires_in 0, created now", Reason.ACTIVE, created=0, expires_in=0),
    Case("expires_in negative", Reason.EXPIRED, expires_in=-1),
    Case("expires_in the largest integer", Reason.ACTIVE, expires_in=2_147_483_647),
    Case("created at -infinity, for ever", Reason.ACTIVE, created=-INFINITE),
    Case("created at -infinity, with a life", Reason.EXPIRED, created=-INFINITE, expires_in=60),
    Case("created at infinity", Reason.ACTIVE, created=INFINITE, expires_in=60),
    Case("revoked yesterday", Reason.REVOKED, revoked=-DAY),
    Case("revoked four hours ago, less than a zone's offset", Reason.REVOKED, revoked=-4 * 3_600),
    Case("revoked a microsecond ago", Reason.REVOKED, revoked=-0.000_001),
    Case("revoked at this very instant", Reason.REVOKED, revoked=0),
    Case("revoked in a microsecond", Reason.ACTIVE, revoked=0.000_001),
    Case("revoked in four hours, less than a zone's offset", Reason.ACTIVE, revoked=4 * 3_600),
    Case("revoked at infinity", Reason.ACTIVE, revoked=INFINITE),
    Case("revoked at -infinity", Reason.REVOKED, revoked=-INFINITE),
    Case("revoked and expired", Reason.REVOKED, revoked=-60, expires_in=60),
    Case("revoked later and expired", Reason.EXPIRED, revoked=60, expires_in=60),
    Case("revoked without the scope", Reason.REVOKED, revoked=-60, scopes="", required=SCIM),
    Case("expired without the scope", Reason.EXPIRED, expires_in=60, scopes="", required=SCIM),
    Case("the scope", Reason.ACTIVE, scopes="scim", required=SCIM),
    Case("any one of the scopes suffices", Reason.ACTIVE, scopes="public scim.admin", required=SCIM),
    Case("scopes apart by any white space", Reason.ACTIVE, scopes="public\n\tscim  x", required=SCIM),
    Case("scopes with white space around", Reason.ACTIVE, scopes="  scim ", required=SCIM),
    Case("scopes apart by a comma are one scope", Reason.INSUFFICIENT_SCOPE, scopes="public,scim", required=SCIM),
    Case("scopes apart by a no-break space are one scope", Reason.INSUFFICIENT_SCOPE, scopes="public\u00a0scim", required=SCIM),
    Case("the scope in another case", Reason.INSUFFICIENT_SCOPE, scopes="SCIM", required=SCIM),
    Case("a scope that only begins so", Reason.INSUFFICIENT_SCOPE, scopes="scim2", required=SCIM),
    Case("no scopes", Reason.INSUFFICIENT_SCOPE, scopes="", required=SCIM),
    Case("scopes NULL", Reason.INSUFFICIENT_SCOPE, scopes=None, required=SCIM),
    Case("scopes NULL and none required", Reason.ACTIVE, scopes=None),
)
