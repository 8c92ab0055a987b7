"""What an introspection endpoint said (RFC 7662 section 2.2) -> a state of the token. Pure.

The traps are facts of real servers: Doorkeeper says `exp: 0` for a token that never expires, reports a live refresh token as
active, has neither `sub` nor `username`; others write numbers as text, or `scope` as a list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.core.token import Known, TokenState, Unavailable, Unknown

NO_TENANT: Final = "_none"
"""The tenant of a token whose answer lacks the configured claim."""

_REFRESH: Final = frozenset({"refresh", "refresh_token", "offline", "n_a"})
"""What servers say of a refresh token in `token_use`, `typ` or `token_type` (Cognito, Keycloak, Hydra; RFC 8693 2.2.1)."""

_YEAR_10000: Final = 253_402_300_800


class Claims(msgspec.Struct, frozen=True):
    """Where the facts stand in an answer. `tenant` is a claim's name; `tenants` maps its values to names, as they are
    otherwise. `audiences` empty: any."""

    tenant: str = "client_id"
    tenants: Mapping[str, str] = {}
    audiences: frozenset[str] = frozenset()


def read_answer(body: bytes, row: str, claims: Claims) -> TokenState:
    """Return the state that a 200 tells. What is not an answer of RFC 7662 is no refusal: Unavailable."""
    try:
        said = json.loads(body)
        json.dumps(said, ensure_ascii=False).encode()  # half a character (\ud800) passes as JSON, and no record could hold it
    except (ValueError, RecursionError):
        return Unavailable("error", "the endpoint's answer is no JSON")
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        return Unavailable("error", "the endpoint's answer has no boolean `active` (RFC 7662 section 2.2)")
    if not said["active"]:
        return Unknown()
    if any(str(said.get(name, "")).lower() in _REFRESH for name in ("token_use", "typ", "token_type")):
        return Unknown("refresh_token")
    if claims.audiences and claims.audiences.isdisjoint(_texts(said.get("aud"))):
        return Unknown("wrong_audience")
    return _known(said, row, claims)


def _known(said: Mapping[str, Any], row: str, claims: Claims) -> TokenState:
    created, expires = _instant(said.get("iat")), _instant(said.get("exp"))
    if created is None or expires is None:
        return Unavailable("error", "the endpoint's answer has an `iat` or `exp` that is no time")
    application = said.get("client_id")
    owner = said.get("sub") or said.get("username")
    value = said.get(claims.tenant)
    tenant = value if isinstance(value, str) else ""
    return Known(
        row=row,
        tenant=claims.tenants.get(tenant, tenant) or NO_TENANT,
        created_at=float(created),
        expires_in=math.ceil(expires) - math.floor(created) if expires else None,
        scopes=tuple(_texts(said.get("scope"))),
        application=application if isinstance(application, str) else None,
        application_name=application if isinstance(application, str) else None,
        owner=owner if isinstance(owner, str) else None,
        stored="at the issuer",
    )


def _instant(value: object) -> float | None:
    """Epoch seconds. 0 where the answer has none, as Doorkeeper writes it for a token that never expires; None when it is no
    time at all."""
    if value is None:
        return 0.0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_10000:
        return None
    return value


def _texts(value: object) -> list[str]:
    """A list of texts, or one text of words that are separated by white space (RFC 6749 section 3.3)."""
    if isinstance(value, str):
        return value.split()
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []
