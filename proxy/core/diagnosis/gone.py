"""There was no row: `token_deleted` (it had been known here) or `token_unknown` (it never was)."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import Death
from proxy.core.diagnosis.scene import AROUND, Scene, ended, source_of
from proxy.core.diagnosis.told import NO_REASON, said_of_it, without_rows
from proxy.core.diagnosis.words import listed, span, utc
from proxy.core.token import Known, Sibling, Unknown

CLEANUP: Final = (
    "Doorkeeper's clean-up before 5.9.0 deletes by access_token_expires_in and ignores the row's own expires_in "
    "(doorkeeper#1442, #1612, #1688, fixed by #1792): compare that setting with the age at death"
)

LEFT_ALONE: Final = (
    "Doorkeeper's clean-up of expired tokens leaves those with a refresh token alone, that of revoked ones takes them: look "
    "for a revocation just before, a destroyed application, or a statement in the database"
)
TAKEN_OUT: Final = "Its entry is in the token file no more: see in the history of that file who took it out"
A_DAY: Final = 86_400.0
"""Seconds: people who write a date by hand write the day."""

CUT: Final = 12
"""Characters that a table of plain tokens is searched for (proxy/sources/doorkeeper/near.py): digests cannot be."""

DEFAULT_LENGTH: Final = 43
"""Characters of a token by Doorkeeper's own generator (lib/doorkeeper/oauth/helpers/unique_token.rb)."""
DIGESTS_ONLY: Final = "digests_only"
"""The flag of a search among digests, where a token that was cut by several characters or respelled cannot be found."""
ONE_CASE: Final = "one_case"
"""The flag of a long secret whose letters are all of one case."""


def unsearchable(scene: Scene) -> bool:
    """What was presented looks like a token that was cut or respelled, and the source holds digests only."""
    if DIGESTS_ONLY not in scene.flags or scene.near_misses:
        return False
    return ONE_CASE in scene.flags or CUT <= scene.credential_length < DEFAULT_LENGTH


def was_known(scene: Scene) -> bool:
    """Its row was seen, or it worked here once as a token of a tenant. One that was let through without a row, because the
    proxy only observed, belongs to nobody, or to whom the address names."""
    if scene.before is not None:
        return True
    past = (scene.incident.history if scene.incident else None, scene.evidence.history)
    named = {h.tenant for h in past if h is not None} - {"", scene.evidence.addressed_tenant}
    return scene.last_good is not None and any(not tenant.startswith("_") for tenant in named)


def examine_deleted(scene: Scene) -> Found | None:
    """A token that was alive here has no row any more."""
    if scene.by_backend and scene.alive_then:
        return _gone_there(scene)
    if not scene.gone or not was_known(scene) or not scene.presented or without_rows(scene):
        return None
    row = scene.before
    if row is not None and (ended(row, scene.now) is not None or "secret_replaced" in scene.flags):
        return None
    start, end = scene.vanished
    destroyed = row is not None and _application_destroyed(scene, row)
    age = scene.source_time(end) - row.created_at if row else None
    strong = Confidence.CERTAIN if row and scene.searched else Confidence.LIKELY
    back = scene.healed
    newer = _perhaps_replaced(scene, scene.source_time(end))
    return Found(
        strong if scene.confirmed and back is None and not newer else Confidence.POSSIBLE,
        f"The token was deleted between {utc(start)} and {utc(end)}" + (f", at an age of {span(age)}." if row else "."),
        evidence_for=(
            *((f"It last worked at {utc(scene.last_good)}.",) if scene.last_good is not None else ()),
            *((f"Its row was seen, alive, up to {utc(start)}.",) if row else ()),
            f"There was no row at {utc(scene.at)} ({scene.then.via if scene.then else 'unknown'}).",
            *_died_with_it(scene),
            *(("All tokens seen to vanish in that minute were of its application.",) if destroyed else ()),
        ),
        evidence_against=(
            *(() if scene.confirmed else ("Only a replica was asked; it may have lagged behind.",)),
            *((f"It was there again at {utc(back.read_at)}: restored, or never gone.",) if back else ()),
            *(
                (f"An entry of the same customer, issued {utc(newer[-1].created_at)}, may have taken its place.",)
                if newer
                else ()
            ),
        ),
        missing=(
            *(() if row else ("the row as it was",)),
            *(() if scene.confirmed else ("a reading of the primary",)),
            *(() if scene.searched else (AROUND,)),
        ),
        words={
            "age": span(age),
            "hint": "All of one application vanished at once: it was destroyed, and its tokens with it"
            if destroyed
            else TAKEN_OUT
            if scene.in_a_file
            else LEFT_ALONE
            if row is not None and row.refreshable
            else CLEANUP,
            "gone": utc(end),
        },
        times={"issued_at": row.created_at if row else None, "last_seen_at": start, "missing_at": end},
        findings=("application_destroyed",) if destroyed else (),
    )


def _perhaps_replaced(scene: Scene, gone: float) -> list[Sibling]:
    """Newer entries of a token file, dated by hand, that may be the replacement of one that went within a day of them."""
    newer = scene.related("newer") if scene.in_a_file else ()
    return [s for s in newer if s.revoked_at is None and s.created_at >= gone - A_DAY]


