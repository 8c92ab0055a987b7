"""The authorization-code set-up: `refresh_failed` and `refresh_impossible`. Both need what passed /oauth/token here."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import OauthEvent
from proxy.core.diagnosis.expired import expiry
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.words import span, utc
from proxy.core.verdict import Reason


def examine_refresh_failed(scene: Scene) -> Found | None:
    """The client asked for a new token and was refused; the old one has run out since.

    A refused refresh of a *revoked* token is a consequence, not the cause.
    """
    silent = scene.incident is None and scene.evidence.absence is not None
    if not silent and expiry(scene) is None and not (scene.reason == Reason.EXPIRED and scene.then is None):
        return None
    refused = _last_refresh(scene)
    if refused is None or not 400 <= refused.status < 500:
        return None
    mine = bool(refused.presented) and refused.presented == scene.fingerprint
    error = refused.error or f"status {refused.status}"
    arrived = scene.evidence.absence.requests if silent and scene.evidence.absence else None
    return Found(
        Confidence.CERTAIN if mine else Confidence.LIKELY,
        f"The client tried to refresh at {utc(refused.at)} and was refused ({error}).",
        evidence_for=(
            f"POST /oauth/token, grant_type refresh_token, at {utc(refused.at)}: {refused.status} {refused.error}.",
            *(("It presented the refresh token of this access token.",) if mine else ()),
            *((f"The access token expired at {utc(expiry(scene))}.",) if expiry(scene) is not None else ()),
            *(("No request of the tenant arrived after it.",) if arrived == 0 else ()),
        ),
        missing=() if mine else ("which token's refresh token was presented",),
        words={"refused": utc(refused.at), "error": error},
        times={"refused_at": refused.at, "expired_at": expiry(scene)},
    )


def _last_refresh(scene: Scene) -> OauthEvent | None:
    """The last attempt to refresh before the moment, of this token or (where that is not known) of its tenant."""
    tenant = scene.incident.tenant if scene.incident else ""
    tries = [
        e
        for e in scene.evidence.oauth
        if e.endpoint == "token" and e.grant_type == "refresh_token" and e.at <= scene.at
        and (e.presented == scene.fingerprint if e.presented and scene.fingerprint else not tenant or e.tenant == tenant)
    ]  # fmt: skip
    return max(tries, key=lambda e: (e.at, repr(e)), default=None)


def examine_refresh_impossible(scene: Scene) -> Found | None:
    """It expired, and nobody ever gave the client a refresh token although it had signed in."""
    row, end = scene.last_row, expiry(scene)
    if row is None or end is None or row.refreshable is not False:
        return None
    issued = [e for e in scene.evidence.oauth if e.created and e.created == scene.fingerprint and e.refresh_issued is False]
    if not issued and not scene.evidence.grant_exists:
        return None
    return Found(
        Confidence.CERTAIN if issued else Confidence.LIKELY,
        f"The token expired at {utc(end)}, and no refresh token was ever issued with it.",
        evidence_for=(
            f"Issued {utc(row.created_at)} for {span(row.expires_in)}, without a refresh token.",
            *((f"The answer of /oauth/token at {utc(issued[0].at)} held none.",) if issued else ()),
            *(("An authorization grant of the same application and owner exists.",) if scene.evidence.grant_exists else ()),
        ),
        words={"expired": utc(end), "lifetime": span(row.expires_in)},
        times={"issued_at": row.created_at, "expired_at": end},
    )


FAILED: Final = Rule(
    Code.REFRESH_FAILED,
    "The client could not refresh: the token endpoint refused it.",
    "The last call of /oauth/token with grant_type refresh_token was answered 4xx, and the access token has expired since (or "
    "nothing has arrived since). A refusal that follows from a revocation is not this cause.",
    "{client} tried to refresh at {refused} and was refused ({error}). The customer must authorize again; look at the client "
    "secret if the error is invalid_client.",
    "{client} tried to renew its access at {refused} and could not. Please authorize the connection again. {steps}",
    examine_refresh_failed,
)

IMPOSSIBLE: Final = Rule(
    Code.REFRESH_IMPOSSIBLE,
    "The token ends after its lifetime, and no refresh token was ever issued.",
    "expires_in is set, the row has no refresh token, and a grant or an answer of /oauth/token shows the authorization-code "
    "set-up.",
    "Expired {expired} after {lifetime}, and it will do so again: enable use_refresh_token at Doorkeeper, or issue tokens "
    "without expiry for this application.",
    "The connection of {client} ended at {expired} because it could not be renewed automatically. Please authorize it again; "
    "we are correcting the set-up on our side. {steps}",
    examine_refresh_impossible,
)
