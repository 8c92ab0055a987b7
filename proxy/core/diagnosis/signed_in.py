"""What is said where the client got its token by signing in: there is none that could be given or entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.core.diagnosis.cause import Advice, Code
from proxy.core.diagnosis.scene import Scene

_CODE: Final = ("authorization_code", "refresh_token")


def signed_in(scene: Scene) -> bool:
    """The presented token was issued to the client itself, by a code or a refresh that passed through here."""
    mine = (e for e in scene.evidence.oauth if e.created and e.created == scene.fingerprint)
    return any(e.endpoint == "token" and e.grant_type in _CODE and 200 <= e.status < 300 for e in mine)


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
}
"""Cause -> advice in place of the rule's. The words are those of the rule."""
