"""The sections about sources that ask an authorization server, or trust its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from proxy.settings.section import Section, SourceName, Words, is_host

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


HttpUrl = Annotated[str, AfterValidator(_http)]


class Introspection(Section):
    """An RFC 7662 endpoint. It cannot tell why a token is inactive: put a table beside it where there is one."""

    kind: Literal["introspection"] = Field(description="Which kind of source this is.")
    name: SourceName = Field(
        default="introspection", description="Name in logs, metrics and incidents; unique among the sources."
    )
    url: HttpUrl = Field(description="The introspection endpoint.")
    ca_file: Path | None = Field(default=None, description="Certificate authorities of the endpoint in place of the system's.")
    server: Literal["doorkeeper", "other"] = Field(
        default="other", description="doorkeeper: its 401 to a bearer that asks about an unknown token is understood."
    )
    client_id: str | None = Field(default=None, description="The client that asks; Doorkeeper must allow_token_introspection.")
    client_secret: SecretStr | None = Field(default=None, description="Its secret.")
    client_secret_file: Path | None = Field(default=None, description="File that holds client_secret.")
    credentials: Literal["basic", "form"] = Field(
        default="basic", description="Where client_id and client_secret go: the Authorization field, or the form."
    )
    bearer: SecretStr | None = Field(default=None, description="A token to ask with, in place of a client.")
    bearer_file: Path | None = Field(default=None, description="File that holds bearer.")
    cross_check: str | None = Field(
        default=None,
        description="Name of the source of tables that holds the same tokens: both are asked, the table decides, disagreements "
        "are logged and put into incidents.",
    )
    tenant_claim: str = Field(default="client_id", min_length=1, description="The member of an answer that names the tenant.")
    tenants: Mapping[str, str] = Field(
        default={}, description='What tenant_claim says = what the tenant is called here: `{ "client-1" = "acme" }`.'
    )
    audience: Words = Field(default=(), description="Any one of these must be in `aud`; if not given, any token will do.")
    timeout: float = Field(
        default=1, gt=0, le=30, description="Longest wait for an answer; after it the state is unavailable, not unknown."
    )
    connections: int = Field(default=10, ge=1, le=200, description="Connections kept to the endpoint, per process.")
    recheck_every: float = Field(
        default=10,
        ge=0,
        le=3_600,
        description="A token in use is asked about again this often: so late a revocation is seen, for each look is a call.",
    )
    secrets_limit: int = Field(
        default=50_000,
        ge=1,
        le=1_000_000,
        description="Living tokens kept in memory to ask again, about 1 KB each. None is kept for longer than it is in use.",
    )


class Jwt(Section):
    """Signed tokens (JWT), checked by the issuer's keys. They cannot be revoked: they live until they expire."""

    kind: Literal["jwt"] = Field(description="Which kind of source this is.")
    name: SourceName = Field(default="jwt", description="Name in logs, metrics and incidents; unique among the sources.")
    jwks_url: HttpUrl = Field(description="Where the issuer publishes its keys (RFC 7517).")
    ca_file: Path | None = Field(default=None, description="Certificate authorities of jwks_url in place of the system's.")
    issuer: Annotated[Words, AfterValidator(_issuers)] = Field(
        description="What `iss` must be; `{tenant}` stands for the part that names the tenant, as in "
        "https://sts.windows.net/{tenant}/."
    )
    audience: Annotated[Words, AfterValidator(_audiences)] = Field(description="Any one of these must be in `aud`.")
    algorithms: Annotated[Words, AfterValidator(_algorithms)] = Field(
        default=("RS256", "ES256"), description="The only algorithms taken; asymmetric ones alone can be."
    )
    tenant_claim: str = Field(
        default="sub", min_length=1, description="The claim that names the tenant where the issuer does not."
    )
    tenants: Mapping[str, str] = Field(
        default={},
        description="What names a tenant = what it is called here. If given, nobody else is let in; needed with "
        "`{tenant}`, for such an issuer signs strangers' tokens too.",
    )
    scope_claims: Words = Field(default=("scope", "scp", "roles"), description="The claims that hold scopes.")
    leeway: float = Field(default=30, ge=0, le=600, description="For clocks that differ: added to `exp`, taken from `nbf`.")
    timeout: float = Field(default=1, gt=0, le=30, description="Longest wait for the key set.")
    refresh_every: float = Field(
        default=300, ge=1, le=86_400, description="How often keys are fetched; a withdrawn one serves no longer than that."
    )
    grace: float = Field(
        default=86_400, ge=0, le=2_592_000, description="With the issuer away its keys serve this much longer, then 503."
    )
    verified_limit: int = Field(default=50_000, ge=1, le=1_000_000, description="Verified tokens remembered, about 1 KB each.")
