"""The client presents an older token: `token_superseded` (another was issued in its place) and `shared_token`.

A newer row explains the end of a token only when it was made *at* that end. One that was made much later is the repair.
"""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.clients import by_hand
from proxy.core.diagnosis.doers import doers
from proxy.core.diagnosis.evidence import OauthEvent
from proxy.core.diagnosis.scene import Scene, ended, other_form
from proxy.core.diagnosis.sources import OTHERWISE, lost_together
from proxy.core.diagnosis.words import listed, span, utc
from proxy.core.history import ClientIdentity
from proxy.core.token import Known, Sibling

ONE_EVENT: Final = 5.0
"""Seconds between revoking the old row and inserting the new one in a single regeneration, slow transactions included."""
REPLACED: Final = "secret_replaced"
"""The flag of a look around a row that is there and holds another secret."""
SAME_TIME: Final = 3_600.0
"""Seconds without a request of either client within which both still count as at work: identity providers poll by the hour."""
OFTEN: Final = 3
"""Requests of a client from which on it is at work, and no try."""
SAME_INSTANT: Final = 0.001
"""Seconds: Doorkeeper's revoke_all_for gives all rows one revoked_at; what died with this token did not replace it."""
HANDOVER: Final = 86_400.0
"""Seconds for which a vendor lets old and new token live side by side before the old one is revoked."""
REPAIR: Final = 1.0
"""Seconds from a first refusal to a newer row, from which on that row is the answer to the refusal: the statements of one
regeneration follow each other faster, and clocks agree no better."""
EXACT: Final = 60.0
"""Seconds: an observed interval of death this short leaves a newer row in it no other meaning."""


def revoked_at(scene: Scene) -> float | None:
    """When the row (as it was then, or as last seen) was revoked, if that was in force at the moment."""
    row = scene.last_row
    return row.revoked_at if row and row.revoked_at is not None and row.revoked_at <= scene.now else None


def replacements(scene: Scene) -> tuple[Sibling, ...]:
    """Newer rows of the same application and owner that are no products of a refresh and outlived this one."""
    row = scene.last_row
    if row is None or (row.application is None and row.owner is None and not scene.in_a_file):
        return ()
    refreshed = {s.row for s in scene.related("successor")}
    renewed = {e.created for e in scene.evidence.oauth if e.grant_type == "refresh_token" and 200 <= e.status < 300} - {""}
    newer = (s for s in scene.related("newer") if s.row not in refreshed and _same_party(s, row))
    newer = (s for s in newer if s.fingerprint not in renewed)
    end = revoked_at(scene)
    return tuple(s for s in newer if end is None or s.revoked_at is None or s.revoked_at > end + SAME_INSTANT)


def replacement_at(scene: Scene, instant: float) -> Sibling | None:
    """The replacement made within seconds of an instant of the source's clock, the nearest if several."""
    near = [s for s in replacements(scene) if abs(s.created_at - instant) <= ONE_EVENT]
    return min(near, key=lambda s: (abs(s.created_at - instant), repr(s)), default=None)


def examine_superseded(scene: Scene) -> Found | None:
    """Row revoked or gone, and a newer one made at that moment."""
    row = scene.last_row
    if row is not None and REPLACED in scene.flags and scene.gone and not scene.healed:
        same = other_form(scene) is not None or ended(row, scene.now) is not None
        return None if same else _in_place(scene, row)
    if row is None or not replacements(scene) or scene.healed:
        return None
    end = revoked_at(scene)
    if end is not None:
        return _at_revocation(scene, row, end)
    if scene.gone and (row.expires_at is None or row.expires_at >= scene.now):
        return _at_disappearance(scene, row)
    return None


