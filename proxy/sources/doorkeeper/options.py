"""What a deployment says about its Doorkeeper tables. Frozen; built from settings by wire.py. SQL in it is trusted."""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec


class Hashing(enum.StrEnum):
    """How Doorkeeper stores secrets: `hash_token_secrets` off, on, or on with `fallback: :plain`."""

    PLAIN = "plain"
    SHA256 = "sha256"
    SHA256_FALLBACK_PLAIN = "sha256_fallback_plain"

    def finds(self, stored: str) -> bool:
        """Whether a row that is stored so (Known.stored) is looked for."""
        return stored in {Hashing.PLAIN: ("plain",), Hashing.SHA256: ("sha256",)}.get(self, ("plain", "sha256"))


class TenantFrom(enum.StrEnum):
    """What names the tenant of a token."""

    APPLICATION_NAME = "application_name"
    APPLICATION_UID = "application_uid"
    APPLICATION_ID = "application_id"
    OWNER = "owner"
    QUERY = "query"


NO_TENANT: Final = "_none"
"""The tenant of a row for which the configured place holds NULL: a row without application, say."""

_PLACEHOLDER: Final = re.compile(r"\$1(?!\d)")


class Owner(msgspec.Struct, frozen=True):
    """The table of resource owners (`users` or `crm.users`). `active` is a boolean SQL expression over its columns
    (`active`, `deactivated_at IS NULL`), empty: all are; `tenant` likewise for TenantFrom.OWNER, empty: the key. `type` is the
    resource_owner_type of who is in it where owners are polymorphic, empty: everybody is."""

    table: str
    key: str = "id"
    active: str = ""
    tenant: str = ""
    type: str = ""


class Options(msgspec.Struct, frozen=True):
    """Durations in seconds. `schema` empty: the session's search_path.

    `tenant_query` is a SELECT of one column with `$1` for the token's primary key, for TenantFrom.QUERY.
    `pgbouncer` makes every query its own transaction without named statements, as transaction pooling needs it.
    `query_timeout` bounds a look-up from the caller's view; connecting goes on behind it for `connect_timeout`.
    """

    primary: str
    replica: str | None = None
    name: str = "doorkeeper"
    schema: str = ""
    tokens: str = "oauth_access_tokens"
    applications: str = "oauth_applications"
    grants: str = "oauth_access_grants"
    hashing: Hashing = Hashing.PLAIN
    owner: Owner | None = None
    tenant_from: TenantFrom = TenantFrom.APPLICATION_NAME
    tenant_query: str = ""
    pgbouncer: bool = False
    lookup_connections: int = 2
    query_timeout: float = 1.0
    connect_timeout: float = 5.0
    surroundings_timeout: float = 0.5

    def __repr__(self) -> str:
        return f"<Options {self.name}>"  # the DSNs hold passwords


def faults(options: Options) -> list[str]:
    """Return what is wrong with the options by themselves, one sentence each, without asking a database."""
    found = []
    if options.tenant_from is TenantFrom.QUERY and not _PLACEHOLDER.search(options.tenant_query):
        found.append("tenant_query: needs a SELECT with $1 for the primary key of the token's row")
    if options.tenant_from is TenantFrom.OWNER and options.owner is None:
        found.append("tenant_from = owner: needs owner.table")
    if options.lookup_connections < 1:
        found.append("lookup_connections: at least 1")
    if min(options.query_timeout, options.connect_timeout, options.surroundings_timeout) <= 0:
        found.append("query_timeout, connect_timeout, surroundings_timeout: above 0")
    return found


def tenant_subquery(query: str, key: str) -> str:
    """Return the vendor's query with `key`, a column reference, in place of `$1`."""
    return _PLACEHOLDER.sub(lambda _: key, query.strip().rstrip(";"))
