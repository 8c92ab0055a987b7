"""The row is revoked: by a refresh (`token_rotated`), or by somebody. The known fault of Doorkeeper: strangers.py."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.doers import doers
from proxy.core.diagnosis.oauth import granted_before, is_oauth, refused_call
from proxy.core.diagnosis.scene import AROUND, NO_LINK, Scene
from proxy.core.diagnosis.strangers import SAME_REQUEST, revocations, strangers
from proxy.core.diagnosis.superseded import HANDOVER, ONE_EVENT, refresh_of, replacement_at, replacements, revoked_at
from proxy.core.diagnosis.words import listed, span, utc
from proxy.core.token import Known, OwnerState, Sibling
from proxy.core.verdict import Reason

_OUT: Final = (OwnerState.INACTIVE, OwnerState.DELETED)
ROUND_TRIP: Final = 0.1
"""Seconds: a client needs longer between receiving a refreshed token and its first use; a regeneration takes less."""
USED_SOON: Final = 60.0
"""Seconds: a client refreshes when it has something to send, and uses what it gets at once."""
AT_ONCE: Final = NO_LINK
"""Without that column a refresh itself revokes the row (refresh_token_request.rb)."""
BY_USE: Final = "the first use of the new one"
UNUSED: Final = "The successor has not been used yet; Doorkeeper revokes the old token only at its first use."


def examine_rotated(scene: Scene) -> Found | None:
    """The client refreshed and kept the old access token, or the old refresh token."""
    if is_oauth(scene):
        return _presented_again(scene)
    row, end = scene.last_row, revoked_at(scene)
    if row is None or row.refreshable is False:
        return None
    if end is None:
        return _erased(scene, row)
    successors = [s for s in scene.related("successor") if s.created_at <= end + ONE_EVENT]
    event = refresh_of(scene, end)
    if event is not None:
        line = f"A refresh with this token's refresh token passed through here at {utc(event.at)} and was granted."
        used = scene.evidence.first_uses.get(event.created) if event.created else None
        known = used is not None and scene.source_time(used) <= end + SAME_REQUEST
        unused = AT_ONCE not in scene.flags and not known and any(s.used is False for s in successors)
        sure = Confidence.POSSIBLE if unused else Confidence.CERTAIN
        by = "that refresh" if AT_ONCE in scene.flags else BY_USE
        return _rotated(scene, row, event.at, sure, (line,), (UNUSED,) if unused else (), by)
    if successors:
        return _by_successor(scene, row, successors[0])
    if not row.refreshable:
        return None
    return _at_once(scene, row, end) if AT_ONCE in scene.flags else _by_use(scene, row, end)


def _erased(scene: Scene, row: Known) -> Found | None:
    """Its row is gone, after a refresh with its refresh token and the first use of what that gave: revoked, then cleaned up."""
    event = refresh_of(scene, scene.now) if scene.gone and scene.healed is None else None
    used = scene.evidence.first_uses.get(event.created) if event is not None and event.created else None
    if event is None:
        return None
    return Found(
        Confidence.LIKELY if used is not None and used <= scene.vanished[1] else Confidence.POSSIBLE,
        f"The client refreshed at {utc(event.at)} and kept using the old token, whose row is gone since.",
        evidence_for=(
            f"A refresh with this token's refresh token passed through here at {utc(event.at)} and was granted.",
            *((f"The new token was first used at {utc(used)}, which ends the old one.",) if used is not None else ()),
            f"There was no row at {utc(scene.at)}.",
        ),
        words={"refreshed": utc(event.at), "issued": utc(row.created_at)},
        times={"issued_at": row.created_at, "refreshed_at": event.at, "missing_at": scene.vanished[1]},
    )


def _presented_again(scene: Scene) -> Found | None:
    """A refresh token that had been exchanged before: its answer was lost, or two connections share it."""
    call = refused_call(scene)
    if call is None or call.error != "invalid_grant" or call.grant_type != "refresh_token":
        return None
    granted = granted_before(scene, call)
    first = granted.at if granted is not None else call.exchanged_at
    if first is None:
        return None
    return Found(
        Confidence.CERTAIN,
        f"The client presented a refresh token that had been exchanged at {utc(first)} already.",
        evidence_for=(
            f"A refresh with the same refresh token passed through here at {utc(first)} and was granted.",
            f"The same refresh token was refused at {utc(call.at)} ({call.error}).",
        ),
        words={"refreshed": utc(first)},
        times={"refreshed_at": first, "refused_at": call.at},
    )


def _by_use(scene: Scene, row: Known, end: float) -> Found | None:
    """The trace that is left once Doorkeeper has emptied the successor's previous_refresh_token at its first use: a newer
    row, issued before this one's end and used since. Regenerating leaves the opposite order: revoked, then issued."""
    newer = _perhaps_refreshed(scene, end)
    if not newer:
        return None
    newest = newer[-1]
    first_use = scene.first_use(newest)
    exact = first_use is not None and abs(first_use - end) <= SAME_REQUEST
    against = (
        *(_too_near(newest, end, first_use)),
        *(("This token worked after its end.",) if _worked_after(scene, end) else ()),
        *((f"The newer token was issued {span(end - newest.created_at)} before this one ended.",) if _far(newest, end) else ()),
        *(("Others were revoked in the same millisecond.",) if scene.mass else ()),
        *((f"The newer token was first used at {utc(first_use)}.",) if first_use is not None and not exact else ()),
        *(_rivals(scene, newer, first_use) if first_use is not None and exact else ()),
    )
    if against and newest.created_at >= end - ROUND_TRIP and not newest.refreshable:
        return None
    line = f"It had a refresh token; a newer token was issued {utc(newest.created_at)}, before this one ended."
    used = (f"The newer token was first used at {utc(first_use)}, when this one ended.",) if exact else ()
    strong = Confidence.CERTAIN if exact else Confidence.LIKELY
    return _rotated(scene, row, newest.created_at, Confidence.POSSIBLE if against else strong, (line, *used), against)


