"""The sections about sources that ask an authorization server, or trust its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import field

from proxy.settings.section import Bounds, Check, Secret, Section, SourceName, Words, is_host

_HTTP: Final = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?(\?[^#@\s]*)?")
_ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _http(value: str) -> str:
    if not _HTTP.fullmatch(value) or not is_host(_host_of(value)):
        raise ValueError(
            "must be an http or https URL without credentials: write it like https://login.example.com/oauth/introspect"
        )
    return value


def _issuers(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or any(not issuer or issuer.count("{tenant}") > 1 for issuer in value):
        raise ValueError("needs at least one issuer, each with {tenant} once at most")
    return value


def _audiences(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("needs at least one audience: without it every token of that issuer would do (RFC 8725 section 3.9)")
    return value


def _algorithms(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(value) - _ASYMMETRIC)
    if not value or unknown:
        raise ValueError(f"must be asymmetric algorithms, out of {', '.join(sorted(_ASYMMETRIC))}")
    return value


HttpUrl = Annotated[str, Check(_http)]


class Introspection(Section, frozen=True, kw_only=True):
    """An RFC 7662 endpoint. It cannot tell why a token is inactive: put a table beside it where there is one."""

    kind: Annotated[Literal["introspection"], "Which kind of source this is."]
    name: Annotated[SourceName, "Name in logs, metrics and incidents; unique among the sources."] = "introspection"
    url: Annotated[HttpUrl, "The introspection endpoint."]
    ca_file: Annotated[Path | None, "Certificate authorities of the endpoint in place of the system's."] = None
    server: Annotated[
        Literal["doorkeeper", "other"], "doorkeeper: its 401 to a bearer that asks about an unknown token is understood."
    ] = "other"
    client_id: Annotated[str | None, "The client that asks; Doorkeeper must allow_token_introspection."] = None
    client_secret: Annotated[Secret | None, "Its secret."] = None
    client_secret_file: Annotated[Path | None, "File that holds client_secret."] = None
    credentials: Annotated[
        Literal["basic", "form"], "Where client_id and client_secret go: the Authorization field, or the form."
    ] = "basic"
    bearer: Annotated[Secret | None, "A token to ask with, in place of a client."] = None
    bearer_file: Annotated[Path | None, "File that holds bearer."] = None
    cross_check: Annotated[
        str | None,
        "Name of the source of tables that holds the same tokens: both are asked, the table decides, disagreements "
        "are logged and put into incidents.",
    ] = None
    tenant_claim: Annotated[str, Bounds(min_length=1), "The member of an answer that names the tenant."] = "client_id"
    tenants: Annotated[
        Mapping[str, str], 'What tenant_claim says = what the tenant is called here: `{ "client-1" = "acme" }`.'
    ] = field(default_factory=dict)
    audience: Annotated[Words, "Any one of these must be in `aud`; if not given, any token will do."] = ()
    timeout: Annotated[
        float, Bounds(gt=0, le=30), "Longest wait for an answer; after it the state is unavailable, not unknown."
    ] = 1
    connections: Annotated[int, Bounds(ge=1, le=200), "Connections kept to the endpoint, per process."] = 10
    recheck_every: Annotated[
        float,
        Bounds(ge=0, le=3_600),
        "A token in use is asked about again this often: so late a revocation is seen, for each look is a call.",
    ] = 10
    secrets_limit: Annotated[
        int,
        Bounds(ge=1, le=1_000_000),
        "Living tokens kept in memory to ask again, about 1 KB each. None is kept for longer than it is in use.",
    ] = 50_000


class Jwt(Section, frozen=True, kw_only=True):
    """Signed tokens (JWT), checked by the issuer's keys. They cannot be revoked: they live until they expire."""

    kind: Annotated[Literal["jwt"], "Which kind of source this is."]
    name: Annotated[SourceName, "Name in logs, metrics and incidents; unique among the sources."] = "jwt"
    jwks_url: Annotated[HttpUrl, "Where the issuer publishes its keys (RFC 7517)."]
    ca_file: Annotated[Path | None, "Certificate authorities of jwks_url in place of the system's."] = None
    issuer: Annotated[
        Words,
        Check(_issuers),
        "What `iss` must be; `{tenant}` stands for the part that names the tenant, as in https://sts.windows.net/{tenant}/.",
    ]
    audience: Annotated[Words, Check(_audiences), "Any one of these must be in `aud`."]
    algorithms: Annotated[Words, Check(_algorithms), "The only algorithms taken; asymmetric ones alone can be."] = (
        "RS256",
        "ES256",
    )
    tenant_claim: Annotated[str, Bounds(min_length=1), "The claim that names the tenant where the issuer does not."] = "sub"
    tenants: Annotated[
        Mapping[str, str],
        "What names a tenant = what it is called here. If given, nobody else is let in; needed with "
        "`{tenant}`, for such an issuer signs strangers' tokens too.",
    ] = field(default_factory=dict)
    scope_claims: Annotated[Words, "The claims that hold scopes."] = ("scope", "scp", "roles")
    leeway: Annotated[float, Bounds(ge=0, le=600), "For clocks that differ: added to `exp`, taken from `nbf`."] = 30
    timeout: Annotated[float, Bounds(gt=0, le=30), "Longest wait for the key set."] = 1
    refresh_every: Annotated[
        float, Bounds(ge=1, le=86_400), "How often keys are fetched; a withdrawn one serves no longer than that."
    ] = 300
    grace: Annotated[float, Bounds(ge=0, le=2_592_000), "With the issuer away its keys serve this much longer, then 503."] = (
        86_400
    )
    verified_limit: Annotated[int, Bounds(ge=1, le=1_000_000), "Verified tokens remembered, about 1 KB each."] = 50_000
