"""The authorization-code set-up: `refresh_failed` and `refresh_impossible`. Both need what passed /oauth/token here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import OauthEvent
from proxy.core.diagnosis.expired import expiry
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.signed_in import fetched
from proxy.core.diagnosis.words import span, utc
from proxy.core.incident import Kind
from proxy.core.setup import exchanged, refused_exchanges
from proxy.core.token import Unknown
from proxy.core.verdict import Reason

CODE_LIFE: Final = 600.0
"""Seconds: Doorkeeper's authorization_code_expires_in unless a vendor sets another; RFC 6749 section 4.1.2 asks for no more."""


def is_oauth(scene: Scene) -> bool:
    """The incident is a refusal by the token endpoint."""
    return scene.incident is not None and scene.incident.kind is Kind.OAUTH_REFUSAL


def refused_call(scene: Scene) -> OauthEvent | None:
    """The call that a refusal by the token endpoint is about, with what was learned of it later."""
    said = scene.incident.oauth if scene.incident else None
    if said is None:
        return None
    later = [e for e in scene.evidence.oauth if e.exchange and e.exchange == said.exchange]
    return max(later, key=lambda e: (bool(e.presented), repr(e)), default=said)


def granted_before(scene: Scene, call: OauthEvent) -> OauthEvent | None:
    """The last refresh with the same refresh token that was granted before this one was refused."""
    same = [
        e
        for e in scene.evidence.oauth
        if e.refresh_presented and e.refresh_presented == call.refresh_presented and 200 <= e.status < 300 and e.at < call.at
    ]
    return max(same, key=lambda e: (e.at, repr(e)), default=None)


def examine_refresh_failed(scene: Scene) -> Found | None:
    """The client asked for a new token and was refused; the old one has run out since.

    A refused refresh of a *revoked* token is a consequence, not the cause.
    """
    if is_oauth(scene):
        return _refused_now(scene)
    silent = scene.incident is None and scene.evidence.absence is not None
    if not silent and expiry(scene) is None and not (scene.reason == Reason.EXPIRED and scene.then is None):
        return None
    refused = _last_refresh(scene)
    if refused is None or not 400 <= refused.status < 500:
        return None
    mine = bool(refused.presented) and refused.presented == scene.fingerprint
    stranger = _by_another_client(scene, refused)
    if not mine and _healed(scene, refused):
        return None
    error = refused.error or f"status {refused.status}"
    arrived = scene.evidence.absence.requests if silent and scene.evidence.absence else None
    return Found(
        Confidence.POSSIBLE if stranger else Confidence.CERTAIN if mine else Confidence.LIKELY,
        f"The client tried to refresh at {utc(refused.at)} and was refused ({error}).",
        evidence_for=(
            f"POST /oauth/token, grant_type refresh_token, at {utc(refused.at)}: {refused.status} {refused.error}.",
            *(("It presented the refresh token of this access token.",) if mine else ()),
            *((f"The access token expired at {utc(expiry(scene))}.",) if expiry(scene) is not None else ()),
            *(("No request of the tenant arrived after it.",) if arrived == 0 else ()),
            *exchange_lines(scene),
        ),
        evidence_against=(f"It came with another client id ({refused.client}) than this token was issued to.",)
        if stranger
        else (),
        missing=() if mine else ("which token's refresh token was presented",),
        words={"refused": utc(refused.at), "error": error},
        times={"refused_at": refused.at, "expired_at": expiry(scene)},
        findings=("exchange_refused",) if exchange_lines(scene) else (),
    )


def _by_another_client(scene: Scene, refused: OauthEvent) -> bool:
    """Somebody else may have asked, in vain, with what is not his; or the client was set up with another id."""
    owners = {e.client for e in scene.evidence.oauth if e.created and e.created == scene.fingerprint} - {""}
    return bool(owners and refused.client) and refused.client not in owners


def _healed(scene: Scene, refused: OauthEvent) -> bool:
    """The tenant got a token afterwards, or a later request of it was answered well."""
    activity = scene.evidence.activity
    if activity is not None and activity.last_at is not None and activity.last_at > refused.at:
        return activity.last_status is not None and activity.last_status < 400
    return any(e.created and e.tenant == refused.tenant and refused.at < e.at <= scene.at for e in scene.evidence.oauth)


_BAD_CLIENT: Final = "The server did not accept the client's id or secret: was the secret changed?"
_BEHIND: Final = {
    "invalid_client": _BAD_CLIENT,
    "invalid_grant": "The server no longer takes this refresh token: revoked, used up, or its row is gone.",
}
_NEVER_HERE: Final = (
    "The server does not take this refresh token: revoked, used up, its row gone, cut short, or of another place."
)
"""In place of `invalid_grant` where nothing here knows the refresh token."""


