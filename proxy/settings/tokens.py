"""The sections about tokens: where they are kept, how fresh a reading must be, what is demanded of them, whose they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

from pydantic import AfterValidator, Field, SecretStr

from proxy.core.policy import Mode, OnDisagreement
from proxy.settings.issuers import Introspection, Jwt
from proxy.settings.section import Bytes, Section, SourceName, Words

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")

_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_MODES: Final = ("disabled", "required", "verify_ca", "verify_identity")
_MYSQL_OPTIONS: Final = ("ssl_mode", "ssl_ca", "unix_socket")

_NODE: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
"""A host, an IPv6 address or an encoded folder of a socket, and perhaps a port."""


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError("must be a plain SQL name of letters, digits and _: write it like users or public.users")
    return value


def _postgres(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgres://", "postgresql://")):
        raise ValueError("must be a PostgreSQL URL: write it like postgresql://scim_witness@db.example.com/app")
    mode = _options(value).get("sslmode", _SSLMODES[0])
    if mode not in _SSLMODES:
        raise ValueError(f"has an sslmode that is none: write one of {', '.join(_SSLMODES)}")
    return _unbroken(value)


def _mysql(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("mysql://", "mysql2://", "mariadb://")):
        raise ValueError("must be a MySQL URL: write it like mysql://scim_witness@db.example.com/app?ssl_mode=verify_identity")
    options = _options(value)
    if options.keys() - _MYSQL_OPTIONS:
        raise ValueError(f"has an option behind ? that is not known: there are {', '.join(_MYSQL_OPTIONS)}")
    if options.get("ssl_mode", _SSL_MODES[0]).lower() not in _SSL_MODES:
        raise ValueError(f"has an ssl_mode that is none: write one of {', '.join(_SSL_MODES)}")
    return _unbroken(value)


def unverified(dsn: SecretStr | None) -> bool:
    """Tell whether a PostgreSQL URL names an authority and yet takes any server: without sslmode libpq is content with less."""
    options = _options(dsn) if dsn is not None else {}
    return "sslrootcert" in options and options.get("sslmode", "prefer") in ("disable", "allow", "prefer")


def _options(value: SecretStr) -> dict[str, str]:
    return dict(parse_qsl(value.get_secret_value().partition("?")[2], keep_blank_values=True))


def _unbroken(value: SecretStr) -> SecretStr:
    """A password with these characters as they are moves the end of the host. Nothing of the URL is told."""
    place, _, path = value.get_secret_value().partition("://")[2].partition("?")[0].partition("/")
    nodes = place.rpartition("@")[2].split(",")
    if "#" in place + path or "@" in path or not all(_NODE.fullmatch(node) for node in nodes):
        raise ValueError("has a port that is no number, or @, / or # in its password: write these as %40, %2F and %23")
    return value


def _pattern(value: str) -> str:
    try:
        groups = re.compile(value.encode()).groupindex
    except (re.error, ValueError) as error:
        raise ValueError(f"is no regular expression ({error})") from error
    if "tenant" not in groups:
        raise ValueError("must have a group named tenant: write it like ^/tenants/(?P<tenant>[^/]+)/scim")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]
MysqlUrl = Annotated[SecretStr, AfterValidator(_mysql)]
Pattern = Annotated[str, AfterValidator(_pattern)]
TenantFrom = Literal["application_name", "application_uid", "application_id", "owner", "query"]


class TokenFile(Section):
    """Tokens listed by digest in a file, which is picked up again when it changes."""

    kind: Literal["token_file"] = Field(description="Which kind of source this is.")
    name: SourceName = Field(default="token_file", description="Name in logs, metrics and incidents; unique among the sources.")
    path: Path = Field(description="The TOML or JSON file.")
    digest_key: SecretStr | None = Field(
        default=None, min_length=16, description='Key of the digests, for a file that says hash = "hmac-sha256".'
    )
    digest_key_file: Path | None = Field(default=None, description="File that holds digest_key.")


RubyClass = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9_]*(::[A-Z][A-Za-z0-9_]*)*$")]
"""The name of a Ruby class, as Rails writes it into a polymorphic column."""


class Owner(Section):
    """The table of resource owners (`resource_owner_id` of a token)."""

    table: Identifier | None = Field(default=None, description="Its table, such as users. Without it owners are not read.")
    key: Identifier = Field(default="id", description="The column that resource_owner_id holds.")
    type: RubyClass | None = Field(
        default=None,
        description="Where owners are polymorphic: the `resource_owner_type` of those in the table, such as User.",
    )
    active_column: Identifier | None = Field(
        default=None, description="A boolean column that is true while the owner is active."
    )
    active_expression: str | None = Field(
        default=None,
        min_length=1,
        description="SQL over the owner's columns in place of active_column, such as `disabled_at IS NULL`.",
    )
    tenant_column: Identifier | None = Field(
        default=None, description='The column that names the tenant, for tenant_from = "owner"; the key if not given.'
    )


class Doorkeeper(Section):
    """Doorkeeper's own tables, whatever the database. A role that may only SELECT is enough."""

    kind: str = Field(description="Which kind of source this is.")
    name: SourceName = Field(default="doorkeeper", description="Name in logs, metrics and incidents; unique among the sources.")
    dsn: SecretStr | None = Field(default=None, description="URL of the primary database. A refusal always rests on it.")
    dsn_file: Path | None = Field(default=None, description="File that holds dsn.")
    replica_dsn: SecretStr | None = Field(default=None, description="URL of a replica for ordinary readings.")
    replica_dsn_file: Path | None = Field(default=None, description="File that holds replica_dsn.")
    schema_: Identifier | None = Field(
        default=None,
        alias="schema",
        description="Schema (MySQL: database) of the tables; the session's own if not given.",
    )
    tokens_table: Identifier = Field(default="oauth_access_tokens", description="Table of access tokens.")
    applications_table: Identifier = Field(default="oauth_applications", description="Table of applications.")
    grants_table: Identifier = Field(default="oauth_access_grants", description="Table of grants; read for incidents only.")
    hashing: Literal["plain", "sha256", "sha256_fallback_plain"] = Field(
        default="plain",
        description="How Doorkeeper stores token secrets: its own default, `hash_token_secrets`, or that with `fallback: "
        ":plain`.",
    )
    pool_size: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Connections per process and database. Tokens in use cost one query a second in all.",
    )
    query_timeout: float = Field(
        default=1,
        gt=0,
        le=30,
        description="Longest wait for a connection and an answer; after it the state is unavailable, not unknown.",
    )
    connect_timeout: float = Field(
        default=5,
        gt=0,
        le=60,
        description="Of a new connection, which is made behind query_timeout: a request does not wait for it.",
    )
    surroundings_timeout: float = Field(
        default=0.5,
        gt=0,
        le=30,
        description="Of reading what explains a refusal (siblings, near misses). Without it the incident says less.",
    )
    owner: Owner = Field(default=Owner())
    tenant_from: TenantFrom = Field(default="application_name", description="What names the tenant of a token.")
    tenant_query: str | None = Field(
        default=None, min_length=1, description='For tenant_from = "query": a SELECT of one text, with $1 for the token\'s id.'
    )


