# ruff: noqa: S608 - the one identifier is quoted
"""What `scim-witness doctor` finds out about a PostgreSQL server with Doorkeeper's tables. Counts and names only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from proxy.core.finding import Finding, Level
from proxy.sources.doorkeeper import check
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.schema import SchemaChanged, Shape

LAG_TOLERANCE: Final = 5.0
"""Seconds a replica may be behind: the second look hides it from clients, but every new token costs one."""

_GRANTS: Final = "give the role the grants of docs/doorkeeper-postgres.md, and check schema and table names"

Fetch = Callable[..., Awaitable[Sequence[Any]]]

_SESSION: Final = """
SELECT extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery(),
       extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), current_setting('server_version'),
       pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn()
"""


async def findings(
    via: str, options: Options, fetch: Fetch, shape: Callable[[], Awaitable[Shape]], wall: Callable[[], float]
) -> list[Finding]:
    """Return what is the case with one server. Never raises for the server's own trouble."""
    found: list[Finding] = []
    try:
        found.extend(await _session(via, fetch, wall))
        tables = await shape()
        found.extend(_schema(via, tables, options))
        found.extend(await _role(via, fetch, tables))
        found.extend(await _hashing(via, options, fetch, tables))
    except SchemaChanged as changed:
        found.append(Finding(Level.FAULT, f"{via}: {changed.trouble.detail}", "check table names and grants"))
    except Trouble as trouble:
        found.append(Finding(Level.FAULT, f"{via}: {trouble.why}: {trouble.detail}", check.fix_of(trouble, _GRANTS)))
    return found


async def _session(via: str, fetch: Fetch, wall: Callable[[], float]) -> list[Finding]:
    before = wall()
    clock, standby, lag, superuser, version, caught_up = (await fetch(_SESSION))[0]
    offset = clock - (before + wall()) / 2
    found = [Finding(Level.OK, f"{via}: PostgreSQL {version} answers"), check.of_clock(via, offset)]
    if standby and not caught_up and lag is not None and lag > LAG_TOLERANCE:
        found.append(Finding(Level.WARNING, f"{via}: it is {lag:.0f} s behind its primary", "see pg_stat_replication"))
    if standby and via == "primary":
        found.append(Finding(Level.FAULT, "primary: it is a standby", "set the primary's DSN: a refusal rests on it"))
    if superuser:
        found.append(Finding(Level.WARNING, f"{via}: the role is a superuser", "use a role that may only SELECT"))
    return found


def _schema(via: str, shape: Shape, options: Options) -> list[Finding]:
    found = check.of_schema(via, shape, options.owner)
    if not shape.versioned:
        found.append(Finding(
            Level.WARNING,
            f"{via}: row versions cannot be read: every active token's row is sent each second",
            "GRANT SELECT on the tables as a whole, or on xmin, if that load matters",
        ))  # fmt: skip
    return found


async def _role(via: str, fetch: Fetch, shape: Shape) -> list[Finding]:
    names = [table.name for table in (shape.tokens, shape.applications, shape.grants, shape.owner) if table and table.columns]
    records = await fetch(
        "SELECT k.name FROM unnest($1::text[]) AS k(name) WHERE has_table_privilege(to_regclass(k.name)::oid, "
        "'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(to_regclass(k.name)::oid, 'INSERT, UPDATE')",
        names,
    )
    if records:
        tables = ", ".join(record[0] for record in records)
        return [Finding(Level.WARNING, f"{via}: the role may write to {tables}", "REVOKE all but SELECT")]
    return [Finding(Level.OK, f"{via}: the role may only read")]


async def _hashing(via: str, options: Options, fetch: Fetch, shape: Shape) -> list[Finding]:
    total, digests = (await fetch(
        "SELECT count(*)::int8, count(*) FILTER (WHERE s.token ~ '^[0-9a-f]{64}$')::int8 FROM "
        f"(SELECT t.token::text FROM {shape.tokens.name} AS t ORDER BY t.id DESC LIMIT {check.SAMPLE}) AS s(token)"
    ))[0]  # fmt: skip
    return [check.of_hashing(via, options.hashing, shape.tokens.name, total, digests)]