def _perhaps_refreshed(scene: Scene, end: float) -> list[Sibling]:
    """Newer rows that may have come from this row's refresh token and have been used: of none of them it is known how it was
    issued."""
    issued = {e.created for e in scene.evidence.oauth} - {""}
    return [
        s for s in replacements(scene)
        if s.fingerprint not in issued and not scene.no_refresh(s)
        and s.used is not False and s.refreshable is not False and s.created_at < end and s.revoked_at != end
    ]  # fmt: skip


def _rivals(scene: Scene, newer: list[Sibling], first_use: float) -> tuple[str, ...]:
    """Other rows with a refresh token that ended at that first use: one new token came from one of them."""
    now = [s for s in newer if (at := scene.first_use(s)) is not None and abs(at - first_use) <= SAME_REQUEST]
    mine = {s.row for s in now}
    kin = (s for s in scene.siblings if s.relation in ("newer", "older") and s.refreshable and s.row not in mine)
    ended = {s.row for s in kin if s.revoked_at is not None and abs(s.revoked_at - first_use) <= SAME_REQUEST}
    if len(ended) < len(now):
        return ()
    return ("Another token of the same application and owner ended at that first use; the new one came from one of the two.",)


def _too_near(newer: Sibling, end: float, first_use: float | None) -> tuple[str, ...]:
    """Issued, and this one ended, in less time than a client needs to use what it received, and no such use was seen."""
    if newer.created_at < end - ROUND_TRIP or (newer.refreshable and first_use is not None and first_use <= end):
        return ()
    return (f"The newer token was issued only {span(end - newer.created_at)} before: as when a token is regenerated.",)


def _at_once(scene: Scene, row: Known, end: float) -> Found | None:
    """Without the column that links rows, a refresh revokes the old row and inserts the new one in one transaction. The client
    then has the old token only if the answer was lost or another connection took it."""
    newer = replacement_at(scene, end)
    if newer is None:
        return None
    line = (
        f"It had a refresh token, and a newer token was issued {span(newer.created_at - end)} from its end: in one transaction."
    )
    column = "This Doorkeeper has no column previous_refresh_token: there a refresh itself ends the old token."
    against = ("Regenerating a token leaves the same trace.", *(("Others were revoked with it.",) if scene.mass else ()))
    strong = Confidence.POSSIBLE if scene.mass or _worked_after(scene, end) else Confidence.LIKELY
    return _rotated(scene, row, newer.created_at, strong, (line, column), against, by="that refresh")


