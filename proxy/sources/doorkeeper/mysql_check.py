# ruff: noqa: S608 - the one identifier is quoted
"""What `scim-witness doctor` finds out about a MySQL or MariaDB server with Doorkeeper's tables. Counts and names only."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from proxy.core.finding import Finding, Level
from proxy.sources.doorkeeper import check
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.mysql_schema import MysqlShape
from proxy.sources.doorkeeper.mysql_sql import micros
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.schema import SchemaChanged

_GRANTS: Final = "give the role the grants of docs/sources.md, and check database and table names"

Fetch = Callable[[str], Awaitable[Sequence[Any]]]

_SESSION: Final = f"SELECT {micros('UTC_TIMESTAMP(6)')}, VERSION(), @@global.read_only, @@session.time_zone"
_WRITES: Final = re.compile(r"\b(ALL PRIVILEGES|INSERT|UPDATE|DELETE|DROP|CREATE|ALTER|SUPER)\b")


async def findings(
    via: str, options: Options, fetch: Fetch, shape: Callable[[], Awaitable[MysqlShape]], wall: Callable[[], float]
) -> list[Finding]:
    """Return what is the case with one server. Never raises for the server's own trouble."""
    found: list[Finding] = []
    try:
        found.extend(await _session(via, fetch, wall))
        tables = await shape()
        found.extend(check.of_schema(via, tables.shape, options.owner))
        if tables.seconds_only:
            found.append(Finding(
                Level.WARNING, f"{via}: revoked_at holds whole seconds", "datetime(6) would tell revocations of one call apart"
            ))  # fmt: skip
        found.append(await _role(via, fetch))
        found.append(await _hashing(via, options, fetch, tables))
    except SchemaChanged as changed:
        found.append(Finding(Level.FAULT, f"{via}: {changed.trouble.detail}", "check table names and grants"))
    except Trouble as trouble:
        found.append(Finding(Level.FAULT, f"{via}: {trouble.why}: {trouble.detail}", check.fix_of(trouble, _GRANTS)))
    return found


async def _session(via: str, fetch: Fetch, wall: Callable[[], float]) -> list[Finding]:
    before = wall()
    clock, version, read_only, _ = (await fetch(_SESSION))[0]
    name = "MariaDB" if "MariaDB" in version else "MySQL"
    offset = clock / 1e6 - (before + wall()) / 2
    found = [Finding(Level.OK, f"{via}: {name} {version} answers"), check.of_clock(via, offset)]
    if read_only and via == "primary":
        found.append(Finding(
            Level.WARNING, "primary: it is read_only, as replicas are", "set the primary's DSN: a refusal rests on it"
        ))  # fmt: skip
    return found


async def _role(via: str, fetch: Fetch) -> Finding:
    grants = " ".join(str(record[0]).partition(" ON ")[0] for record in await fetch("SHOW GRANTS FOR CURRENT_USER()"))
    writes = sorted(set(_WRITES.findall(grants)))
    if writes:
        return Finding(Level.WARNING, f"{via}: the role may {', '.join(writes).lower()}", "REVOKE all but SELECT")
    return Finding(Level.OK, f"{via}: the role may only read")


async def _hashing(via: str, options: Options, fetch: Fetch, tables: MysqlShape) -> Finding:
    table = tables.shape.tokens.name
    newest = f"SELECT BINARY t.token AS token FROM {table} AS t ORDER BY t.id DESC LIMIT {check.SAMPLE}"
    total, digests = (await fetch(f"SELECT COUNT(*), COALESCE(SUM(s.token RLIKE '^[0-9a-f]{{64}}$'), 0) FROM ({newest}) AS s"))[
        0
    ]
    return check.of_hashing(via, options.hashing, table, int(total), int(digests))
