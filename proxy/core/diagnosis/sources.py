"""The sources themselves: unavailable, lagging, blind, of another environment, or holding another form of the secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import BackendVerdicts
from proxy.core.diagnosis.gone import was_known
from proxy.core.diagnosis.scene import AT_THE_TIME, Scene, ended, other_form, surroundings_of
from proxy.core.diagnosis.words import listed, span, utc
from proxy.core.token import Known, Reading, Unavailable, Unknown
from proxy.core.verdict import Reason

SOON: Final = 15.0
"""Seconds after which a re-read still tells of replication and not of a repair by hand; the re-read at +10 s is within."""
SERVED: Final = 3
"""Requests with tokens of one source that the backend has served, from which on it is known to know that source."""
FAR_BEHIND: Final = 3600.0
"""Seconds: a copy that lacks an older row is not late any more; the row was put there, or put back."""
LONG_OPEN: Final = 300.0
"""Seconds: a transaction that issues a token is committed sooner. An older row that the primary lacked was put there later."""
OTHERWISE: Final = "stored_otherwise"
"""The flag of a row that holds a digest or cipher text where it held a token, or a digest of another kind."""
MANY_TENANTS: Final = 3
"""Tenants whose tokens become unknown in one minute, from which on it is no matter of one token."""


def examine_unavailable(scene: Scene) -> Found | None:
    """The request was answered 503: nobody could say what the token is."""
    if scene.reason != Reason.SOURCE_UNAVAILABLE or scene.by_backend:
        return None
    state = scene.then.state if scene.then else None
    why = state.why if isinstance(state, Unavailable) else "not recorded"
    source = scene.then.source if scene.then else "the source"
    tenants = {i.tenant for i in scene.others.incidents if i.reason == Reason.SOURCE_UNAVAILABLE}
    return Found(
        Confidence.CERTAIN,
        f"{source} did not answer ({why}); nothing was refused.",
        evidence_for=(
            f"Reading {source} at {utc(scene.at)}: {why}.",
            *((f"The same happened to {len(tenants)} other tenants in that minute.",) if tenants else ()),
        ),
        words={"source": source, "why": why},
    )


def examine_replica_lag(scene: Scene) -> Found | None:
    """Missing, and there a moment later; or missing on the replica and there on the primary."""
    first = scene.incident.reading if scene.incident else None
    if first and first.via == "replica" and isinstance(first.state, Unknown) and scene.alive_then and scene.then is not first:
        return _lag(scene, Confidence.CERTAIN, first, scene.then, ())
    healed = scene.healed
    if healed is None or not isinstance(healed.state, Known) or ended(healed.state, scene.now) is not None:
        return None
    if healed.state.created_at > scene.now:
        return None
    soon = healed.read_at - scene.at <= SOON
    age = scene.now - healed.state.created_at
    young = age <= AT_THE_TIME
    against = (
        *(
            ("It had worked here before, so the row was no new one.",)
            if was_known(scene) and (scene.confirmed or not young)
            else ()
        ),
        *((f"The row is {span(age)} old: no copy is so far behind.",) if age > FAR_BEHIND else ()),
        *(
            (f"The primary itself lacked it, and the row is {span(age)} old: it may have been put back.",)
            if scene.confirmed and LONG_OPEN < age <= FAR_BEHIND
            else ()
        ),
        *(("A file has no copy: the entry may have been written after the refusal.",) if scene.in_a_file else ()),
        *(("It came back late enough for a repair by hand.",) if not soon and not young else ()),
    )
    found = _lag(scene, Confidence.POSSIBLE if against else Confidence.LIKELY, scene.then, healed, against)
    return msgspec.structs.replace(found, instead=COMMITTED_LATE if scene.confirmed else None)


COMMITTED_LATE: Final = Advice(
    operator="The row could be read {behind} after it had been refused: its transaction was committed late, or what is set as "
    "dsn is a copy and not the primary. Nothing has to change at the client but to try again.",
    customer="A token that had just been issued was refused once because of a delay on our side. It is accepted now: please "
    "run the failed provisioning tasks of {client} again.",
)
"""In place of what is said about a replica, where none was asked."""


def _lag(
    scene: Scene, confidence: Confidence, first: Reading | None, second: Reading | None, against: tuple[str, ...]
) -> Found:
    looks = [r for r in (first, second) if r is not None]
    return Found(
        confidence,
        "The row existed already, but the copy that was asked did not have it yet.",
        evidence_for=tuple(
            f"{r.source} ({r.via}) at {utc(r.read_at)}: {'no such token' if isinstance(r.state, Unknown) else 'alive'}."
            for r in looks
        ),
        evidence_against=against,
        words={"behind": span(max((r.read_at for r in looks), default=scene.at) - scene.at)},
        times={"seen_at": second.read_at if second else None},
    )


def _alive_elsewhere(scene: Scene) -> Reading | None:
    """Another source that had the token, alive, at the same time."""
    mine = scene.then.source if scene.then else ""
    looks = [r for r in scene.evidence.readings if r.source != mine and abs(r.read_at - scene.at) <= AT_THE_TIME]
    alive = [r for r in looks if isinstance(r.state, Known) and ended(r.state, r.source_time or r.read_at) is None]
    return min(alive, key=lambda r: (r.read_at, repr(r)), default=None)


def _by_introspection(scene: Scene) -> bool:
    return scene.then is not None and "introspection" in (scene.then.source, scene.then.via)


def examine_introspection(scene: Scene) -> Found | None:
    """Introspection says inactive; the table or the backend says alive."""
    if not _by_introspection(scene):
        return _denied_beside_a_table(scene)
    if not scene.gone:
        return None
    other, accepted = _alive_elsewhere(scene), scene.served
    if other is None and not accepted:
        return None
    return Found(
        Confidence.CERTAIN if other else Confidence.LIKELY,
        "Introspection calls the token inactive although it is alive.",
        evidence_for=(
            f"Introspection at {utc(scene.at)}: inactive.",
            *((f"{other.source} ({other.via}) at {utc(other.read_at)}: alive.",) if other else ()),
            *(("The backend accepted it.",) if accepted else ()),
        ),
        missing=() if other else ("a reading of the table",),
    )


def _denied_beside_a_table(scene: Scene) -> Found | None:
    """The table has it alive, so that it was let through; an endpoint that is asked of the same tokens calls it inactive, and
    the backend refused it: as one does that asks the endpoint itself."""
    said = next((r for r in scene.evidence.readings if _denies(scene, r)), None)
    around = [a for a in surroundings_of(scene.evidence) if a.cross_checked]
    if said is None or not around or not scene.alive_then or scene.backend is None or scene.backend.status != 401:
        return None
    if not scene.by_backend or any(_is_over(look) for look in scene.later):
        return None
    against = tuple(_against_blindness(scene, min((a.differs_since for a in around if a.differs_since), default=None)))
    there = scene.then.source if scene.then else "the table"
    missing = () if scene.confirmed else ("a reading of the primary",)
    return Found(
        Confidence.POSSIBLE if against or missing else Confidence.LIKELY,
        "Introspection calls the token inactive although the table has it alive; the backend refused it as well.",
        evidence_for=(
            f"{there} at {utc(scene.then.read_at if scene.then else None)}: alive.",
            f"Introspection at {utc(said.read_at)}: inactive.",
            f"The backend ({scene.backend.address}) at {utc(scene.at)}: 401, as if it asked the endpoint itself.",
        ),
        evidence_against=against,
        missing=missing,
    )


def _denies(scene: Scene, reading: Reading) -> bool:
    """Says no more than inactive: of another audience, or that it is a refresh token, would be a reason."""
    return reading.via == "introspection" and reading.state == Unknown() and abs(reading.read_at - scene.at) <= AT_THE_TIME


def _is_over(look: Reading) -> bool:
    """The table came to the same view as the endpoint: then that was right, and only earlier."""
    state = look.state
    if isinstance(state, Known):
        return ended(state, look.source_time or look.read_at) is not None
    return isinstance(state, Unknown) and look.via != "introspection"


def _against_blindness(scene: Scene, since: float | None) -> Iterator[str]:
    if since is not None and scene.last_good is not None and scene.last_good > since:
        yield f"It was called inactive since {utc(since)} at least, and the backend took it at {utc(scene.last_good)}."
    if scene.served or any(v.accepted for v in scene.evidence.backend_verdicts if _lately(scene, v)):
        yield "Another answer of the backend took it at that time: it does not go by the endpoint."
    if _of_a_source_that_is_not_served(scene) is not None:
        yield "The backend has never served a token of this table: it may be that of another environment."


def _lately(scene: Scene, verdicts: BackendVerdicts) -> bool:
    """It accepted the token after another instance, or it itself, had begun to refuse."""
    refused = [v.first_refused for v in scene.evidence.backend_verdicts if v.first_refused is not None]
    return verdicts.last_accepted is not None and verdicts.last_accepted > min(refused, default=scene.at)


def examine_environment(scene: Scene) -> Found | None:
    """Another configured source knows the token."""
    if scene.by_backend:
        return _of_a_source_that_is_not_served(scene)
    other = _alive_elsewhere(scene)
    if not scene.gone or other is None or _by_introspection(scene) or scene.healed:
        return None
    here = scene.then.source if scene.then else "this source"
    of_there = scene.before is not None and str(scene.before.row).startswith(f"{other.source}:")
    worked = Confidence.LIKELY if of_there else Confidence.POSSIBLE
    return Found(
        worked if was_known(scene) else Confidence.CERTAIN,
        f"The token lives in {other.source}, not in {here}.",
        evidence_for=(f"{here} at {utc(scene.at)}: no such token.", f"{other.source} at {utc(other.read_at)}: alive."),
        evidence_against=("It had worked here before.",) if was_known(scene) else (),
        words={"here": here, "there": other.source},
    )


def _of_a_source_that_is_not_served(scene: Scene) -> Found | None:
    """Every token of the source that knows it was refused by the backend so far, and those of another source are served."""
    served = scene.incident.served if scene.incident else {}
    there = scene.then.source if scene.then else ""
    others = sorted(source for source, count in served.items() if source != there and count >= SERVED)
    if not scene.alive_then or not others or served.get(there) or scene.last_good is not None:
        return None
    return Found(
        Confidence.LIKELY,
        f"The token lives in {there}, whose tokens the backend does not know; it serves those of {listed(others)}.",
        evidence_for=(
            f"{there} at {utc(scene.then.read_at if scene.then else None)}: alive. The backend refused it.",
            *(f"The backend served {served[source]} requests with tokens of {source}." for source in others),
            f"It has served none with a token of {there}.",
        ),
        words={"here": others[0], "there": there},
    )


def lost_together(scene: Scene) -> tuple[str, ...]:
    """The tenants whose tokens became unknown in the same minute, if they are many."""
    tenants = sorted({i.tenant for i in scene.others.incidents if i.reason == Reason.UNKNOWN})
    return tuple(tenants) if len(tenants) >= MANY_TENANTS else ()


def examine_hashing(scene: Scene) -> Found | None:
    """The other stored form of the token is in the table; or many tenants lost theirs in the same minute."""
    if not scene.gone or scene.healed or not scene.presented:
        return None
    match = other_form(scene)
    over = ended(scene.before, scene.now) if scene.before is not None else None
    many = lost_together(scene)
    otherwise = match is None and OTHERWISE in scene.flags
    if match is None and not many and not otherwise:
        return None
    forms = sorted(flag.removeprefix("stored_as_") for flag in scene.flags if flag.startswith("stored_as_"))
    return Found(
        _strength(many=bool(many), match=match is not None, otherwise=otherwise) if not over else Confidence.POSSIBLE,
        "The token is stored in another form than the one that is looked for."
        if match or otherwise
        else "Tokens of many tenants became unknown at once.",
        evidence_for=(
            *((f"The same token is there (row {match.row}), stored as {listed(forms) or 'the other form'}.",) if match else ()),
            *(("Its row is there, and holds a digest or cipher text in place of a token.",) if otherwise else ()),
            *((f"Unknown in the same minute: tokens of {listed(many)}.",) if many else ()),
        ),
        evidence_against=(f"It had {over} before, in whatever form it is stored.",) if over else (),
        missing=() if match else ("a match of the other stored form",),
        words={"forms": listed(forms) or "another form"},
        instead=UNREADABLE if otherwise else None,
    )


def _strength(*, many: bool, match: bool, otherwise: bool) -> Confidence:
    if match:
        return Confidence.CERTAIN if many else Confidence.LIKELY
    return Confidence.LIKELY if many and otherwise else Confidence.POSSIBLE


UNREADABLE: Final = Advice(
    operator="The rows are there, and what they hold is neither the token nor its SHA-256: the way of storing was changed. "
    "This source reads those two forms only. Compare with what the backend accepts; see first that the row itself is alive.",
    customer="Your access token is one of ours; a change on our side kept it from being recognised. For now nothing has to be "
    "changed. When we have corrected it, please run the failed provisioning tasks of {client} again.",
)
"""In place of the advice to look for the other form."""


UNAVAILABLE: Final = Rule(
    Code.SOURCE_UNAVAILABLE,
    "The database or the introspection endpoint could not be asked. Nothing was refused.",
    "The reading itself failed (refused, timeout, error), and the answer was 503, never 401.",
    "Not a token problem: {source} did not answer ({why}). Check it from this machine: scim-witness doctor.",
    "For a short time we could not check access tokens and asked {client} to try again later. Your token was not refused, and "
    "nothing has to be changed.",
    examine_unavailable,
)

LAG: Final = Rule(
    Code.REPLICA_LAG,
    "The copy of the database that was asked did not have the row yet.",
    "The primary had the row alive when the replica lacked it, or a re-read within seconds finds a row that was created before "
    "the refusal and that had not been known here: at most an hour before where a replica alone was asked, five minutes where "
    "the primary lacked it (a transaction that was committed late). An older row, or one that worked, was put back, and an "
    "entry of a token file was written.",
    "The copy was about {behind} behind. Let second looks go to the primary, and watch the replication; nothing has to change "
    "at the client but to try again.",
    "A token that had just been issued was refused once because of a delay on our side. It is accepted now: please run the "
    "failed provisioning tasks of {client} again.",
    examine_replica_lag,
)

INTROSPECTION: Final = Rule(
    Code.INTROSPECTION_BLIND,
    "The introspection endpoint calls a live token inactive.",
    "Introspection says inactive while the table, or the backend itself, has the token alive at the same time. Where a table "
    "decides and an endpoint is compared with it, also when the backend refuses what the table has alive and the endpoint "
    "calls inactive (likely, unless the backend took it while the endpoint did not).",
    "The introspection client may not see this application's tokens: configure allow_token_introspection (doorkeeper#1833), or "
    "read the table.",
    "Your access token is valid; a check on our side was set up wrongly. Nothing has to be changed. When we have corrected it, "
    "please run the failed provisioning tasks of {client} again.",
    examine_introspection,
)

ENVIRONMENT: Final = Rule(
    Code.WRONG_ENVIRONMENT,
    "The token belongs to another environment.",
    "This source has no such token and none is known to have been there, and another configured source has it alive; or the "
    "only source that has it is one of which "
    "the backend has served no token, while it serves those of another.",
    "The token is of {there} and was presented to {here}. Correct the base URL or the token at {client}.",
    "{client} uses an access token of another environment of ours. Please check the base URL, and enter the token that belongs "
    "to it. {steps}",
    examine_environment,
)

HASHING: Final = Rule(
    Code.HASHING_SWITCHED,
    "Doorkeeper's hash_token_secrets was switched on (or its strategy changed), and old rows are not found any more.",
    "The other stored form of the presented token is in the table; as a rule many tenants become unknown at once. Or the rows "
    "of many tenants hold digests or cipher text of another kind from one minute to the next.",
    "The row is stored as {forms}. Enable `hash_token_secrets fallback: :plain` at Doorkeeper and set the same form for this "
    "source; see first that the row itself is alive.",
    "Your access token is one of ours; a change on our side kept it from being recognised. For now nothing has to be changed. "
    "When we have corrected it, please run the failed provisioning tasks of {client} again.",
    examine_hashing,
)