def _gone_there(scene: Scene) -> Found | None:
    """The source that had its row has it no more, and another one that is asked after it has one like it: a copy, which is why
    the request was let through. The backend refused it."""
    if scene.moved is None or scene.row is None:
        return None
    at, row = scene.moved
    there, here = source_of(row), source_of(scene.row)
    look = next((r for r in scene.evidence.readings if r.source == there and isinstance(r.state, Unknown)), None)
    if look is None or ended(row, scene.now) is not None:
        return None
    return Found(
        Confidence.LIKELY,
        f"The token was deleted in {there} after {utc(at)}; the row in {here} let it through, and the backend refused it.",
        evidence_for=(
            f"Its row was seen, alive, in {there} at {utc(at)}.",
            f"{there} ({look.via}) at {utc(look.read_at)}: no such token.",
            f"{here} at {utc(scene.at)}: alive.",
        ),
        words={"age": span(scene.source_time(look.read_at) - row.created_at), "hint": CLEANUP, "gone": utc(look.read_at)},
        times={"issued_at": row.created_at, "last_seen_at": at, "missing_at": look.read_at},
    )


def _deaths(scene: Scene) -> list[Death]:
    mine = scene.fingerprint
    return sorted(
        (d for d in scene.others.deaths if d.how == "deleted" and d.fingerprint != mine), key=lambda d: (d.at, repr(d))
    )


def _died_with_it(scene: Scene) -> tuple[str, ...]:
    dead = _deaths(scene)
    if not dead:
        return ()
    return (f"{len(dead)} more vanished in the same minute, of {listed(sorted({d.tenant for d in dead}))}.",)


def _application_destroyed(scene: Scene, row: Known) -> bool:
    """At least two tokens died, all of one application, and none of that application is left."""
    left = [s for s in scene.siblings if s.application == row.application and s.revoked_at is None]
    same = {d.application for d in _deaths(scene)} == {row.application}
    return row.application is not None and same and not left


def examine_unknown(scene: Scene) -> Found | None:
    """No row, no memory, and nothing that it nearly is."""
    if scene.healed or was_known(scene) or scene.near_misses or scene.evidence.refresh_token_of:
        return None
    damaged = scene.credential.startswith("malformed") and scene.searched and scene.credential_length > 0
    if not damaged and not (scene.gone and scene.presented):
        return None
    open_ended = scene.served or (scene.observed and not scene.refused_too)
    sure = scene.confirmed and scene.searched and not damaged and not unsearchable(scene) and not open_ended
    blind = without_rows(scene) and not damaged
    return Found(
        Confidence.LIKELY if sure and not blind else Confidence.POSSIBLE,
        "The presented token does not exist here and is not known to have existed.",
        evidence_for=(
            *(
                ()
                if damaged
                else (
                    f"{'Not taken' if blind else 'No row'} at {utc(scene.at)} ({scene.then.via if scene.then else 'unknown'}).",
                )
            ),
            *said_of_it(scene),
            "Nothing is remembered of its ever having worked here.",
            *((NOTHING_LIKE_IT,) if scene.searched else ()),
        ),
        evidence_against=(
            *(() if scene.confirmed or damaged else ("Only a replica was asked; it may have lagged behind.",)),
            *(("The backend served it: it knows what this source does not.",) if scene.served else ()),
        ),
        missing=(
            *(() if not damaged else ("what the client sends once the form is right",)),
            *(() if scene.searched else ("a search for near misses",)),
            *((NO_REASON,) if blind else ()),
            *(("how the backend answered",) if scene.observed and not scene.served and not scene.refused_too else ()),
            *(() if scene.confirmed or damaged else ("a reading of the primary",)),
        ),
        words={"asked": utc(scene.at)},
    )


NOTHING_LIKE_IT: Final = (
    "Nothing like it was found: no damage that is looked for, no other secret that can be read here and compared."
)

DELETED: Final = Rule(
    Code.TOKEN_DELETED,
    "The token's row is gone: a clean-up job, a destroyed application, or by hand.",
    "It worked or its row was seen alive before, the primary has no row now, and re-reads do not bring it back. Finding "
    "`application_destroyed`: everything that vanished in that minute was of one application of which nothing is left. A row "
    "that had been revoked or had expired before it vanished is not this cause. A source without rows (an introspection "
    "endpoint, signed tokens) never shows it. Where several sources are asked, also a row that was seen in one of them, is "
    "gone there, and is still in another whose row the backend refused.",
    "Deleted at age {age}. {hint}. Issue a new token.",
    "The access token of {client} no longer exists on our side (since {gone} at the latest). We will give you a new one. "
    "{steps}",
    examine_deleted,
)

UNKNOWN: Final = Rule(
    Code.TOKEN_UNKNOWN,
    "There is no row for the token, and there is no sign that there ever was one.",
    "The primary has no row, this proxy never saw it work, and the search for near misses found nothing. Where only digests "
    "are stored, a secret that looks like a token cut short, or is all of one case, is left undetermined; so is everything "
    "that an introspection endpoint alone calls inactive, and a signed token that does not hold.",
    "Nothing here knows this secret: ask from which environment or tenant it was copied and whether it is whole, or issue a "
    "new token. One that was deleted before it was ever used through this proxy, or whose history is lost, looks the same; so "
    "does a client secret where Doorkeeper keeps it by bcrypt.",
    "{client} sends an access token that is not known at this address: it may belong to another environment or be incomplete. "
    "Please enter the token that you received for this connection, and tell us if that is refused as well. {steps}",
    examine_unknown,
)