def _refused_now(scene: Scene) -> Found | None:
    """The refusal itself is the incident."""
    call = refused_call(scene)
    if call is None or call.grant_type != "refresh_token":
        return None
    error, row = call.error or f"status {call.status}", scene.before
    revoked = row.revoked_at if row is not None and row.revoked_at is not None and row.revoked_at <= scene.now else None
    later = sorted(e.at for e in scene.evidence.oauth if e.created and e.at > call.at and e.presented == call.presented != "")
    return Found(
        Confidence.CERTAIN,
        f"The client tried to refresh at {utc(call.at)} and was refused ({error}).",
        evidence_for=(
            f"POST /oauth/token, grant_type refresh_token, at {utc(call.at)}: {call.status} {call.error}.",
            *_behind(call),
            *((f"The row of its access token was revoked at {utc(revoked)}.",) if revoked is not None else ()),
            *(("The row of its access token had vanished.",) if row is not None and _vanished(scene) else ()),
        ),
        evidence_against=(f"A later refresh was granted at {utc(later[0])}.",) if later else (),
        missing=() if call.presented else ("which access token that refresh token was issued with",),
        words={"refused": utc(call.at), "error": error},
        times={"refused_at": call.at, "revoked_at": revoked},
    )


def _behind(call: OauthEvent) -> Iterator[str]:
    if call.error in _BEHIND:
        yield _NEVER_HERE if call.error == "invalid_grant" and not call.presented else _BEHIND[call.error]


def examine_refused_token(scene: Scene) -> Found | None:
    """The token endpoint refused another grant than a refresh: above all the exchange of an authorization code.

    The catalogue has no cause for it: a connection that could not be set up has not stopped."""
    call = refused_call(scene)
    if call is None or call.grant_type == "refresh_token":
        return None
    by_code = call.grant_type == "authorization_code"
    error, told = call.error or f"status {call.status}", exchanged(call)
    later = sorted(e.at for e in scene.evidence.oauth if e.created and e.at > call.at and e.client == call.client != "")
    return Found(
        Confidence.POSSIBLE,
        f"{told[:-1]}; no cause of the catalogue is about that.",
        evidence_for=(
            f"POST /oauth/token, grant_type {call.grant_type or 'not named'}, at {utc(call.at)}: {call.status} {call.error}.",
            *_reasons(call, by_code=by_code),
        ),
        evidence_against=(f"The same client was given a token at {utc(later[0])}.",) if later else (),
        words={"refused": utc(call.at), "error": error, "grant": call.grant_type or "an unnamed grant"},
        times={"refused_at": call.at, "code_issued_at": call.code_issued_at, "exchanged_at": call.exchanged_at},
        findings=("exchange_refused",) if by_code else (),
    )


def _reasons(call: OauthEvent, *, by_code: bool) -> Iterator[str]:
    """What the evidence tells of why; what it leaves open is said to be so."""
    if call.error == "invalid_client":
        yield _BAD_CLIENT
    if not by_code:
        return
    age = call.at - call.code_issued_at if call.code_issued_at is not None else None
    if call.exchanged_at is not None:
        yield f"The same code had been exchanged at {utc(call.exchanged_at)} already: it is good for one exchange."
    if call.redirect_differs:
        yield "Its redirect_uri is not the one for which the code was issued."
    if age is not None:
        old = f", which is more than the {span(CODE_LIFE)} that Doorkeeper gives it" if age > CODE_LIFE else ""
        yield f"The code was issued {span(age)} before{old}."
    decided = call.exchanged_at is not None or call.redirect_differs or (age is not None and age > CODE_LIFE)
    if call.error == "invalid_grant" and not decided:
        yield "The server does not take this code: expired, of another client or redirect_uri, used up, or withdrawn."


def _vanished(scene: Scene) -> bool:
    histories = (scene.incident.history if scene.incident else None, scene.evidence.history)
    changes = [c for h in histories if h is not None for c in h.changes if c.seen_after <= scene.at]
    return bool(changes) and isinstance(max(changes, key=lambda c: c.seen_after).after, Unknown)


def exchange_lines(scene: Scene) -> tuple[str, ...]:
    """That a person tried to authorize anew and could not, where that is the last that is known of the tenant's tokens."""
    tenant = scene.incident.tenant if scene.incident else ""
    mine = (e for e in scene.evidence.oauth if e.at <= scene.at and (not tenant or e.tenant == tenant))
    return refused_exchanges(mine)


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
    if (not issued and not scene.evidence.grant_exists) or fetched(scene):
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


REFUSED_TOKEN: Final = Rule(
    Code.UNDETERMINED,
    "The token endpoint refused to issue a first token.",
    "The call itself; of a code that was issued here also its age, its redirect_uri and whether it was exchanged before.",
    "{client} asked for a token by {grant} at {refused} and was refused ({error}): the connection could not be set up. Compare "
    "client id, secret and redirect_uri with those of the application, and have the customer authorize once more.",
    "{client} could not complete the sign-in at {refused}. Please authorize the connection again. {signin}",
    examine_refused_token,
)
"""Not of the catalogue: it says what is known of a refusal for which there is no cause."""

FAILED: Final = Rule(
    Code.REFRESH_FAILED,
    "The client could not refresh: the token endpoint refused it.",
    "The last call of /oauth/token with grant_type refresh_token was answered 4xx, and the access token has expired since (or "
    "nothing has arrived since). A refusal that follows from a revocation is not this cause.",
    "{client} tried to refresh at {refused} and was refused ({error}). The customer must authorize again; look at the client "
    "secret if the error is invalid_client.",
    "{client} tried to renew its access at {refused} and could not. Please authorize the connection again. {signin}",
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
    "we are correcting the set-up on our side. {signin}",
    examine_refresh_impossible,
)
