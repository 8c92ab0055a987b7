# ruff: noqa: S608 - identifiers are quoted, expressions are the operator's, values are hex literals
"""The queries for MySQL and MariaDB, written for one shape of the schema. Pure text; every value is a hex literal.

A DATETIME has no zone and Rails writes UTC into it; a TIMESTAMP is shown in the session's zone, which is set to UTC. Times come
as whole microseconds since the epoch, so no zone, and no driver's date type, has a say. Collations compare without case and
without trailing spaces as a rule: what an index finds by them is compared once more as bytes in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.core.token import Known
from proxy.sources.doorkeeper.mysql_schema import MysqlShape, literal, quoted
from proxy.sources.doorkeeper.options import Options, TenantFrom, tenant_subquery
from proxy.sources.doorkeeper.schema import CODE_AFTER, CODE_BEFORE, Table

SIBLINGS: Final = 8
"""Rows per relation: a person reads no more, and the newest ones tell what happened."""

DIGEST: Final = 64
"""Digits of a SHA-256."""

_LIMITED: Final = re.compile(r"\blimit\b", re.IGNORECASE)


def micros(expression: str) -> str:
    """Microseconds since the epoch of a DATETIME expression; NULL for NULL and for a zero date, which Rails reads as nil."""
    return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {expression})"


CLOCK: Final = f"(SELECT {micros('UTC_TIMESTAMP(6)')} AS sw_now) AS sw_clock"


class Statements:
    """All queries for one shape."""

    def __init__(self, shape: MysqlShape, options: Options) -> None:
        self.mysql = shape
        self.shape = shape.shape
        self._options = options
        self._select = f"SELECT {self._facts()} FROM {self.shape.tokens.name} AS sw_token {self._joins()}"
        self.same_instant_whole = self.shape.tokens.small or self.shape.tokens.indexed("revoked_at")

    def by_forms(self, forms: Sequence[str]) -> str:
        """Rows whose token equals a form by the column's collation, behind the clock; one record of the clock alone if none."""
        return self._with_clock(f"sw_token.token IN ({_listed(forms)})")

    def by_keys(self, keys: Sequence[int | str]) -> str:
        """Rows with these primary keys, behind the clock."""
        listed = ", ".join(str(int(key)) for key in keys) if self.shape.numbered else _listed(map(str, keys))
        return self._with_clock(f"sw_token.id IN ({listed})")

    def _with_clock(self, condition: str) -> str:
        return f"SELECT sw_clock.sw_now, sw_row.* FROM {CLOCK} LEFT JOIN ({self._select} WHERE {condition}) AS sw_row ON 1 = 1"

    def _key(self, alias: str) -> str:
        return f"{alias}.id" if self.shape.numbered else f"CAST({alias}.id AS CHAR)"

    def _facts(self) -> str:
        tokens = self.shape.tokens
        found, active = self._owner()
        return ", ".join((
            f"{self._key('sw_token')} AS sw_id",
            "CAST(sw_token.token AS CHAR) AS sw_token_text",
            f"{micros('sw_token.created_at')} AS sw_created",
            "sw_token.expires_in AS sw_expires",
            f"{micros('sw_token.revoked_at')} AS sw_revoked",
            f"{_text(tokens, 'sw_token', 'scopes')} AS sw_scopes",
            f"{_text(tokens, 'sw_token', 'application_id')} AS sw_application_key",
            f"{_text(self.shape.applications, 'sw_application', 'name')} AS sw_application_name",
            f"{_text(tokens, 'sw_token', 'resource_owner_id')} AS sw_owner_key",
            f"{found} AS sw_found",
            f"{active} AS sw_active",
            f"CAST({self._tenant()} AS CHAR) AS sw_tenant",
            f"{self._refreshable('sw_token')} AS sw_refreshable",
            f"{self._unused('sw_token')} AS sw_unused",
        ))  # fmt: skip

    def _joins(self) -> str:
        if not self._joins_applications():
            return ""
        return f"LEFT JOIN {self.shape.applications.name} AS sw_application ON sw_application.id = sw_token.application_id"

    def _joins_applications(self) -> bool:
        return self.shape.applications.reads("id") and self.shape.tokens.reads("application_id")

    def _owner(self) -> tuple[str, str]:
        """Whether there is an owner and whether it is active: subqueries, in which a vendor's expression sees the owner's
        columns first."""
        if self.shape.owner is None or self._options.owner is None:
            return "NULL", "NULL"
        found = f"EXISTS ({self._of_owner('1')})"
        if self._of_type():
            found = f"CASE WHEN true{self._of_type()} THEN {found} END"
        return found, f"({self._of_owner(f'({self._options.owner.active or 1})')} LIMIT 1)"

    def _of_type(self) -> str:
        """That the owner is one of those in the configured table, where another type's may have the same number."""
        owner = self._options.owner
        return f" AND sw_token.resource_owner_type = {literal(owner.type)}" if owner is not None and owner.type else ""

    def _of_owner(self, expression: str) -> str:
        owner, table = self._options.owner, self.shape.owner
        if owner is None or table is None:
            return "SELECT NULL"
        mine = f"sw_account.{quoted(owner.key)} = sw_token.resource_owner_id{self._of_type()}"
        return f"SELECT {expression} FROM {table.name} AS sw_account WHERE {mine}"

    def _tenant(self) -> str:
        owner = self._options.owner
        match self._options.tenant_from:
            case TenantFrom.APPLICATION_NAME:
                return _text(self.shape.applications, "sw_application", "name")
            case TenantFrom.APPLICATION_UID:
                return _text(self.shape.applications, "sw_application", "uid")
            case TenantFrom.APPLICATION_ID:
                return _text(self.shape.tokens, "sw_token", "application_id")
            case TenantFrom.OWNER:
                named = (owner.tenant or f"sw_account.{quoted(owner.key)}") if owner is not None else "NULL"
                return f"({self._of_owner(named)} LIMIT 1)"
            case TenantFrom.QUERY:
                query = tenant_subquery(self._options.tenant_query, "sw_token.id")
                # one row too many would fail the query of everybody
                return f"({query})" if _LIMITED.search(query) else f"({query} LIMIT 1)"

    def _refreshable(self, alias: str) -> str:
        tokens = self.shape.tokens
        if tokens.reads("refresh_token"):
            return f"(COALESCE({alias}.refresh_token, '') <> '')"
        return "NULL" if "refresh_token" in tokens.columns else "0"

    def _unused(self, alias: str) -> str:
        if self.shape.tokens.reads("previous_refresh_token"):
            return f"(COALESCE({alias}.previous_refresh_token, '') <> '')"
        return "0"

    def _sibling(self, relation: str, condition: str, order: str) -> str:
        tokens, tenant, join = self.shape.tokens, "NULL", ""
        column = {TenantFrom.APPLICATION_NAME: "name", TenantFrom.APPLICATION_UID: "uid"}.get(self._options.tenant_from)
        if column is not None and self._joins_applications():
            tenant = _text(self.shape.applications, "sw_application", column)
            join = f"LEFT JOIN {self.shape.applications.name} AS sw_application ON sw_application.id = t.application_id"
        elif self._options.tenant_from is TenantFrom.APPLICATION_ID:
            tenant = _text(tokens, "t", "application_id")
        used = f"CASE WHEN {self._unused('t')} THEN 0 END"
        return (
            f"(SELECT '{relation}', {self._key('t')}, {micros('t.created_at')}, {micros('t.revoked_at')}, t.expires_in, "
            f"{tenant}, "
            f"{_text(tokens, 't', 'application_id')}, {_text(tokens, 't', 'resource_owner_id')}, {used}, "
            f"{self._refreshable('t')}, CAST(t.token AS CHAR) "
            f"FROM {tokens.name} AS t {join} WHERE {condition} ORDER BY {order} LIMIT {SIBLINGS})"
        )

    def _of_same_grant(self, known: Known) -> str:
        tokens = self.shape.tokens
        parts = [
            f"t.{column} = {literal(value)}" if value is not None else f"t.{column} IS NULL"
            for column, value in (("application_id", known.application), ("resource_owner_id", known.owner))
            if tokens.reads(column)
        ]
        if tokens.reads("resource_owner_type"):
            mine = f"FROM {tokens.name} AS m WHERE m.id = {self._me(known)}"
            same = f"t.resource_owner_type <=> (SELECT m.resource_owner_type {mine})"
            parts.append(f"({same} OR NOT EXISTS (SELECT 1 {mine}))")
        return " AND ".join(parts) or "false"

    def _me(self, known: Known) -> str:
        return str(int(known.row)) if self.shape.numbered else literal(str(known.row))

    def kin(self, known: Known) -> str:
        """The row itself, newer and older ones of the same application and owner, and those of the same rotation."""
        tokens, me = self.shape.tokens, self._me(known)
        same = f"{self._of_same_grant(known)} AND t.id <> {me}"
        born, at = micros("t.created_at"), round(known.created_at * 1e6)
        parts = [
            self._sibling("self", f"t.id = {me}", "t.id"),
            self._sibling("newer", f"{same} AND ({born} > {at} OR ({born} = {at} AND t.id > {me}))", "t.created_at DESC"),
            self._sibling("older", f"{same} AND ({born} < {at} OR ({born} = {at} AND t.id < {me}))", "t.created_at DESC"),
        ]
        if tokens.reads("refresh_token") and tokens.reads("previous_refresh_token"):
            mine = f"FROM {tokens.name} AS m WHERE m.id = {me}"
            after = (
                f"t.previous_refresh_token <> '' AND BINARY t.previous_refresh_token = (SELECT BINARY m.refresh_token {mine})"
            )
            parts.append(self._sibling("successor", f"{same} AND {after}", "t.created_at DESC"))
            before = f"(SELECT m.previous_refresh_token {mine} AND m.previous_refresh_token <> '')"
            parts.append(self._sibling("predecessor", f"t.refresh_token = {before} AND t.id <> {me}", "t.created_at DESC"))
        return " UNION ALL ".join(parts)

    def granted(self, known: Known) -> str:
        """Whether a grant of the row's application and owner exists."""
        if not self.shape.finds_grants:
            return "SELECT NULL"
        pair = (("application_id", known.application), ("resource_owner_id", known.owner))
        where = " AND ".join(f"g.{column} = {literal(value or '')}" for column, value in pair)
        if self.shape.grants.reads("created_at"):
            epoch = "CAST('1970-01-01 00:00:00' AS DATETIME(6))"
            ends = (known.created_at - CODE_BEFORE, known.created_at + CODE_AFTER)
            span = [f"{epoch} + INTERVAL {round(at * 1e6)} MICROSECOND" for at in ends]
            where += f" AND g.created_at BETWEEN {span[0]} AND {span[1]}"
        return f"SELECT EXISTS (SELECT 1 FROM {self.shape.grants.name} AS g WHERE {where})"

    def same_instant(self, known: Known) -> str:
        """How many rows were revoked in the same millisecond (in the same second, where the column has no fraction), and some
        of them: of all tenants where that is cheap, which the flag tells; else of the same application and owner."""
        tokens = self.shape.tokens
        unit = 1_000_000 if self.mysql.seconds_only else 1_000
        start = round((known.revoked_at or 0.0) * 1e6) // unit * unit
        epoch = "CAST('1970-01-01 00:00:00' AS DATETIME(6))"
        span = [f"{epoch} + INTERVAL {at} MICROSECOND" for at in (start, start + unit)]
        where = f"t.revoked_at >= {span[0]} AND t.revoked_at < {span[1]} AND t.id <> {self._me(known)}"
        if not self.same_instant_whole:
            where += f" AND {self._of_same_grant(known)}"
        count = f"(SELECT COUNT(*) FROM {tokens.name} AS t WHERE {where})"
        return f"SELECT {count}, sw_kin.* FROM ({self._sibling('same_instant', where, 't.id')}) AS sw_kin"

    def near(self, candidates: Sequence[str]) -> str:
        """Rows of any secret column that equal a candidate by the column's collation."""
        shape, tokens, values = self.shape, self.shape.tokens, _listed(candidates)
        parts = [_exact("token", tokens, "token", values)]
        if tokens.reads("refresh_token") and (tokens.indexed("refresh_token") or tokens.small):
            parts.append(_exact("refresh_token", tokens, "refresh_token", values))
        if tokens.reads("previous_refresh_token") and tokens.small:
            parts.append(_exact("refresh_token", tokens, "previous_refresh_token", values))
        if shape.grants.reads("token") and shape.grants.reads("id") and (shape.grants.indexed("token") or shape.grants.small):
            parts.append(_exact("grant", shape.grants, "token", values))
        if shape.applications.reads("secret") and shape.applications.reads("name") and shape.applications.small:
            parts.append(_exact("application_secret", shape.applications, "secret", values, "CAST(t.name AS CHAR)"))
        return " UNION ALL ".join(parts)

    def near_prefix(self, prefix: str) -> str | None:
        """Tokens that begin with a text by the index; in a small table those that hold it, or of which it is the digest."""
        tokens = self.shape.tokens
        select = f"SELECT 'token', CAST(t.token AS CHAR), CAST(t.id AS CHAR), NULL FROM {tokens.name} AS t"
        escaped = prefix.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        parts = [f"({select} WHERE t.token LIKE {literal(escaped + '%')} ESCAPE '!' LIMIT {SIBLINGS})"]
        if tokens.small:
            parts += [
                f"(SELECT '{column}', CAST(t.{column} AS CHAR), CAST(t.id AS CHAR), NULL FROM {tokens.name} AS t "
                f"WHERE t.{column} LIKE {literal('%' + escaped + '%')} ESCAPE '!' LIMIT {SIBLINGS})"
                for column in ("token", "refresh_token")
                if tokens.reads(column)
            ]
            if len(prefix) == DIGEST:
                parts.append(
                    f"(SELECT 'digest', CAST(t.token AS CHAR), CAST(t.id AS CHAR), NULL FROM {tokens.name} AS t "
                    f"WHERE SHA2(t.token, 256) = {literal(prefix)} LIMIT {SIBLINGS})"
                )
        elif not tokens.indexed("token"):
            return None
        return " UNION ALL ".join(parts)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(literal, values))


def _exact(label: str, table: Table, column: str, values: str, tenant: str = "NULL") -> str:
    return (
        f"(SELECT '{label}', CAST(t.{column} AS CHAR), CAST(t.id AS CHAR), {tenant} FROM {table.name} AS t "
        f"WHERE t.{column} IN ({values}) LIMIT {SIBLINGS})"
    )


def _text(table: Table, alias: str, column: str) -> str:
    return f"CAST({alias}.{column} AS CHAR)" if table.reads(column) else "NULL"