def _in_place(scene: Scene, row: Known) -> Found:
    """The row is there, and holds another secret than the one presented."""
    start, end = scene.vanished
    together = lost_together(scene) if row.stored != "plain" else ()
    against = (
        *(
            ("What the row holds now is no token like this one: the way of storing may have changed.",)
            if OTHERWISE in scene.flags
            else ()
        ),
        *((f"The tokens of {listed(together)} became unknown in the same minute.",) if together else ()),
    )
    return Found(
        Confidence.POSSIBLE if against else Confidence.CERTAIN if scene.confirmed else Confidence.LIKELY,
        f"The client still presents the secret that row {row.row} held up to {utc(start)}; the row holds another one since.",
        evidence_for=(f"Row {row.row} exists and its secret was replaced between {utc(start)} and {utc(end)}.",),
        evidence_against=against,
        words={
            "issued": utc(row.created_at),
            "newer": f"between {utc(start)} and {utc(end)}",
            "enter": f"between {utc(start)} and {utc(end)}",
        },
        times={"issued_at": row.created_at, "last_seen_at": start, "missing_at": end},
        findings=("replaced_in_place",),
    )


def _at_revocation(scene: Scene, row: Known, end: float) -> Found:
    exact = replacement_at(scene, end)
    if exact is not None:
        refreshing = row.refreshable and exact.refreshable is not False and not scene.no_refresh(exact)
        against = ("The token had a refresh token; a refresh at that moment could look the same.",) if refreshing else ()
        line = f"The newer token was issued {span(exact.created_at - end)} from the moment at which this one was revoked."
        shared = _perhaps_shared(scene)
        repair = _repair(scene, exact, end)
        strong = Confidence.LIKELY if against else Confidence.CERTAIN
        # a refresh issues first and ends the old one later; regenerating ends it first, or both in one transaction
        undecided = shared or repair or (refreshing and exact.refreshable and exact.created_at < end)
        return _found(scene, row, exact, Confidence.POSSIBLE if undecided else strong, line, (*against, *shared, *repair))
    since = scene.source_time(scene.last_good) if scene.last_good is not None else None
    before = [s for s in replacements(scene) if since is not None and since <= s.created_at <= end]
    if before and end - before[-1].created_at <= HANDOVER and not row.refreshable:
        later = span(end - before[-1].created_at)
        line = f"The newer token was issued after this one last worked, and this one was revoked {later} later."
        return _found(scene, row, before[-1], Confidence.LIKELY, line, ())
    other = min(replacements(scene), key=lambda s: (abs(s.created_at - end), repr(s)))
    against = (f"The newer token was issued {span(other.created_at - end)} from the revocation: too far to be one event.",)
    return _found(scene, row, other, Confidence.POSSIBLE, f"A newer token of the same {_party(row)} exists.", against)


def _repair(scene: Scene, newer: Sibling, alive: float | None) -> tuple[str, ...]:
    """Why a newer row is the answer to a refusal and not what led to it: this token was refused before, and not because of
    something else while it was still `alive` (source's clock; None: it was not seen alive)."""
    refused = scene.source_time(scene.failing_since)
    if newer.created_at <= refused + REPAIR or (alive is not None and refused < alive):
        return ()
    return (f"The newer token was issued {span(newer.created_at - refused)} after this one was first refused.",)


def _at_disappearance(scene: Scene, row: Known) -> Found:
    start, end = scene.vanished
    low = scene.source_time(start) - ONE_EVENT if start is not None else end
    high = scene.source_time(end) + ONE_EVENT
    made = [s for s in replacements(scene) if low <= s.created_at <= high]
    inside = [s for s in made if not _repair(scene, s, scene.source_time(start) if start is not None else None)]
    if not inside:
        against = (
            _repair(scene, made[0], None)
            if made
            else ("The newer token was not issued between the last sight of this one and its absence.",)
        )
        line = f"The row is gone and a newer token of the same {_party(row)} exists."
        return _found(scene, row, replacements(scene)[-1], Confidence.POSSIBLE, line, against)
    line = f"The row vanished between {utc(start)} and {utc(end)}, and the newer token was issued in that time."
    strangers = {d.tenant for d in scene.others.deaths if d.how == "deleted"} - {row.tenant}
    if strangers:
        against = (f"Tokens of other tenants vanished in the same minute ({listed(sorted(strangers))}): a clean-up.",)
        return _found(scene, row, inside[0], Confidence.POSSIBLE, line, against)
    exact = start is not None and end - start <= EXACT and scene.confirmed
    strong = Confidence.CERTAIN if exact else Confidence.LIKELY if scene.confirmed else Confidence.POSSIBLE
    return _found(scene, row, inside[0], strong, line, ())