class DoorkeeperPostgres(Doorkeeper):
    """Doorkeeper's own tables in PostgreSQL. A role that may only SELECT is enough."""

    kind: Literal["doorkeeper_postgres"] = Field(description="Which kind of source this is.")
    dsn: PostgresUrl | None = Field(default=None, description="URL of the primary database. A refusal always rests on it.")
    replica_dsn: PostgresUrl | None = Field(default=None, description="URL of a replica for ordinary readings.")
    statement_cache: bool = Field(
        default=True, description="Prepare statements. Switch it off behind PgBouncer in transaction mode."
    )


class DoorkeeperMysql(Doorkeeper):
    """Doorkeeper's own tables in MySQL or MariaDB. A role that may only SELECT is enough."""

    kind: Literal["doorkeeper_mysql"] = Field(description="Which kind of source this is.")
    name: SourceName = Field(
        default="doorkeeper_mysql", description="Name in logs, metrics and incidents; unique among the sources."
    )
    dsn: MysqlUrl | None = Field(
        default=None,
        description="URL of the primary database, with `?ssl_mode=verify_identity&ssl_ca=/path` where TLS is wanted. A refusal "
        "always rests on it.",
    )
    replica_dsn: MysqlUrl | None = Field(default=None, description="URL of a replica for ordinary readings.")


