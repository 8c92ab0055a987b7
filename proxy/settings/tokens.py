"""The sections about tokens: where they are kept, how fresh a reading must be, what is demanded of them, whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

from msgspec import field

from proxy.core.policy import Mode, OnDisagreement
from proxy.settings.issuers import Introspection, Jwt
from proxy.settings.section import Bounds, Bytes, Check, Secret, Section, SourceName, Words, matching

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


def _postgres(value: Secret) -> Secret:
    if not value.get_secret_value().startswith(("postgres://", "postgresql://")):
        raise ValueError("must be a PostgreSQL URL: write it like postgresql://scim_witness@db.example.com/app")
    mode = _options(value).get("sslmode", _SSLMODES[0])
    if mode not in _SSLMODES:
        raise ValueError(f"has an sslmode that is none: write one of {', '.join(_SSLMODES)}")
    return _unbroken(value)


def _mysql(value: Secret) -> Secret:
    if not value.get_secret_value().startswith(("mysql://", "mysql2://", "mariadb://")):
        raise ValueError("must be a MySQL URL: write it like mysql://scim_witness@db.example.com/app?ssl_mode=verify_identity")
    options = _options(value)
    if options.keys() - _MYSQL_OPTIONS:
        raise ValueError(f"has an option behind ? that is not known: there are {', '.join(_MYSQL_OPTIONS)}")
    if options.get("ssl_mode", _SSL_MODES[0]).lower() not in _SSL_MODES:
        raise ValueError(f"has an ssl_mode that is none: write one of {', '.join(_SSL_MODES)}")
    return _unbroken(value)


def unverified(dsn: Secret | None) -> bool:
    """Tell whether a PostgreSQL URL names an authority and yet takes any server: without sslmode libpq is content with less."""
    options = _options(dsn) if dsn is not None else {}
    return "sslrootcert" in options and options.get("sslmode", "prefer") in ("disable", "allow", "prefer")


def _options(value: Secret) -> dict[str, str]:
    return dict(parse_qsl(value.get_secret_value().partition("?")[2], keep_blank_values=True))


def _unbroken(value: Secret) -> Secret:
    """A password with these characters as they are moves the end of the host. Nothing of the URL is told."""
    place, _, path = value.get_secret_value().partition("://")[2].partition("?")[0].partition("/")
    nodes = place.rpartition("@")[2].split(",")
    if "#" in place + path or "@" in path or not all(_NODE.fullmatch(node) for node in nodes):
        raise ValueError("has a port that is no number, or @, / or # in its password: write these as %40, %2F and %23")
    return value


def _pattern(value: str) -> str:
    try:
        groups = re.compile(value.encode()).groupindex
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression ({error})") from error
    if "tenant" not in groups:
        raise ValueError("must have a group named tenant: write it like ^/tenants/(?P<tenant>[^/]+)/scim")
    return value


Identifier = Annotated[str, Check(_identifier)]
PostgresUrl = Annotated[Secret, Check(_postgres)]
MysqlUrl = Annotated[Secret, Check(_mysql)]
Pattern = Annotated[str, Check(_pattern)]
TenantFrom = Literal["application_name", "application_uid", "application_id", "owner", "query"]


class TokenFile(Section, frozen=True, kw_only=True):
    """Tokens listed by digest in a file, which is picked up again when it changes."""

    kind: Annotated[Literal["token_file"], "Which kind of source this is."]
    name: Annotated[SourceName, "Name in logs, metrics and incidents; unique among the sources."] = "token_file"
    path: Annotated[Path, "The TOML or JSON file."]
    digest_key: Annotated[
        Secret | None, Bounds(min_length=16), 'Key of the digests, for a file that says hash = "hmac-sha256".'
    ] = None
    digest_key_file: Annotated[Path | None, "File that holds digest_key."] = None


RubyClass = Annotated[str, Check(matching(r"^[A-Z][A-Za-z0-9_]*(::[A-Z][A-Za-z0-9_]*)*$"))]
"""The name of a Ruby class, as Rails writes it into a polymorphic column."""


class Owner(Section, frozen=True, kw_only=True):
    """The table of resource owners (`resource_owner_id` of a token)."""

    table: Annotated[Identifier | None, "Its table, such as users. Without it owners are not read."] = None
    key: Annotated[Identifier, "The column that resource_owner_id holds."] = "id"
    type: Annotated[
        RubyClass | None, "Where owners are polymorphic: the `resource_owner_type` of those in the table, such as User."
    ] = None
    active_column: Annotated[Identifier | None, "A boolean column that is true while the owner is active."] = None
    active_expression: Annotated[
        str | None,
        Bounds(min_length=1),
        "SQL over the owner's columns in place of active_column, such as `disabled_at IS NULL`.",
    ] = None
    tenant_column: Annotated[
        Identifier | None, 'The column that names the tenant, for tenant_from = "owner"; the key if not given.'
    ] = None


class Doorkeeper(Section, frozen=True, kw_only=True):
    """Doorkeeper's own tables, whatever the database. A role that may only SELECT is enough."""

    kind: Annotated[str, "Which kind of source this is."]
    name: Annotated[SourceName, "Name in logs, metrics and incidents; unique among the sources."] = "doorkeeper"
    dsn: Annotated[Secret | None, "URL of the primary database. A refusal always rests on it."] = None
    dsn_file: Annotated[Path | None, "File that holds dsn."] = None
    replica_dsn: Annotated[Secret | None, "URL of a replica for ordinary readings."] = None
    replica_dsn_file: Annotated[Path | None, "File that holds replica_dsn."] = None
    schema_: Annotated[Identifier | None, "Schema (MySQL: database) of the tables; the session's own if not given."] = field(
        default=None, name="schema"
    )
    tokens_table: Annotated[Identifier, "Table of access tokens."] = "oauth_access_tokens"
    applications_table: Annotated[Identifier, "Table of applications."] = "oauth_applications"
    grants_table: Annotated[Identifier, "Table of grants; read for incidents only."] = "oauth_access_grants"
    hashing: Annotated[
        Literal["plain", "sha256", "sha256_fallback_plain"],
        "How Doorkeeper stores token secrets: its own default, `hash_token_secrets`, or that with `fallback: :plain`.",
    ] = "plain"
    pool_size: Annotated[
        int, Bounds(ge=1, le=100), "Connections per process and database. Tokens in use cost one query a second in all."
    ] = 2
    query_timeout: Annotated[
        float,
        Bounds(gt=0, le=30),
        "Longest wait for a connection and an answer; after it the state is unavailable, not unknown.",
    ] = 1
    connect_timeout: Annotated[
        float, Bounds(gt=0, le=60), "Of a new connection, which is made behind query_timeout: a request does not wait for it."
    ] = 5
    surroundings_timeout: Annotated[
        float,
        Bounds(gt=0, le=30),
        "Of reading what explains a refusal (siblings, near misses). Without it the incident says less.",
    ] = 0.5
    owner: Owner = Owner()
    tenant_from: Annotated[TenantFrom, "What names the tenant of a token."] = "application_name"
    tenant_query: Annotated[
        str | None, Bounds(min_length=1), 'For tenant_from = "query": a SELECT of one text, with $1 for the token\'s id.'
    ] = None


