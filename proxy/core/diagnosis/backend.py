"""The source holds the token valid and the backend says no: `backend_disagrees`, `backend_instance_skew`."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import BackendVerdicts
from proxy.core.diagnosis.rights import OUT
from proxy.core.diagnosis.scene import Scene, refused_beside, source_of
from proxy.core.diagnosis.told import INTROSPECTION
from proxy.core.diagnosis.words import listed, utc
from proxy.core.token import Known, Unknown


def examine_disagreement(scene: Scene) -> Found | None:
    """A fresh reading had it alive at the moment of the backend's refusal."""
    if not scene.by_backend or not scene.alive_then or scene.then is None:
        return None
    second = scene.incident.second_look if scene.incident else None
    fresh = second is not None and second is scene.then
    doubts = _doubts(scene)
    answer = scene.backend
    said = listed(sorted(answer.www_authenticate)) if answer else ""
    return Found(
        Confidence.POSSIBLE if doubts or not fresh else Confidence.CERTAIN,
        f"The backend refused ({answer.status if answer else 401}) a token that {scene.then.source} held valid at that moment.",
        evidence_for=(
            f"{scene.then.source} ({scene.then.via}) at {utc(scene.then.read_at)}: alive.",
            *((f"The backend {answer.address} answered {answer.status}; its challenge: {said or 'none'}.",) if answer else ()),
        ),
        evidence_against=doubts,
        missing=() if fresh else ("a fresh reading at the moment of the refusal",),
        words={"address": answer.address if answer else "the backend", "hint": _hint(scene)},
        times={"read_at": scene.then.read_at},
        instead=FORBIDDEN if answer is not None and answer.status == 403 else HELD_BACK if _held_back(scene) else None,
    )


def _held_back(scene: Scene) -> bool:
    """The client was told to try again later: on_disagreement is `unavailable` already."""
    return scene.incident is not None and scene.incident.exchange.status == 503


FORBIDDEN: Final = Advice(
    operator="{address} forbids it. {hint}. Look into its log at {at}.",
    customer="Your access token is valid. One of our systems did not allow this operation of {client}, by a rule that has "
    "nothing to do with the token. We are finding out which, and will tell you whether something has to be changed.",
)
"""In place of what is said about a 401: a 403 may be meant."""


HELD_BACK: Final = Advice(
    operator="{address} disagrees. {hint}. Look into its log at {at}; {client} was answered 503 in its place and told to try "
    "again later.",
    customer="Your access token is valid on our side, and one of our systems refused it all the same. We are correcting "
    "that; nothing has to be changed. When we have told you so, please see whether {client} has tried again, and run what "
    "failed once more.",
)
"""In place of the advice to answer so, where it was."""


def _doubts(scene: Scene) -> tuple[str, ...]:
    """What was read later and may have been so already: never proof, but enough not to be certain."""
    if scene.elsewhere:
        named = scene.evidence.addressed_tenant
        return (f"The address called is that of {named}; whether that is another tenant is not known.",)
    other = _of_another_source(scene)
    if other:
        return (other,)
    if scene.row is not None and scene.row.owner_state in OUT and refused_beside(scene) and not scene.last_good:
        return (f"The account that owns it was {scene.row.owner_state}; the backend may refuse for that.",)
    if scene.then is not None and scene.then.via == INTROSPECTION and scene.last_good is None and not refused_beside(scene):
        return ("It was never seen to work; an endpoint calls a refresh token alive as well, which no backend takes.",)
    for look in scene.later:
        state = look.state
        if isinstance(state, Unknown):
            return (f"At {utc(look.read_at)} the row was gone; it may have gone at that moment.",)
        if isinstance(state, Known) and state.revoked_at is not None and state.revoked_at <= scene.now + 1:
            return (f"At {utc(look.read_at)} the row says revoked at {utc(state.revoked_at)}.",)
    return ()


