"""What is said where the client got its token by signing in, or fetches it itself: there is none that could be entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.core.diagnosis.cause import Advice, Code
from proxy.core.diagnosis.scene import Scene

_CODE: Final = ("authorization_code", "refresh_token")
_CREDENTIALS: Final = ("client_credentials",)


def signed_in(scene: Scene) -> bool:
    """The presented token was issued to the client itself: by a code or a refresh that passed through here, or, with a refresh
    token, just after somebody had authorized."""
    row = scene.last_row
    granted = row is not None and row.refreshable is True and scene.evidence.grant_exists is True
    return granted or _issued_by(scene, _CODE)


def fetched(scene: Scene) -> bool:
    """The presented token was issued for the client's id and secret alone: no refresh token belongs to such a one (RFC 6749
    section 4.4.3), and nobody has to sign in."""
    return _issued_by(scene, _CREDENTIALS)


def instead(scene: Scene, code: Code) -> Advice | None:
    """What is said of a cause in place of the rule's advice, None where that holds."""
    return INSTEAD.get(code) if signed_in(scene) else FETCHED.get(code) if fetched(scene) else None


def _issued_by(scene: Scene, grants: tuple[str, ...]) -> bool:
    mine = (e for e in scene.evidence.oauth if e.created and e.created == scene.fingerprint)
    return any(e.endpoint == "token" and e.grant_type in grants and 200 <= e.status < 300 for e in mine)


INSTEAD: Final[Mapping[Code, Advice]] = {
    Code.TOKEN_DELETED: Advice(
        operator="Deleted at age {age}. {hint}. Have the customer authorize again.",
        customer="The access that was given to {client} no longer exists on our side (since {gone} at the latest). Please "
        "authorize the connection again. {signin}",
    ),
    Code.TOKEN_SUPERSEDED: Advice(
        operator="{client} goes on with the token issued {issued}; another took its place {newer}. See that only one "
        "connection uses these credentials, and have the customer authorize again.",
        customer="{client} still uses the access given {issued}. It was replaced {newer} and is no longer accepted. Please "
        "authorize the connection again. {signin}",
    ),
    Code.SHARED_TOKEN: Advice(
        operator="Two connections share one token: {first} and {second}. Give each its own application or owner, or switch "
        "reuse_access_token off; then have the one authorize again that still sends the old.",
        customer="The access that was given to this connection was also used by a second connection and was replaced {newer}. "
        "When we have told you that both are kept apart, please authorize this one again. {signin}",
    ),
    Code.TOKEN_REVOKED: Advice(
        operator="{event}. Look in the application's audit log at {revoked}. If it was not meant, have the customer authorize "
        "again.",
        customer="The access that was given to {client} was revoked at {revoked}. If the connection shall go on, please "
        "authorize it again. {signin}",
    ),
    Code.TOKEN_EXPIRED: Advice(
        operator="Issued {issued} for {lifetime}, expired {expired}; the client should have renewed it. {renewed} Have the "
        "customer authorize again.",
        customer="The access that was given to {client} expired at {expired} and was not renewed. Please authorize the "
        "connection again. {signin}",
    ),
    Code.CLOCK_SKEW: Advice(
        operator="The clocks differ by at least {seconds}. Run NTP on the database, the backend and this machine, then compare "
        "again.",
        customer="The access that was given to {client} was at the very end of its lifetime ({expired}). We correct a clock on "
        "our side. If the connection does not renew it by itself, please authorize it again. {signin}",
    ),
    Code.NULL_REFRESH_MATCH: Advice(
        operator="Upgrade Doorkeeper to 5.5.1 or later, or make previous_refresh_token NOT NULL with default ''. The token was "
        "revoked at {revoked} by a request of tenant {other}; have the customer authorize again.",
        customer="The access that was given to {client} was ended at {revoked} by a fault on our side, which we correct. "
        "Please authorize the connection again. {signin}",
    ),
}
"""Cause -> advice in place of the rule's. The words are those of the rule."""

FETCHED: Final[Mapping[Code, Advice]] = {
    Code.TOKEN_DELETED: Advice(
        operator="Deleted at age {age}. {hint}. The client has to fetch another with its id and secret.",
        customer="The access token that {client} fetched no longer exists on our side (since {gone} at the latest). Please "
        "test the connection again, so that it fetches another, and tell us if that fails.",
    ),
    Code.TOKEN_SUPERSEDED: Advice(
        operator="{client} goes on with the token that it fetched {issued}; another was fetched {newer} with the same client "
        "id and secret, which ended it (revoke_previous_client_credentials_token). See that only one process uses them.",
        customer="{client} still uses the access token that it fetched {issued}. Another was fetched {newer} with the same "
        "client id and secret, which ended the first. Please see that only one connection uses them, and test it again.",
    ),
    Code.TOKEN_REVOKED: Advice(
        operator="{event}. Look in the application's audit log at {revoked}. If it was not meant, the client has to fetch "
        "another with its id and secret.",
        customer="The access token that {client} fetched was revoked at {revoked}. If the connection shall go on, please test "
        "it again, so that it fetches another, and tell us if that fails.",
    ),
    Code.TOKEN_EXPIRED: Advice(
        operator="Issued {issued} for {lifetime} by client_credentials, expired {expired}. Such a client has to fetch another "
        "by itself: look for refused or missing calls of /oauth/token.",
        customer="The access token that {client} fetched expired at {expired}, and it went on with it. Please test the "
        "connection again, so that it fetches another, and tell us if that fails.",
    ),
    Code.CLOCK_SKEW: Advice(
        operator="The clocks differ by at least {seconds}. Run NTP on the database, the backend and this machine, then compare "
        "again.",
        customer="The access token that {client} fetched was at the very end of its lifetime ({expired}). We correct a clock "
        "on our side. Please test the connection again, so that it fetches another, and tell us if that fails.",
    ),
}
"""The same where the client fetches its tokens with its id and secret."""
