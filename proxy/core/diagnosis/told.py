"""What a source that keeps no rows tells of a token that it does not let in: an issuer that is asked (RFC 7662), or the token
itself where it is signed. Such a source cannot say that a token is gone or never was."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.scene import Scene, surroundings_of
from proxy.core.token import Unknown

INTROSPECTION: Final = "introspection"
"""`Reading.via` of an endpoint, whose `inactive` has no reason: revoked, expired, gone, or not shown to us."""
SIGNED: Final = "jwks"
"""`Reading.via` of signed tokens."""
ROWLESS: Final = ("at the issuer", "in the token itself")
"""`Known.stored` of facts that are no row of ours: they cannot be deleted here."""
WHY: Final = {
    "oversized": "it is longer than any signed token that is taken",
    "malformed": "it is not written as a signed token is; it may have been cut or changed on its way",
    "algorithm": "it is unsigned, or signed by an algorithm that is not in the list",
    "critical_header": "it asks for an extension that is not understood here",
    "unknown_key": "the key that it names is not, or no longer, among the issuer's",
    "bad_signature": "its signature is not the issuer's; it may have been cut or changed on its way",
    "wrong_issuer": "it is of another issuer",
    "wrong_audience": "it is meant for another audience",
    "unmapped_tenant": "its tenant is not in the list of tenants",
    "no_expiry": "it has no end (exp)",
    "not_yet_valid": "it is valid only later (nbf)",
    "refresh_token": "its issuer calls it a refresh token",
}
"""Unknown.why (proxy/sources/jwt/verify.py, proxy/sources/introspection/answer.py) -> in words. `not_a_jwt` tells nothing: the
next source is asked."""
NO_REASON: Final = (
    "a table of tokens: an endpoint or a signature does not tell whether a token was revoked, ran out or never was"
)


def why_not(scene: Scene) -> str:
    """Why the source does not take it, one of WHY; empty where it said no more than no."""
    state = scene.then.state if scene.then else None
    return state.why if isinstance(state, Unknown) and state.why in WHY else ""


def without_rows(scene: Scene) -> bool:
    """What was asked, or what knew the token before, has no rows: that it does not take it does not tell how it ended."""
    if scene.before is not None:
        return scene.before.stored in ROWLESS
    if scene.then is not None and (scene.then.via in (INTROSPECTION, SIGNED) or why_not(scene)):
        return True
    around = surroundings_of(scene.evidence)
    beside = any(look.via == INTROSPECTION for a in around for look in a.readings)
    return beside and not any(a.cross_checked for a in around)


def said_of_it(scene: Scene) -> tuple[str, ...]:
    """The line of evidence that tells what was said."""
    why = why_not(scene)
    return (f"{scene.then.source} does not take it because {WHY[why]} ({why}).",) if why and scene.then else ()