Source = Annotated[TokenFile | DoorkeeperPostgres | DoorkeeperMysql | Introspection | Jwt, Field(discriminator="kind")]


class Fresh(Section):
    """How fresh a reading is, and what is remembered. No query is on the way of a request whose token is in use."""

    refresh_every: float = Field(
        default=1, gt=0, le=60, description="All tokens in use are read again this often, in one query."
    )
    fresh_for: float = Field(
        default=2,
        gt=0,
        le=120,
        description="A reading is as good as now for this long: so a revocation is enforced within this time. At least "
        "refresh_every.",
    )
    active_window: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="A token counts as in use for this long after a request: longer than the gaps within one sync.",
    )
    tokens_limit: int = Field(
        default=200_000,
        ge=1,
        description="Tokens remembered: about 300 bytes each, so 60 MB at most; the longest unused go first.",
    )
    negative_ttl: float = Field(
        default=2, gt=0, le=60, description="An unknown token is not looked up again for this long: a new one works within it."
    )
    negative_limit: int = Field(
        default=10_000, ge=1, description="Unknown tokens remembered: a flood of guesses stays within about 2 MB."
    )
    stale_grace: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="With the source down, the last reading serves this much longer, then 503. Covers a failover; a "
        "revocation waits for it.",
    )
    second_looks_per_second: int = Field(
        default=500, ge=1, le=100_000, description="Looks at the primary before refusals: guesses cannot load it beyond this."
    )


class PolicySettings(Section):
    """What is demanded beyond Doorkeeper's own rules."""

    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="enforce refuses; observe forwards everything and records what would have been refused.",
    )
    read_scopes: Words = Field(default=(), description="Any one of these is needed to read; none by default, as at Doorkeeper.")
    write_scopes: Words = Field(default=(), description="Any one of these is needed to write.")
    read_only_tenants: Words = Field(default=(), description="Tenants whose writes are refused with 403.")
    refuse_inactive_owner: bool = Field(
        default=False,
        description="Refuse tokens of inactive or deleted owners. Doorkeeper does not. Needs source.owner, or a token file.",
    )
    allow_query_token: bool = Field(
        default=False,
        description="Accept ?access_token=. RFC 6750 section 5.3 advises against it: such tokens end up in everybody's logs.",
    )
    allow_form_token: bool = Field(default=False, description="Accept access_token in a form body (RFC 6750 section 2.2).")
    on_disagreement: OnDisagreement = Field(
        default=OnDisagreement.PASS,
        description="When the backend refuses a token held valid: pass the answer on, retry_once, or say unavailable "
        "(503) so that the client tries again.",
    )
    retry_body_limit: Bytes = Field(
        default=65_536,
        ge=0,
        le=16 << 20,
        description="Largest request body kept for retry_once: SCIM resources fit, memory stays bounded.",
    )
    explain_refusals: bool = Field(
        default=True, description="Say the reason in the 401's body. Off, it carries the incident id only."
    )
    realm: str = Field(default="SCIM", pattern=r"^[ !#-\[\]-~]{1,64}$", description="The realm in WWW-Authenticate.")


class Tenant(Section):
    """What is known of one tenant: `[tenants.NAME]`."""

    mode: Mode | None = Field(default=None, description="Overrides policy.mode for this tenant.")
    expected_every: float | None = Field(
        default=None, gt=0, description="It should send a request this often; learned from its past if not given."
    )
    client: Literal["okta", "entra", "onelogin", "pingone", "jumpcloud", "other"] | None = Field(
        default=None, description="Its identity provider: chooses the advice and the expected cadence."
    )


class TenantRoute(Section):
    """Names the tenant by the request alone, for unknown tokens and to notice a token of another tenant."""

    path: Pattern | None = Field(
        default=None,
        description="Regular expression on the target with a group named tenant, like `^/tenants/(?P<tenant>[^/]+)/scim`.",
    )
    host: Pattern | None = Field(
        default=None, description="The same on the Host field, like `^(?P<tenant>[^.]+)[.]scim[.]example[.]com$`."
    )
