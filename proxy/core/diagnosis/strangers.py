"""A stranger's request ended it: `null_refresh_match`, a known fault of Doorkeeper.

A person's deed may fall into the same second. Only a revocation while Doorkeeper had the stranger's first request in hand is
taken for the fault.
"""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import NeighbourRequest, OauthEvent
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.superseded import ONE_EVENT, replacement_at, revoked_at
from proxy.core.diagnosis.words import utc
from proxy.core.token import Known

SAME_REQUEST: Final = 1.0
"""Seconds between the arrival of a request and a revocation that this request causes at Doorkeeper."""
CLOCKS: Final = 0.1
"""Seconds by which the clocks of proxy and database are found to differ from one look to the next."""
NULLABLE: Final = "previous_refresh_token_nullable"
"""The schema flag of doorkeeper#1497: previous_refresh_token may be NULL and then matches any row without a refresh token."""


def examine_null_refresh(scene: Scene) -> Found | None:
    """doorkeeper#1497: the first use of a stranger's token revoked this one, because both lack a refresh token."""
    end = revoked_at(scene)
    near = strangers(scene, scene.row, end) if end is not None and scene.row is not None else []
    if end is None or not near:
        return None
    first = near[0]
    explained = replacement_at(scene, end) is not None or scene.mass or bool(revocations(scene))
    within = _in_hand(scene, first, end)
    sure = not explained and first.first_use and within
    return Found(
        Confidence.LIKELY if sure else Confidence.POSSIBLE,
        f"A request of tenant {first.tenant} at {utc(first.at)} {'' if sure else 'may have '}revoked this stranger's token "
        "(doorkeeper#1497).",
        evidence_for=(
            "The column previous_refresh_token may be NULL here (Doorkeeper 5.4.0 to 5.5.0).",
            f"revoked_at, {utc(end)}, is {'within' if within else 'near'} the time of a request of tenant {first.tenant}.",
            *(("That request was the first use of its token.",) if first.first_use else ()),
        ),
        evidence_against=(
            *(("A newer token, a mass revocation or a call of /oauth/revoke explains it as well.",) if explained else ()),
            *((f"{len(near)} requests of other tenants fit.",) if len(near) > 1 else ()),
        ),
        missing=(
            *(() if first.first_use else ("whether that was the first use of its token",)),
            *(() if within else ("an end while the backend had that request in hand: anybody's deed fits as well",)),
        ),
        words={"other": first.tenant, "revoked": utc(end)},
        times={"revoked_at": end, "other_request_at": first.at},
    )


def strangers(scene: Scene, row: Known, end: float) -> list[NeighbourRequest]:
    """Requests of other tenants in whose time a row without refresh token was revoked, proven first uses in front. The first
    use of a token that came from a refresh ends the one it came from."""
    if NULLABLE not in scene.flags or row.refreshable:
        return []
    mine = scene.last_row.tenant if scene.last_row else ""
    early = 1.0 if _whole(end) else CLOCKS
    near = (
        r
        for r in scene.others.requests
        if r.first_use is not False
        and not r.renewed
        and r.tenant != mine
        and -early <= end - scene.source_time(r.at) <= SAME_REQUEST
    )
    return sorted(near, key=lambda r: (not r.first_use, not _in_hand(scene, r, end), r.at, repr(r)))


def _in_hand(scene: Scene, request: NeighbourRequest, end: float) -> bool:
    """Whether the backend had the request then, and had not answered yet."""
    return request.seconds is not None and not _whole(end) and 0 <= end - scene.source_time(request.at) <= request.seconds


def _whole(end: float) -> bool:
    """A time that may have been cut to its second: `datetime` of MySQL keeps no more."""
    return end % 1 == 0


def revocations(scene: Scene) -> list[OauthEvent]:
    """Granted calls of /oauth/revoke that named this token in the moment in which it ended, oldest first. Doorkeeper forbids
    a stranger's call (403), and says 200 to one that changes nothing."""
    end = revoked_at(scene)
    mine = [e for e in scene.evidence.oauth if e.presented and e.presented == scene.fingerprint and e.endpoint == "revoke"]
    mine = [e for e in mine if e.status < 300 and end is not None and abs(end - scene.source_time(e.at)) <= ONE_EVENT]
    return sorted((e for e in mine if e.at <= scene.at), key=lambda e: (e.at, repr(e)))


NULL_REFRESH: Final = Rule(
    Code.NULL_REFRESH_MATCH,
    "Doorkeeper 5.4.0 to 5.5.0 with a nullable previous_refresh_token revokes a stranger's token (doorkeeper#1497).",
    "revoked_at lies within the first request of another tenant's token, between its arrival and the backend's answer; the "
    "column is nullable, neither token has to do with a refresh, and nothing else happened to this one then. A revocation "
    "beside that request, if only by less than a second, may be anybody's deed and is left undetermined.",
    "Upgrade Doorkeeper to 5.5.1 or later, or make previous_refresh_token NOT NULL with default ''. The token was revoked at "
    "{revoked} by a request of tenant {other}; issue a new one.",
    "Your access token was ended at {revoked} by a fault on our side, which we correct. We will send you a new one. {steps}",
    examine_null_refresh,
)