class DoorkeeperPostgres(Doorkeeper, frozen=True, kw_only=True):
    """Doorkeeper's own tables in PostgreSQL. A role that may only SELECT is enough."""

    kind: Annotated[Literal["doorkeeper_postgres"], "Which kind of source this is."]
    dsn: Annotated[PostgresUrl | None, "URL of the primary database. A refusal always rests on it."] = None
    replica_dsn: Annotated[PostgresUrl | None, "URL of a replica for ordinary readings."] = None
    statement_cache: Annotated[bool, "Prepare statements. Switch it off behind PgBouncer in transaction mode."] = True


class DoorkeeperMysql(Doorkeeper, frozen=True, kw_only=True):
    """Doorkeeper's own tables in MySQL or MariaDB. A role that may only SELECT is enough."""

    kind: Annotated[Literal["doorkeeper_mysql"], "Which kind of source this is."]
    name: Annotated[SourceName, "Name in logs, metrics and incidents; unique among the sources."] = "doorkeeper_mysql"
    dsn: Annotated[
        MysqlUrl | None,
        "URL of the primary database, with `?ssl_mode=verify_identity&ssl_ca=/path` where TLS is wanted. A refusal "
        "always rests on it.",
    ] = None
    replica_dsn: Annotated[MysqlUrl | None, "URL of a replica for ordinary readings."] = None


Source = TokenFile | DoorkeeperPostgres | DoorkeeperMysql | Introspection | Jwt