def _of_another_source(scene: Scene) -> str:
    """The backend may never have known the source that has it alive."""
    here = source_of(scene.row)
    if scene.moved is not None:
        return f"Its row was seen in {source_of(scene.moved[1])} before, and is read from {here} now."
    served = scene.incident.served if scene.incident else {}
    others = sorted(source for source, count in served.items() if count and source != here)
    seen = scene.last_good is not None and any(at <= scene.last_good for at, _ in scene.sightings)
    if not here or not others or served.get(here) or seen:
        return ""
    return f"The backend has served no token of {here}, but some of {listed(others)}: it may not know that source."


def _hint(scene: Scene) -> str:
    answer = scene.backend
    if answer is None:
        return "Its answer was not kept"
    if scene.by_a_page:
        return f"It answered with an HTML page (server: {answer.server or 'unnamed'}): perhaps a tier before it refused"
    if answer.status == 403:
        return "403 is a rule of its own (feature, plan, address filter), not a dead token"
    return "Compare its hash_token_secrets, its database and cached configuration with this source"


def examine_skew(scene: Scene) -> Found | None:
    """One instance always refuses what another accepts at the same time."""
    verdicts = sorted(scene.evidence.backend_verdicts, key=lambda v: (v.address, repr(v)))
    bad = [v for v in verdicts if v.refused and (not v.accepted or _turned(v.last_accepted, v.first_refused))]
    good = [v for v in verdicts if v.accepted and v not in bad and (not v.refused or _turned(v.last_refused, v.first_accepted))]
    if not scene.by_backend or not scene.alive_then or not bad or not good:
        return None
    if scene.backend and scene.backend.address not in {v.address for v in bad}:
        return None
    mixed = len(bad) + len(good) < len(verdicts)
    at_once = any(_overlap(b, g) for b in bad for g in good)
    often = sum(v.refused for v in bad) >= 2
    return Found(
        Confidence.LIKELY if at_once and often and not mixed else Confidence.POSSIBLE,
        f"Backend instance {listed(v.address for v in bad)} refuses this token; {listed(v.address for v in good)} accepts it.",
        evidence_for=tuple(f"{v.address}: {v.accepted} accepted, {v.refused} refused." for v in verdicts),
        evidence_against=(
            *(("Another instance does both.",) if mixed else ()),
            *(() if at_once else ("All refusals came after the last acceptance: it may have changed for all.",)),
            *(() if often else ("It was refused only once.",)),
        ),
        words={"bad": listed(v.address for v in bad)},
    )


def _turned(last_before: float | None, first_after: float | None) -> bool:
    """One verdict came only after the other had ceased."""
    return last_before is not None and first_after is not None and last_before < first_after


def _overlap(bad: BackendVerdicts, good: BackendVerdicts) -> bool:
    """The other instance accepted it after this one had begun to refuse."""
    if bad.first_refused is None or good.last_accepted is None:
        return False
    return good.last_accepted > bad.first_refused


DISAGREES: Final = Rule(
    Code.BACKEND_DISAGREES,
    "The source says valid and the backend refuses it.",
    "A reading taken at the moment of the backend's 401 or 403 has the token alive; the backend's challenge, body and address "
    "are kept. Where several sources are asked, one that the backend is known to go by.",
    "{address} disagrees. {hint}. Look into its log at {at}; on_disagreement = unavailable keeps the client from giving up "
    "meanwhile.",
    "Your access token is valid on our side, and one of our systems refused it all the same. We are correcting that; nothing "
    "has to be changed. When we have told you so, please run the failed provisioning tasks of {client} again.",
    examine_disagreement,
)

SKEW: Final = Rule(
    Code.BACKEND_INSTANCE_SKEW,
    "One of several backend instances refuses what the others accept.",
    "The verdicts on one token go by instance: one only refuses, another only accepts, over the same time.",
    "Take {bad} out of rotation and compare its configuration, database and release with the others'.",
    "Your access token is valid; one of our servers refused it by mistake, so that some requests failed. We are correcting "
    "that. Please run the failed provisioning tasks of {client} again afterwards.",
    examine_skew,
)
