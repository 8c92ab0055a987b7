# ruff: noqa: S608 - identifiers are quoted, expressions are the operator's, values go as parameters
"""The queries, written for one shape of the schema. Pure text; values go as parameters, identifiers are quoted.

Our aliases begin with sw_, so that they meet no name of the vendor's expressions. `extract(epoch FROM ...)` takes a
`timestamp without time zone` as UTC whatever the session's zone, and a `timestamptz` as the instant that it is.
"""

from __future__ import annotations

from typing import Final

from proxy.sources.doorkeeper.options import Options, TenantFrom, tenant_subquery
from proxy.sources.doorkeeper.postgres_schema import Shape, Table, quoted
from proxy.sources.doorkeeper.schema import CODE_AFTER, CODE_BEFORE

SIBLINGS: Final = 8
"""Rows per relation: a person reads no more, and the newest ones tell what happened."""

_STARTED: Final = "extract(epoch FROM pg_postmaster_start_time())::float8"
_CLOCK: Final = f"(SELECT extract(epoch FROM clock_timestamp())::float8 AS now, {_STARTED} AS started) AS sw_clock"


class Statements:
    """All queries for one shape. Parameters are named in the comments; keys are int8[] or text[] by the primary key's type."""

    def __init__(self, shape: Shape, options: Options) -> None:
        self.shape = shape
        self._options = options
        self._key_type = "int8" if shape.numbered else "text"
        tokens = shape.tokens
        token_type = tokens.columns["token"].type
        self.versioned = shape.versioned and not _asks_elsewhere(options)
        versions = self._versions() if self.versioned else ("NULL::xid",) * 3
        columns = f"{self._facts()}, {versions[0]} AS sw_v1, {versions[1]} AS sw_v2, {versions[2]} AS sw_v3"
        self.by_forms = (  # $1 text[]: stored forms
            f"SELECT sw_clock.now, sw_row.*, sw_clock.started FROM {_CLOCK} LEFT JOIN ("
            f"SELECT {self._key('sw_token')} AS sw_asked, {columns} FROM {tokens.name} AS sw_token {self._joins()} "
            f"WHERE sw_token.token = ANY($1::text[]::{token_type}[])) AS sw_row ON true"
        )
        native = tokens.columns["id"].type if not shape.numbered else "int8"
        self.by_keys = (  # $1 keys, $2 to $4 xid[]: versions, NULL where none is known, $5 float8: of the server started then
            f"SELECT sw_clock.now, sw_row.*, sw_clock.started FROM {_CLOCK} LEFT JOIN ("
            f"SELECT sw_ask.sw_key AS sw_asked, {columns} "
            f"FROM unnest($1::{self._key_type}[], $2::xid[], $3::xid[], $4::xid[]) AS sw_ask(sw_key, sw_1, sw_2, sw_3) "
            f"LEFT JOIN {tokens.name} AS sw_token ON sw_token.id = sw_ask.sw_key::{native} {self._joins()} "
            f"WHERE sw_token.id IS NULL OR $5::float8 IS DISTINCT FROM (SELECT {_STARTED}) OR {self._differs(versions)}"
            ") AS sw_row ON true"
        )
        self.kin = self._kin()
        self.granted = self._granted()
        self.same_instant, self.same_instant_whole = self._same_instant()
        self.near = self._near()
        self.near_prefix = self._near_prefix()

    def _key(self, alias: str) -> str:
        return f"{alias}.id::{self._key_type}"

    def _facts(self) -> str:
        tokens = self.shape.tokens
        found = "coalesce(sw_owner.sw_found, false)"
        if self._of_type():
            found = f"CASE WHEN true{self._of_type()} THEN {found} END"
        owner = (
            f"{found} AS sw_found, sw_owner.sw_active"
            if self.shape.owner
            else "NULL::bool AS sw_found, NULL::bool AS sw_active"
        )
        scopes = "sw_token.scopes::text" if tokens.reads("scopes") else "NULL::text"
        return ", ".join((
            f"{self._key('sw_token')} AS id",
            "sw_token.token::text AS token",
            "extract(epoch FROM sw_token.created_at)::float8 AS created_at",
            "sw_token.expires_in::int8 AS expires_in",
            "extract(epoch FROM sw_token.revoked_at)::float8 AS revoked_at",
            f"{scopes} AS scopes",
            f"{_text(tokens, 'sw_token', 'application_id')} AS application",
            f"{_text(self.shape.applications, 'sw_application', 'name')} AS application_name",
            f"{_text(tokens, 'sw_token', 'resource_owner_id')} AS owner",
            owner,
            f"({self._tenant()})::text AS sw_tenant",
            f"{self._refreshable('sw_token')} AS refreshable",
            f"{self._unused('sw_token')} AS unused",
        ))  # fmt: skip

    def _joins(self) -> str:
        joins = []
        if self._joins_applications():
            joins.append(
                f"LEFT JOIN {self.shape.applications.name} AS sw_application ON sw_application.id = sw_token.application_id"
            )
        owner = self._options.owner
        if self.shape.owner is not None and owner is not None:
            version = "sw_account.xmin" if self.shape.owner.reads("xmin") else "NULL::xid"
            tenant = owner.tenant or f"sw_account.{quoted(owner.key)}"
            joins.append(
                f"LEFT JOIN LATERAL (SELECT true AS sw_found, ({owner.active or 'true'})::bool AS sw_active, "
                f"({tenant})::text AS sw_owner_tenant, {version} AS sw_owner_version "
                f"FROM {self.shape.owner.name} AS sw_account "
                f"WHERE sw_account.{quoted(owner.key)} = sw_token.resource_owner_id{self._of_type()}) AS sw_owner ON true"
            )
        return " ".join(joins)

    def _of_type(self) -> str:
        """That the owner is one of those in the configured table, where another type's may have the same number."""
        owner = self._options.owner
        return f" AND sw_token.resource_owner_type = '{owner.type}'" if owner is not None and owner.type else ""

    def _joins_applications(self) -> bool:
        return self.shape.applications.reads("id") and self.shape.tokens.reads("application_id")

    def _tenant(self) -> str:
        match self._options.tenant_from:
            case TenantFrom.APPLICATION_NAME:
                return _text(self.shape.applications, "sw_application", "name")
            case TenantFrom.APPLICATION_UID:
                return _text(self.shape.applications, "sw_application", "uid")
            case TenantFrom.APPLICATION_ID:
                return _text(self.shape.tokens, "sw_token", "application_id")
            case TenantFrom.OWNER:
                return "sw_owner.sw_owner_tenant"
            case TenantFrom.QUERY:
                query = tenant_subquery(self._options.tenant_query, "sw_token.id")
                return f"SELECT sw_named.sw_name FROM ({query}) AS sw_named(sw_name) LIMIT 1"

    def _versions(self) -> tuple[str, str, str]:
        """The transactions that wrote the rows: compared as they are, which costs less than any value of a row."""
        application = "sw_application.xmin" if self._joins_applications() else "NULL::xid"
        owner = "sw_owner.sw_owner_version" if self.shape.owner is not None else "NULL::xid"
        return "sw_token.xmin", application, owner

    def _differs(self, versions: tuple[str, ...]) -> str:
        if not self.versioned:
            return "true"
        return " OR ".join(f"sw_ask.sw_{n} IS DISTINCT FROM {version}" for n, version in enumerate(versions, 1))

    def _refreshable(self, alias: str) -> str:
        tokens = self.shape.tokens
        if tokens.reads("refresh_token"):
            return f"(coalesce({alias}.refresh_token, '') <> '')"
        return "NULL::bool" if "refresh_token" in tokens.columns else "false"

    def _unused(self, alias: str) -> str:
        if self.shape.tokens.reads("previous_refresh_token"):
            return f"(coalesce({alias}.previous_refresh_token, '') <> '')"
        return "false"

    def _sibling(self, relation: str, condition: str, order: str) -> str:
        tokens = self.shape.tokens
        tenant = {
            TenantFrom.APPLICATION_NAME: _text(self.shape.applications, "sw_application", "name"),
            TenantFrom.APPLICATION_UID: _text(self.shape.applications, "sw_application", "uid"),
        }.get(self._options.tenant_from, "NULL::text")
        join = ""
        if self._joins_applications() and "sw_application" in tenant:
            join = f"LEFT JOIN {self.shape.applications.name} AS sw_application ON sw_application.id = t.application_id"
        elif self._options.tenant_from is TenantFrom.APPLICATION_ID:
            tenant = _text(tokens, "t", "application_id")
        used = f"CASE WHEN {self._unused('t')} THEN false END"
        return (
            f"(SELECT '{relation}'::text, {self._key('t')}, extract(epoch FROM t.created_at)::float8, "
            f"extract(epoch FROM t.revoked_at)::float8, t.expires_in::int8, {tenant}, "
            f"{_text(tokens, 't', 'application_id')}, {_text(tokens, 't', 'resource_owner_id')}, {used}, "
            f"{self._refreshable('t')}, t.token::text "
            f"FROM {tokens.name} AS t {join} WHERE {condition} ORDER BY {order} LIMIT {SIBLINGS})"
        )

    def _of_same_grant(self) -> str:
        """$1 key, $2 application, $3 owner: as text. Polymorphic owners of two types may have the same number."""
        tokens, parts = self.shape.tokens, []
        for column, parameter in (("application_id", "$2"), ("resource_owner_id", "$3")):
            if tokens.reads(column):
                value = f"{parameter}::text::{tokens.columns[column].type}"
                parts.append(f"(t.{column} = {value} OR ({parameter}::text IS NULL AND t.{column} IS NULL))")
        if tokens.reads("resource_owner_type"):
            mine = f"FROM {tokens.name} AS m WHERE m.id = $1::text::{tokens.columns['id'].type}"
            same = f"t.resource_owner_type IS NOT DISTINCT FROM (SELECT m.resource_owner_type {mine})"
            parts.append(f"({same} OR NOT EXISTS (SELECT 1 {mine}))")
        return " AND ".join(parts) or "false"

    def _kin(self) -> str:
        """$1 key as text, $2 application, $3 owner, $4 created_at (float8)."""
        tokens = self.shape.tokens
        me = f"$1::text::{tokens.columns['id'].type}"
        # both parameters must be typed in every form of the query
        typed = "($2::text IS NULL OR true) AND ($3::text IS NULL OR true)"
        same = f"{typed} AND {self._of_same_grant()} AND t.id <> {me}"
        born, newest = "extract(epoch FROM t.created_at)::float8", "t.created_at DESC"
        tie = f"{born} = $4::float8 AND t.id"
        parts = [
            self._sibling("self", f"t.id = {me}", "t.id"),
            self._sibling("newer", f"{same} AND ({born} > $4::float8 OR ({tie} > {me}))", newest),
            self._sibling("older", f"{same} AND ({born} < $4::float8 OR ({tie} < {me}))", newest),
        ]  # fmt: skip
        if tokens.reads("refresh_token") and tokens.reads("previous_refresh_token"):
            mine = f"FROM {tokens.name} AS m WHERE m.id = {me}"
            parts.append(self._sibling(
                "successor",
                f"{same} AND t.previous_refresh_token <> '' AND t.previous_refresh_token = (SELECT m.refresh_token {mine})",
                newest,
            ))  # fmt: skip
            before = f"(SELECT m.previous_refresh_token {mine} AND m.previous_refresh_token <> '')"
            parts.append(self._sibling("predecessor", f"t.refresh_token = {before} AND t.id <> {me}", newest))
        return " UNION ALL ".join(parts)

    def _granted(self) -> str:
        """$1 application, $2 owner, both as text, $3 created_at of the token (float8)."""
        grants = self.shape.grants
        if not self.shape.finds_grants:
            typed = "($1::text IS NULL OR true) AND ($2::text IS NULL OR true) AND ($3::float8 IS NULL OR true)"
            return f"SELECT NULL::bool WHERE {typed}"
        pair = " AND ".join(
            f"g.{column} = ${number}::text::{grants.columns[column].type}"
            for number, column in enumerate(("application_id", "resource_owner_id"), 1)
        )
        made = "$3::float8 IS NOT NULL"
        if grants.reads("created_at"):
            made = f"extract(epoch FROM g.created_at)::float8 BETWEEN $3::float8 - {CODE_BEFORE} AND $3::float8 + {CODE_AFTER}"
        return f"SELECT EXISTS (SELECT 1 FROM {grants.name} AS g WHERE {pair} AND {made})"

    def _same_instant(self) -> tuple[str, bool]:
        """$1 key as text, $2 application, $3 owner, $4 revoked_at (float8). Across all tenants where that is cheap, which
        the flag tells; else among the rows of the same application and owner."""
        tokens = self.shape.tokens
        whole = tokens.small or tokens.indexed("revoked_at")
        column = tokens.columns["revoked_at"].type
        instant = "to_timestamp($4::float8)" + ("" if column.endswith("with time zone") else " AT TIME ZONE 'UTC'")
        start = f"date_trunc('milliseconds', {instant})"
        end = f"{start} + interval '1 millisecond'"
        me = f"$1::text::{tokens.columns['id'].type}"
        typed = "($2::text IS NULL OR true) AND ($3::text IS NULL OR true)"
        where = f"{typed} AND t.revoked_at >= {start} AND t.revoked_at < {end} AND t.id <> {me}"
        if not whole:
            where += f" AND {self._of_same_grant()}"
        count = f"(SELECT count(*) FROM {tokens.name} AS t WHERE {where})"
        return f"SELECT {count}, sw_kin.* FROM {self._sibling('same_instant', where, 't.id')} AS sw_kin", whole

    def _near(self) -> str:
        """$1 text[]: candidates, plain and as digests."""
        shape, tokens = self.shape, self.shape.tokens
        parts = [self._exact("token", tokens, "token", "t.id")]
        if tokens.reads("refresh_token") and (tokens.indexed("refresh_token") or tokens.small):
            parts.append(self._exact("refresh_token", tokens, "refresh_token", "t.id"))
        if tokens.reads("previous_refresh_token") and tokens.small:
            parts.append(self._exact("refresh_token", tokens, "previous_refresh_token", "t.id"))
        if shape.grants.reads("token") and shape.grants.reads("id") and (shape.grants.indexed("token") or shape.grants.small):
            parts.append(self._exact("grant", shape.grants, "token", "t.id"))
        if shape.applications.reads("secret") and shape.applications.small:
            parts.append(self._exact("application_secret", shape.applications, "secret", "t.id"))
        return " UNION ALL ".join(parts)

    def _exact(self, label: str, table: Table, column: str, key: str) -> str:
        kind = table.columns[column].type
        tenant = _text(table, "t", "name") if table is self.shape.applications else "NULL::text"
        return (
            f"(SELECT '{label}'::text, t.{column}::text, {key}::text, {tenant} FROM {table.name} AS t "
            f"WHERE t.{column} = ANY($1::text[]::{kind}[]) LIMIT {SIBLINGS})"
        )

    def _near_prefix(self) -> str:
        """$1 text, $2 the same with LIKE's own characters escaped. The index is walked from the value on, which finds what
        begins with it in any sane collation; a small table is read through for what holds it and for other case as well, and
        for a token of which it is the digest."""
        tokens = self.shape.tokens
        value = f"$1::text::{tokens.columns['token'].type}"
        select = (
            f"SELECT 'token'::text, t.token::text, t.id::text, NULL::text FROM {tokens.name} AS t "
            "WHERE ($2::text IS NULL OR true)"
        )
        parts = [f"({select} AND t.token >= {value} ORDER BY t.token LIMIT {SIBLINGS})"] if tokens.indexed("token") else []
        if tokens.small:
            parts += [_within(tokens, column) for column in ("token", "refresh_token") if tokens.reads(column)]
            digest = "encode(sha256(convert_to(t.token::text, 'UTF8')), 'hex') = $1::text"
            parts.append(
                f"(SELECT 'digest'::text, t.token::text, t.id::text, NULL::text FROM {tokens.name} AS t "
                f"WHERE length($1::text) = 64 AND {digest} LIMIT {SIBLINGS})"
            )
        return " UNION ALL ".join(parts)


def _within(tokens: Table, column: str) -> str:
    """Rows whose secret holds the text, or is the text in another case."""
    found = f"t.{column}::text LIKE '%' || $2::text || '%' OR lower(t.{column}::text) = lower($1::text)"
    return (
        f"(SELECT '{column}'::text, t.{column}::text, t.id::text, NULL::text FROM {tokens.name} AS t "
        f"WHERE {found} LIMIT {SIBLINGS})"
    )


def _text(table: Table, alias: str, column: str) -> str:
    return f"{alias}.{column}::text" if table.reads(column) else "NULL::text"


def _asks_elsewhere(options: Options) -> bool:
    """Whether the vendor's own SQL may read tables whose changes no version of ours shows."""
    own = f"{options.owner.active} {options.owner.tenant}".lower() if options.owner else ""
    return options.tenant_from is TenantFrom.QUERY or any(word in own for word in ("(", "current_", "local"))