def _worked_after(scene: Scene, end: float) -> bool:
    return scene.last_good is not None and scene.source_time(scene.last_good) > end + ONE_EVENT


def _far(newer: Sibling, end: float) -> bool:
    return end - newer.created_at > USED_SOON


def _by_successor(scene: Scene, row: Known, successor: Sibling) -> Found:
    line = f"A token issued {utc(successor.created_at)} came from this token's refresh token."
    first_use = scene.first_use(successor)
    end = revoked_at(scene)
    seen = first_use is not None and end is not None and abs(first_use - end) <= SAME_REQUEST
    if seen:
        line += f" It was first used at {utc(first_use)}, when this one ended."
    elif successor.used is False:
        return _rotated(scene, row, successor.created_at, Confidence.POSSIBLE, (line,), (UNUSED,))
    sure = Confidence.CERTAIN if successor.used else Confidence.LIKELY
    return _rotated(scene, row, successor.created_at, sure, (line,), ())


def _rotated(
    scene: Scene,
    row: Known,
    refreshed: float,
    confidence: Confidence,
    lines: tuple[str, ...],
    against: tuple[str, ...],
    by: str = BY_USE,
) -> Found:
    end = revoked_at(scene)
    return Found(
        confidence,
        f"The client refreshed at {utc(refreshed)} and kept using the old token, which was revoked at {utc(end)} by {by}.",
        evidence_for=(*lines, f"This token was revoked at {utc(end)}."),
        evidence_against=against,
        words={"refreshed": utc(refreshed), "issued": utc(row.created_at)},
        times={"issued_at": row.created_at, "refreshed_at": refreshed, "revoked_at": end},
    )


def _other_reasons(scene: Scene, end: float) -> tuple[str, ...]:
    """What may have revoked it just as well, and cannot be told from somebody's deed."""
    row, newer = scene.row, replacement_at(scene, end)
    if newer is not None:
        return (f"A newer token of the same application and owner was issued {utc(newer.created_at)}, at that moment.",)
    if scene.mass or row is None or revocations(scene):
        return ()
    unused = [s for s in scene.related("successor") if s.created_at <= end]
    unseen = [s for s in _perhaps_refreshed(scene, end) if end - s.created_at <= HANDOVER and scene.first_use(s) is None]
    return (
        *(
            (f"The client had refreshed at {utc(unused[0].created_at)}; this may be the end of the old token.",)
            if unused
            else ()
        ),
        *(
            (f"A newer token was issued {utc(unseen[-1].created_at)}; if by a refresh, its first use may have ended this.",)
            if unseen and row.refreshable and AT_ONCE not in scene.flags
            else ()
        ),
        *(
            ("A newer token was first used at that moment; if it came from this one, that ended it.",)
            if row.refreshable and _used_at(scene, end)
            else ()
        ),
        *(("A stranger's request may have revoked it (doorkeeper#1497).",) if strangers(scene, row, end) else ()),
    )


def _used_at(scene: Scene, end: float) -> bool:
    uses = (scene.first_use(s) for s in _perhaps_refreshed(scene, end))
    return any(use is not None and abs(use - end) <= SAME_REQUEST for use in uses)


def examine_revoked(scene: Scene) -> Found | None:
    """The row says revoked, and nothing more special explains it."""
    row, end = scene.last_row, revoked_at(scene)
    if scene.healed:
        return None
    if row is None:
        return _by_reason_only(scene)
    if end is None or (row.expires_at is not None and row.expires_at < end):
        return None
    mass, doubts = scene.mass, _other_reasons(scene, end)
    sure = Confidence.CERTAIN if scene.row is not None else Confidence.LIKELY
    looked = scene.searched or bool(revocations(scene))  # without a look around it, a replacement is not excluded
    return Found(
        Confidence.POSSIBLE if doubts or not looked else sure,
        f"The token was revoked at {utc(end)}" + (f", together with {scene.same_instant} others." if mass else "."),
        evidence_for=(
            f"revoked_at of its row: {utc(end)}.",
            *(() if scene.row else ("The row has vanished since; this was its state when last seen.",)),
            *((f"{scene.same_instant} rows were revoked in the same millisecond.", *doers(scene, end)) if mass else ()),
            *(f"POST /oauth/revoke at {utc(e.at)} by {e.client or 'an unnamed client'} named it." for e in revocations(scene)),
            *(("Our memory was older: the request was let through, and the backend refused it.",) if scene.by_backend else ()),
            *((f"The account that owns it was {row.owner_state} then: that may be why.",) if row.owner_state in _OUT else ()),
        ),
        evidence_against=(*doubts, *_later_life(scene), *_worked_since(scene, end)),
        missing=() if looked else (AROUND,),
        words={
            "revoked": utc(end),
            "event": "".join((_event(scene, mass=mass), *(f". {line[:-1]}" for line in _worked_since(scene, end)))),
        },
        times={"issued_at": row.created_at, "revoked_at": end},
        findings=("mass_revocation",) if mass else (),
        instead=IN_THE_FILE if scene.in_a_file else None,
    )


