"""Lifetime over: `token_expired`, or `clock_skew` where only the difference of two clocks makes it so."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.superseded import refresh_of, replacements, revoked_at
from proxy.core.diagnosis.words import span, utc
from proxy.core.token import Known
from proxy.core.verdict import Reason

NOTABLE: Final = 1.0
"""Seconds of offset below which clocks count as equal: reading a clock over a network is no better than that."""
BACKEND_AHEAD: Final = 300.0
"""Seconds of remaining life within which a backend's `expired` can be its clock; more is no clock of a working machine."""


def expiry(scene: Scene) -> float | None:
    """When the row (then or as last seen) expired, if that was before the moment and before any revocation."""
    row, end = scene.last_row, revoked_at(scene)
    if row is None or row.expires_at is None or row.expires_at >= scene.now:
        return None
    return None if end is not None and end <= row.expires_at else row.expires_at


def examine_expired(scene: Scene) -> Found | None:
    """created_at + expires_in lies before the moment, by the source's clock."""
    row, end = scene.last_row, expiry(scene)
    if scene.healed:
        return None
    if row is None:
        return _by_reason_only(scene)
    if end is None:
        return None
    newer = replacements(scene)
    renewed = refresh_of(scene, scene.now)
    return Found(
        Confidence.CERTAIN if scene.row is not None else Confidence.LIKELY,
        f"The token expired at {utc(end)}, {span(scene.now - end)} before the request.",
        evidence_for=(
            f"Issued {utc(row.created_at)} for {span(row.expires_in)}.",
            *(
                (f"The clocks of source and proxy differ by {span(scene.offset)}; that decides nothing.",)
                if scene.offset is not None
                else ()
            ),
            *_changed(scene, row),
            *(() if scene.row else ("The row has vanished since; this was its state when last seen.",)),
            *(
                (f"A refresh was granted at {utc(renewed.at)}; the client went on with this token all the same.",)
                if renewed is not None
                else ()
            ),
            *((f"A newer token exists since {utc(newer[-1].created_at)}.",) if newer else ()),
        ),
        words={
            "expired": utc(end),
            "issued": utc(row.created_at),
            "lifetime": span(row.expires_in),
            "renewed": f"A refresh was granted at {utc(renewed.at)}: its answer was lost, or another connection took it."
            if renewed is not None
            else "Look for refused or missing calls of /oauth/token.",
        },
        times={"issued_at": row.created_at, "expired_at": end, "newer_at": newer[-1].created_at if newer else None},
    )


def _changed(scene: Scene, row: Known) -> tuple[str, ...]:
    """The end was another when the row was seen before: somebody shortened its life."""
    others = [(at, seen) for at, seen in scene.sightings if seen.row == row.row and seen.expires_at != row.expires_at]
    if not others:
        return ()
    at, seen = others[-1]
    before = "never" if seen.expires_at is None else utc(seen.expires_at)
    return (f"When it was seen at {utc(at)} its end was another ({before}): the row was changed after that.",)


def _by_reason_only(scene: Scene) -> Found | None:
    if scene.reason != Reason.EXPIRED or scene.then is not None:
        return None
    return Found(
        Confidence.LIKELY,
        "The token expired.",
        evidence_for=("The verdict at that moment was `expired`.",),
        missing=("the row as it was read", "when it expired"),
        words={
            "expired": "before " + utc(scene.at),
            "issued": "at a time not recorded",
            "lifetime": "a time not recorded",
            "renewed": "",
        },
    )


def examine_clock_skew(scene: Scene) -> Found | None:
    """The token counts as expired by one clock and alive by the other."""
    row = scene.row
    if row is None or row.expires_at is None or revoked_at(scene) is not None:
        return None
    if row.expires_at >= scene.now:
        return _backend_ahead(scene, row.expires_at)
    offset, ours = scene.offset, scene.now - (scene.offset or 0.0)
    if offset is None or offset < NOTABLE or ours > row.expires_at:
        return None
    return _skewed(
        Confidence.LIKELY,
        offset,
        row.expires_at,
        f"The token expired by the source's clock and was alive by ours; the source's is {span(offset)} ahead.",
        (
            f"It expired at {utc(row.expires_at)}: {span(scene.now - row.expires_at)} before the request, by the source.",
            f"By our clock that is {span(row.expires_at - ours)} after the request.",
        ),
    )


def _backend_ahead(scene: Scene, expires: float) -> Found | None:
    said = " ".join(sorted(scene.backend.www_authenticate)) + scene.backend.body if scene.backend else ""
    left = expires - scene.now
    if not scene.by_backend or "expired" not in said.lower() or left > BACKEND_AHEAD:
        return None
    return _skewed(
        Confidence.LIKELY,
        left,
        expires,
        f"The backend called the token expired {span(left)} before its time: its clock is at least that much ahead.",
        (f"By the source's clock the token lived until {utc(expires)}.", "The backend said `expired`."),
    )


def _skewed(confidence: Confidence, seconds: float, expires: float, title: str, lines: tuple[str, ...]) -> Found:
    words = {"seconds": span(seconds), "expired": utc(expires)}
    return Found(confidence, title, evidence_for=lines, words=words, times={"expired_at": expires})


EXPIRED: Final = Rule(
    Code.TOKEN_EXPIRED,
    "The token's lifetime is over.",
    "created_at + expires_in of the row lies before the request by the source's own clock, and it was not revoked before that. "
    "The offset of the clocks is compared: where it decides, the cause is `clock_skew`.",
    "Issued {issued} for {lifetime}, expired {expired}. Issue a new token; a client with a refresh token should have renewed: "
    "look for refused calls of /oauth/token.",
    "The access token of {client} expired at {expired}. We will give you a new one. {steps} If you "
    "connected by signing in, authorize the connection again instead.",
    examine_expired,
)

CLOCK_SKEW: Final = Rule(
    Code.CLOCK_SKEW,
    "Clocks of proxy, source or backend differ, and the difference decides whether the token had expired.",
    "By one clock the token was alive and by the other it had expired, with a measured offset of a second or more; or the "
    "backend says `expired` shortly before the time.",
    "The clocks differ by at least {seconds}. Run NTP on the database, the backend and this machine, then compare again.",
    "The access token of {client} was at the very end of its lifetime ({expired}). We correct a clock on our side and will "
    "give you a new token. {steps}",
    examine_clock_skew,
)
