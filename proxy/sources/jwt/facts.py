"""What the claims of a verified token say -> `Known`, or why they do not do. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.core.token import Known
from proxy.sources.jwt.verify import Refused

ENTRA_AUDIENCE: Final = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"
"""Microsoft Entra's provisioning service, when "Secret Token" is left blank: it sends tokens of the customer's own directory,
whose issuer is https://sts.windows.net/{tenant}/."""

NO_TENANT: Final = "_none"

_PLACE: Final = "{tenant}"
_YEAR_10000: Final = 253_402_300_800


class Rules(msgspec.Struct, frozen=True):
    """What a token must say. `issuers` may hold `{tenant}` for one path part. `leeway` in seconds is for clocks that differ.

    `tenants` maps what names a tenant (the issuer's `{tenant}`, else the claim `tenant_claim`) to our names. Where it is not
    empty, whoever is not in it is refused: an issuer of everybody's tokens, as Entra is, signs those of strangers as well.
    """

    issuers: tuple[str, ...]
    audiences: frozenset[str]
    tenant_claim: str = "sub"
    tenants: Mapping[str, str] = {}
    scope_claims: tuple[str, ...] = ("scope", "scp", "roles")
    leeway: float = 30.0


def tenant_by_issuer(claims: Mapping[str, Any], rules: Rules) -> str | Refused:
    """Return what the issuer names as tenant, empty when it names none. Needs no key."""
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        return Refused("wrong_issuer")
    for expected in rules.issuers:
        if issuer == expected and _PLACE not in expected:
            return ""
        pattern = re.escape(expected).replace(re.escape(_PLACE), "([A-Za-z0-9._-]{1,64})")
        if _PLACE in expected and (match := re.fullmatch(pattern, issuer)) is not None:
            return str(match[1]) if claims.get("tid", match[1]) == match[1] else Refused("wrong_issuer")
    return Refused("wrong_issuer")


def facts_of(claims: Mapping[str, Any], row: str, rules: Rules, now: float) -> Known | Refused:
    """Return the facts of a token whose signature is verified. An expired one is Known: decide() says that it expired.

    `exp` counts with the leeway on it, so that a fast clock here refuses nobody early.
    """
    named = tenant_by_issuer(claims, rules)
    if isinstance(named, Refused):
        return named
    if rules.audiences.isdisjoint(_texts(claims.get("aud"), split=False)):
        return Refused("wrong_audience")
    expires, begins = _instant(claims.get("exp")), _instant(claims.get("nbf", 0))
    issued = _instant(claims.get("iat", claims.get("nbf", 0)))
    if expires is None or issued is None or begins is None:
        return Refused("no_expiry" if "exp" not in claims else "malformed")
    if begins > now + rules.leeway:
        return Refused("not_yet_valid")
    tenant = named or str(claims.get(rules.tenant_claim) or "")
    if rules.tenants and tenant not in rules.tenants:
        return Refused("unmapped_tenant")
    application = _first(claims, ("azp", "appid", "client_id"))
    by_entra = ENTRA_AUDIENCE in _texts(claims.get("aud"), split=False)
    return Known(
        row=row,
        tenant=rules.tenants.get(tenant, tenant) or NO_TENANT,
        created_at=float(issued),
        expires_in=math.ceil(expires + rules.leeway) - math.floor(issued),
        scopes=tuple(scope for claim in rules.scope_claims for scope in _texts(claims.get(claim), split=True)),
        application=application,
        application_name="Microsoft Entra provisioning" if by_entra else application,
        owner=_first(claims, ("sub", "oid")),
        refreshable=None,
        stored="in the token itself",
    )


def _first(claims: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if isinstance(value := claims.get(name), str)), None)


def _instant(value: object) -> float | None:
    """NumericDate (RFC 7519 section 2); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_10000:
        return None
    return value


def _texts(value: object, *, split: bool) -> list[str]:
    if isinstance(value, str):
        return value.split() if split else [value]
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []
