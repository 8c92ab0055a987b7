"""The one ordered list of causes, and `diagnose`.

Order is rank: a special cause stands before the general one that it is a case of. A rule that is certain or likely beats
every merely possible one; if all are merely possible, nothing is named: `undetermined` with the best candidates.
"""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.backend import DISAGREES, SKEW
from proxy.core.diagnosis.cause import Advice, Cause, Code, Confidence, Diagnosis, Found, Rule
from proxy.core.diagnosis.clients import client_of
from proxy.core.diagnosis.evidence import Evidence
from proxy.core.diagnosis.expired import CLOCK_SKEW, EXPIRED
from proxy.core.diagnosis.gone import DELETED, UNKNOWN
from proxy.core.diagnosis.oauth import FAILED, IMPOSSIBLE, REFUSED_TOKEN, is_oauth
from proxy.core.diagnosis.presented import HEADER_MISSING, MANGLED, WRONG_KIND
from proxy.core.diagnosis.revoked import REVOKED, ROTATED
from proxy.core.diagnosis.rights import OWNER, SCOPE, TENANT
from proxy.core.diagnosis.scene import AROUND, Scene, set_scene
from proxy.core.diagnosis.signed_in import instead
from proxy.core.diagnosis.silence import NEVER_ARRIVED, SILENT
from proxy.core.diagnosis.sources import ENVIRONMENT, HASHING, INTROSPECTION, LAG, UNAVAILABLE
from proxy.core.diagnosis.strangers import NULL_REFRESH
from proxy.core.diagnosis.superseded import SHARED, SUPERSEDED
from proxy.core.diagnosis.told import NO_REASON, said_of_it, without_rows
from proxy.core.diagnosis.words import utc


def _never(_: Scene) -> Found | None:
    return None


UNDETERMINED: Final = Rule(
    Code.UNDETERMINED,
    "The evidence does not decide.",
    "No rule found enough. The two best candidates and what is missing are named.",
    "Not decided. {candidates} {missing}",
    "We are looking into why {client} was refused at {at} and will come back to you. If you changed anything in its set-up "
    "before that time, please tell us what and when.",
    _never,
)

ASKED_FOR_A_TIME: Final = Advice(
    UNDETERMINED.operator,
    "We are looking into what became of the requests of {client} between {start} and {end} and will come back to you. Please "
    "tell us when you saw a failure, and the text of the error.",
)
"""What is said of no incident but of a time: nothing is known to have been refused at its end."""

CATALOGUE: Final[tuple[Rule, ...]] = (
    UNAVAILABLE,
    WRONG_KIND,
    MANGLED,
    HEADER_MISSING,
    INTROSPECTION,
    ENVIRONMENT,
    LAG,
    HASHING,
    CLOCK_SKEW,
    NULL_REFRESH,
    ROTATED,
    SHARED,
    SUPERSEDED,
    FAILED,
    IMPOSSIBLE,
    EXPIRED,
    REVOKED,
    DELETED,
    OWNER,
    SCOPE,
    TENANT,
    SKEW,
    DISAGREES,
    UNKNOWN,
    SILENT,
    NEVER_ARRIVED,
    UNDETERMINED,
)


OF_OAUTH: Final = (ROTATED, FAILED)
"""Rules that may speak of a refusal by the token endpoint; the others are about bearer tokens."""


def diagnose(evidence: Evidence) -> Diagnosis:
    """Name the cause. Pure and total: the same evidence, in whatever order, gives the same answer; nothing missing raises."""
    scene = set_scene(evidence)
    rules = OF_OAUTH if is_oauth(scene) else CATALOGUE
    found = [_cause(rule, result, scene) for rule in rules if (result := rule.examine(scene)) is not None]
    strong = [c for c in found if c.confidence is not Confidence.POSSIBLE]
    ranked = (*strong, *(c for c in found if c.confidence is Confidence.POSSIBLE))
    if strong:
        return Diagnosis(ranked[0], ranked[1] if len(ranked) > 1 else None, ranked)
    if is_oauth(scene) and (told := REFUSED_TOKEN.examine(scene)) is not None:
        return Diagnosis(_cause(REFUSED_TOKEN, told, scene), ranked[0] if ranked else None, ranked)
    return Diagnosis(_undetermined(scene, ranked), ranked[0] if ranked else None, ranked)


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"(unknown {key})"


def _agent(scene: Scene) -> str:
    activity = scene.evidence.activity
    return scene.incident.exchange.user_agent if scene.incident else activity.last_user_agent if activity else ""


def _fill(template: str, scene: Scene, words: dict[str, str]) -> str:
    client = client_of(_agent(scene))
    common = {
        "client": client.name,
        "steps": f"Where: {client.place}, enter the {client.field}. Then {client.again}.",
        "signin": f"Where: {client.place}, sign in again; there is no token to enter. Then {client.again}.",
        "bearer": client.bearer_hint,
        "at": utc(scene.at),
    }
    text = template.format_map(_Words(common | words))
    return text[:1].upper() + text[1:]


def _cause(rule: Rule, found: Found, scene: Scene) -> Cause:
    advice = instead(scene, rule.code) or found.instead or Advice(rule.operator, rule.customer)
    times = {"at": scene.at, "last_good_at": scene.last_good, "failing_since": scene.failing_since} | found.times
    return Cause(
        rule.code,
        found.confidence,
        found.title,
        found.evidence_for,
        found.evidence_against,
        found.missing,
        _fill(advice.operator, scene, found.words),
        _fill(advice.customer, scene, found.words),
        {name: at for name, at in times.items() if at is not None},
        found.findings,
    )


def _undetermined(scene: Scene, candidates: tuple[Cause, ...]) -> Cause:
    best, asked = candidates[:2], scene.evidence.absence
    named = " or ".join(f"{c.code} ({c.title})" for c in best)
    missing = tuple(dict.fromkeys(line for c in best for line in c.missing)) or _gaps(scene)
    return _cause(
        UNDETERMINED,
        Found(
            Confidence.POSSIBLE,
            f"The evidence does not decide; best candidates: {' and '.join(c.code for c in best)}."
            if best
            else "The evidence does not decide, and no cause of the catalogue fits.",
            evidence_for=tuple(f"{c.code}: {line}" for c in best for line in c.evidence_for) or said_of_it(scene),
            evidence_against=tuple(f"{c.code}: {line}" for c in best for line in c.evidence_against),
            missing=missing,
            words={
                "candidates": f"It may be {named}." if best else "No known cause fits.",
                "missing": f"Missing: {'; '.join(missing)}." if missing else "",
                "start": utc(asked.start if asked else None),
                "end": utc(asked.end if asked else None),
            },
            instead=ASKED_FOR_A_TIME if asked and scene.incident is None else None,
        ),
        scene,
    )


def _gaps(scene: Scene) -> tuple[str, ...]:
    """What would help when no rule fits at all."""
    gaps = {
        "the incident": scene.incident is None,
        "the token's state at that moment": scene.incident is not None and scene.then is None and scene.presented,
        NO_REASON: scene.gone and scene.presented and without_rows(scene),
        AROUND: scene.presented and not scene.searched,
        "the token's history": scene.presented and scene.evidence.history is None and scene.last_good is None,
    }
    return tuple(name for name, absent in gaps.items() if absent)