def _of_several(scene: Scene) -> bool:
    row = scene.last_row
    mine = row.application if row is not None else None
    return any(s.relation == "same_instant" and s.application not in (None, mine) for s in scene.siblings)


def _event(scene: Scene, *, mass: bool) -> str:
    named = revocations(scene)
    if mass and _of_several(scene):
        return "Tokens of several applications were revoked at once: by a script, a job, or a statement in the database"
    if mass:
        return "Many tokens were revoked at once: an application was revoked or re-authorized"
    if named:
        return f"Revoked by a call of /oauth/revoke by {named[-1].client or 'an unnamed client'}"
    return "Nothing here shows who revoked it"


def _by_reason_only(scene: Scene) -> Found | None:
    if scene.reason != Reason.REVOKED or scene.then is not None:
        return None
    return Found(
        Confidence.LIKELY,
        "The token was revoked.",
        evidence_for=("The verdict at that moment was `revoked`.",),
        missing=("the row as it was read", "when it was revoked"),
        words={"revoked": "before " + utc(scene.at), "event": "The row was not kept"},
    )


def _worked_since(scene: Scene, end: float) -> tuple[str, ...]:
    """The row says that it had ended before it last worked: the time was written in afterwards, or our memory was older."""
    if not _worked_after(scene, end):
        return ()
    return (f"It was accepted here up to {utc(scene.last_good)}: look there too, revoked_at may have been entered later.",)


def _later_life(scene: Scene) -> tuple[str, ...]:
    alive = [r for r in scene.later if isinstance(r.state, Known) and r.state.revoked_at is None]
    return (f"Read again at {utc(alive[0].read_at)} it was not revoked ({listed([alive[0].via])}).",) if alive else ()


ROTATED: Final = Rule(
    Code.TOKEN_ROTATED,
    "The client refreshed its token and went on with the old one, which Doorkeeper revoked at the first use of the new one.",
    "Another row came from this row's refresh token (its previous_refresh_token, or a refresh that passed through here), and "
    "this row was revoked at or after that; or a newer row with a refresh token, of which it is not known how it was issued, "
    "was first used here as this one ended, or was issued within the minute before that and its first use not seen. A "
    "successor that nobody has used yet decides nothing, though its refresh passed through here.",
    "{client} refreshed at {refreshed} and kept the old token. Check that one connection only uses these credentials; have the "
    "customer authorize again.",
    "{client} renewed its access at {refreshed} but kept sending the previous token, which ended with the renewal. Please "
    "authorize the connection again. {signin}",
    examine_rotated,
)

OVER: Final = (
    "The access token of {client} was revoked at {revoked} and is no longer accepted. We will give you a new one if the "
    "connection shall go on. {steps}"
)
"""What the customer is told, whoever revoked it."""
IN_THE_FILE: Final = Advice(
    operator="{event}. See in the history of the token file who entered revoked_at. If it was not meant, take it out again, or "
    "issue a new token.",
    customer=OVER,
)
"""In place of the advice to look into an application's log."""

REVOKED: Final = Rule(
    Code.TOKEN_REVOKED,
    "The token was revoked, and no replacement, refresh or known fault explains it.",
    "revoked_at of the row. Rows revoked in the same millisecond show a mass revocation (finding `mass_revocation`).",
    "{event}. Look in the application's audit log at {revoked}. If it was not meant, issue a new token.",
    OVER,
    examine_revoked,
)