SOURCES: Final[Mapping[str, type[Section]]] = {
    "token_file": TokenFile,
    "doorkeeper_postgres": DoorkeeperPostgres,
    "doorkeeper_mysql": DoorkeeperMysql,
    "introspection": Introspection,
    "jwt": Jwt,
}
"""What a source is, by its `kind`."""


class Fresh(Section, frozen=True, kw_only=True):
    """How fresh a reading is, and what is remembered. No query is on the way of a request whose token is in use."""

    refresh_every: Annotated[float, Bounds(gt=0, le=60), "All tokens in use are read again this often, in one query."] = 1
    fresh_for: Annotated[
        float,
        Bounds(gt=0, le=120),
        "A reading is as good as now for this long: so a revocation is enforced within this time. At least refresh_every.",
    ] = 2
    active_window: Annotated[
        float,
        Bounds(gt=0, le=86_400),
        "A token counts as in use for this long after a request: longer than the gaps within one sync.",
    ] = 300
    tokens_limit: Annotated[
        int, Bounds(ge=1), "Tokens remembered: about 300 bytes each, so 60 MB at most; the longest unused go first."
    ] = 200_000
    negative_ttl: Annotated[
        float, Bounds(gt=0, le=60), "An unknown token is not looked up again for this long: a new one works within it."
    ] = 2
    negative_limit: Annotated[int, Bounds(ge=1), "Unknown tokens remembered: a flood of guesses stays within about 2 MB."] = (
        10_000
    )
    stale_grace: Annotated[
        float,
        Bounds(ge=0, le=86_400),
        "With the source down, the last reading serves this much longer, then 503. Covers a failover; a "
        "revocation waits for it.",
    ] = 300
    second_looks_per_second: Annotated[
        int, Bounds(ge=1, le=100_000), "Looks at the primary before refusals: guesses cannot load it beyond this."
    ] = 500


class PolicySettings(Section, frozen=True, kw_only=True):
    """What is demanded beyond Doorkeeper's own rules."""

    mode: Annotated[Mode, "enforce refuses; observe forwards everything and records what would have been refused."] = (
        Mode.ENFORCE
    )
    read_scopes: Annotated[Words, "Any one of these is needed to read; none by default, as at Doorkeeper."] = ()
    write_scopes: Annotated[Words, "Any one of these is needed to write."] = ()
    read_only_tenants: Annotated[Words, "Tenants whose writes are refused with 403."] = ()
    refuse_inactive_owner: Annotated[
        bool, "Refuse tokens of inactive or deleted owners. Doorkeeper does not. Needs source.owner, or a token file."
    ] = False
    allow_query_token: Annotated[
        bool, "Accept ?access_token=. RFC 6750 section 5.3 advises against it: such tokens end up in everybody's logs."
    ] = False
    allow_form_token: Annotated[bool, "Accept access_token in a form body (RFC 6750 section 2.2)."] = False
    on_disagreement: Annotated[
        OnDisagreement,
        "When the backend refuses a token held valid: pass the answer on, retry_once, or say unavailable "
        "(503) so that the client tries again.",
    ] = OnDisagreement.PASS
    retry_body_limit: Annotated[
        Bytes, Bounds(ge=0, le=16 << 20), "Largest request body kept for retry_once: SCIM resources fit, memory stays bounded."
    ] = 65_536
    explain_refusals: Annotated[bool, "Say the reason in the 401's body. Off, it carries the incident id only."] = True
    realm: Annotated[str, Check(matching(r"^[ !#-\[\]-~]{1,64}$")), "The realm in WWW-Authenticate."] = "SCIM"


class Tenant(Section, frozen=True, kw_only=True):
    """What is known of one tenant: `[tenants.NAME]`."""

    mode: Annotated[Mode | None, "Overrides policy.mode for this tenant."] = None
    expected_every: Annotated[
        float | None, Bounds(gt=0), "It should send a request this often; learned from its past if not given."
    ] = None
    client: Annotated[
        Literal["okta", "entra", "onelogin", "pingone", "jumpcloud", "other"] | None,
        "Its identity provider: chooses the advice and the expected cadence.",
    ] = None


class TenantRoute(Section, frozen=True, kw_only=True):
    """Names the tenant by the request alone, for unknown tokens and to notice a token of another tenant."""

    path: Annotated[
        Pattern | None, "Regular expression on the target with a group named tenant, like `^/tenants/(?P<tenant>[^/]+)/scim`."
    ] = None
    host: Annotated[Pattern | None, "The same on the Host field, like `^(?P<tenant>[^.]+)[.]scim[.]example[.]com$`."] = None