def _party(row: Known) -> str:
    """What a token and its replacement have in common. An entry of a token file may name no more than its tenant."""
    return "tenant" if row.application is None and row.owner is None else "application and owner"


def _found(scene: Scene, row: Known, newer: Sibling, confidence: Confidence, line: str, against: tuple[str, ...]) -> Found:
    end = revoked_at(scene)
    state = f"The token's row was revoked at {utc(end)}." if end is not None else "The token's row is gone."
    party = _party(row)
    by = doers(scene, end) if scene.mass and end is not None else ()
    alive = [s for s in replacements(scene) if _lives(s, scene.now)]
    used = "" if newer.used is None else f"The newer token has {'' if newer.used else 'not '}been used."
    late = scene.last_good is not None and end is not None and scene.source_time(scene.last_good) > end + ONE_EVENT
    return Found(
        Confidence.LIKELY if (late or party == "tenant") and confidence is Confidence.CERTAIN else confidence,
        f"The client still presents the token issued {utc(row.created_at)}; a newer one of the same {party} "
        f"has replaced it since {utc(newer.created_at)}.",
        evidence_for=(
            *filter(None, (state, f"Same {party}: issued {utc(newer.created_at)}.", line, used)),
            *by,
        ),
        evidence_against=against + (("The token was accepted after it had been revoked.",) if late else ()),
        missing=() if scene.last_good is not None else ("when the token last worked",),
        words={
            "issued": utc(row.created_at),
            "newer": utc(newer.created_at),
            "enter": utc(alive[-1].created_at if alive else None),
        },
        times={"issued_at": row.created_at, "newer_at": newer.created_at, "revoked_at": end},
        instead=SIGNED_IN_BESIDE if _by_code(scene, newer) else None if alive else DEAD_TOO,
        findings=("mass_revocation",) if scene.mass and end is not None else (),
    )


DEAD_TOO: Final = Advice(
    operator="The token issued {newer} took its place and has ended as well. Issue a new one, have it entered at {client}, and "
    "tell the customer to resubmit what failed.",
    customer="{client} still sends the access token issued {issued}. It was replaced {newer} and is no longer accepted, nor is "
    "the one that replaced it. We will give you a new one. {steps}",
)
"""In place of the advice to enter the newer token."""


SIGNED_IN_BESIDE: Final = Advice(
    operator="The token issued {newer} is not to be entered: a connection that signs in was given it for the same application "
    "and owner, and this token ended with that. Find out which of the two connections shall stay. If it is the one with the "
    "entered token, issue that under an application or owner of its own, or the next sign-in ends it again.",
    customer="{client} still sends the access token issued {issued}. It ended {newer}, when a connection was authorized by "
    "signing in. If that was meant to take its place, please use that connection alone; if not, tell us, and we will give you "
    "a new token.",
)
"""In place of either, where the newer token went to a client that fetches its tokens by itself."""


def _by_code(scene: Scene, newer: Sibling) -> bool:
    issued = (e for e in scene.evidence.oauth if e.created and e.created == newer.fingerprint)
    return any(e.grant_type == "authorization_code" and 200 <= e.status < 300 for e in issued)


def refresh_of(scene: Scene, end: float) -> OauthEvent | None:
    """The last granted refresh in which this token's refresh token was presented, before it ended and before the incident."""
    mine = [e for e in scene.evidence.oauth if e.presented and e.presented == scene.fingerprint]
    granted = [e for e in mine if e.grant_type == "refresh_token" and 200 <= e.status < 300 and e.at <= scene.at]
    granted = [e for e in granted if scene.source_time(e.at) <= end + ONE_EVENT]
    return max(granted, key=lambda e: (e.at, repr(e)), default=None)


def _lives(sibling: Sibling, now: float) -> bool:
    if sibling.revoked_at is not None and sibling.revoked_at <= now:
        return False
    return sibling.expires_in is None or sibling.created_at + sibling.expires_in >= now


def _same_party(sibling: Sibling, row: Known) -> bool:
    """A sibling that names its application or owner must name ours."""
    same_application = sibling.application is None or sibling.application == row.application
    return same_application and (sibling.owner is None or sibling.owner == row.owner)


def examine_shared(scene: Scene) -> Found | None:
    """One secret in two connections (reuse_access_token), and then it was replaced for one of them."""
    row, end = scene.last_row, revoked_at(scene)
    newer = replacement_at(scene, end) if end is not None else None
    pair = _two_connections(scene)
    if row is None or newer is None or pair is None:
        return None
    first, second = pair
    people, at_once, repair = _by_people(pair), _overlap(first, second), _repair(scene, newer, end)
    doubtful = people or repair or not at_once or min(first.count, second.count) < OFTEN
    return Found(
        Confidence.POSSIBLE if doubtful else Confidence.LIKELY,
        f"Two connections, {first.agent} and {second.agent}, held the same token; it was replaced {utc(newer.created_at)}.",
        evidence_for=(
            f"{first.agent} used it from {utc(first.first)} to {utc(first.last)}.",
            f"{second.agent} used it from {utc(second.first)} to {utc(second.last)}"
            + (": at the same time." if at_once else ", within the same hour."),
            f"A newer token was issued {utc(newer.created_at)}, when this one was revoked.",
        ),
        evidence_against=(
            *(("One of the two is a tool that people use by hand.",) if people else ()),
            *(() if at_once else ("One may have taken the place of the other.",)),
            *repair,
        ),
        words={"first": first.agent, "second": second.agent, "newer": utc(newer.created_at)},
        times={"newer_at": newer.created_at, "revoked_at": end},
    )


def _two_connections(scene: Scene) -> tuple[ClientIdentity, ClientIdentity] | None:
    """The two busiest client identities of different agents whose times of use overlap or touch. Prefixes alone say nothing:
    one client leaves from many addresses."""
    history = scene.incident.history if scene.incident and scene.incident.history else scene.evidence.history
    clients = sorted(history.clients if history else (), key=lambda c: (by_hand(c.agent), -c.count, repr(c)))
    pairs = ((a, b) for i, a in enumerate(clients) for b in clients[i + 1 :])
    return next((p for p in pairs if p[0].agent != p[1].agent and _overlap(*p, slack=SAME_TIME)), None)


def _overlap(a: ClientIdentity, b: ClientIdentity, slack: float = 0.0) -> bool:
    return a.first < b.last + slack and b.first < a.last + slack


def _by_people(pair: tuple[ClientIdentity, ClientIdentity]) -> bool:
    return any(by_hand(client.agent) for client in pair)


def _perhaps_shared(scene: Scene) -> tuple[str, ...]:
    """Two clients at work within an hour of each other: whether one replaced the other or both go on cannot be told."""
    pair = _two_connections(scene)
    if pair is None or _by_people(pair) or min(client.count for client in pair) < OFTEN:
        return ()
    return (f"{pair[0].agent} and {pair[1].agent} both used it within the same hour; they may have shared it.",)


SUPERSEDED: Final = Rule(
    Code.TOKEN_SUPERSEDED,
    "The client still presents an older token of the same application and owner; a newer one has taken its place.",
    "The row is revoked or gone, and a newer row of the same application and owner was created at that moment: within "
    "seconds of revoked_at, or between the last good answer and the first failure. One made much later, or after this token "
    "had been refused, is a repair. A row that holds a digest or cipher text where it held a token "
    "was not given another one. In a token file: an entry that has another digest under its name, or a newer one; where the "
    "entries name neither application nor owner, a newer one of the same tenant is likely the replacement, and no more.",
    "Enter the token issued {enter} at {client}; if nobody kept it, regenerate once more and enter that one at once. Then tell "
    "the customer to resubmit what failed.",
    "{client} still sends the access token issued {issued}. It was replaced {newer} and is no longer accepted: please "
    "enter the new one. {steps}",
    examine_superseded,
)

SHARED: Final = Rule(
    Code.SHARED_TOKEN,
    "Two connections hold one and the same token (Doorkeeper's reuse_access_token), and it was replaced for one of them.",
    "One token came from two different clients over the same time, and then a newer row was created as it was revoked. Two "
    "addresses of one client prove nothing.",
    "Two connections share one token: {first} and {second}. Give each its own application or owner, or switch "
    "reuse_access_token off; then enter the new token ({newer}) at the one that still sends the old.",
    "The access token of this connection was also used by a second connection and was replaced {newer}. It needs "
    "a token that no other connection uses. {steps}",
    examine_shared,
)
