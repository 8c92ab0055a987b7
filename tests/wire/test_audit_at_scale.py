"""`scim-witness audit` over a table as large as anybody has: rows and findings by the million, a process that does not grow."""

from __future__ import annotations

import pathlib
import time
from typing import Final

import asyncpg
import msgspec
import psutil
import pytest

from proxy.core.audit import DAY, KEPT, Code, Rules, Tally
from proxy.settings import load
from proxy.sources.doorkeeper.audit import BATCH
from proxy.wire.auditing import audit
from tests.sources.doorkeeper_tables import MODERN

WARM: Final = 20 * BATCH
"""Rows after which every buffer has been filled once: what grows from there on grows with the table."""
FLAT: Final = 8 << 20
"""Octets that an allocator may move by without holding anything."""

# Of ten rows six are dead: three revoked, three expired. Of the rest one expires within days, one is of an account that is off.
ROWS: Final = """
INSERT INTO oauth_access_tokens (application_id, resource_owner_id, token, created_at, expires_in, revoked_at, scopes)
SELECT 1 + n % 10000, CASE WHEN n % 10 = 8 THEN 1 ELSE 100 + n END, 'token-' || n, now() - interval '90 days',
  CASE WHEN n % 10 IN (3, 4, 5) THEN 3600 WHEN n % 10 = 6 THEN 93 * 86400 END,
  CASE WHEN n % 10 < 3 THEN now() - interval '1 day' END, 'scim'
FROM generate_series(1, {count}) AS n
"""


class Measured(msgspec.Struct):
    """`grown` is by how many octets the process was larger at its largest than after WARM rows."""

    tally: Tally
    seconds: float
    grown: int


async def _filled(dsn: str, count: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(MODERN)
    for (index,) in await connection.fetch(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'oauth_access_tokens' AND indexname NOT LIKE '%_pkey'"
    ):
        await connection.execute(f"DROP INDEX {index}")
    await connection.execute(
        "INSERT INTO oauth_applications (name, uid, secret) "
        "SELECT 'tenant-' || n, 'uid-' || n, 's' FROM generate_series(1, 10000) AS n"
    )
    await connection.execute("INSERT INTO users (id, active) VALUES (1, false)")
    await connection.execute("INSERT INTO users (id, active) SELECT 100 + n, true FROM generate_series(1, $1::bigint) n", count)
    await connection.execute(ROWS.format(count=count), timeout=900)
    await connection.execute("ANALYZE oauth_access_tokens", timeout=900)
    await connection.close()


async def _measured(dsn: str, directory: pathlib.Path, count: int) -> Measured:
    await _filled(dsn, count)
    path = directory / "proxy.toml"
    path.write_text(
        f'state_dir = "{directory}/state"\n[upstream]\nurl = "http://127.0.0.1:9"\n'
        f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{dsn}"\n[source.owner]\ntable = "users"\nactive_column = "active"\n'
    )
    settings, tally, process = load(path, {}), Tally(), psutil.Process()
    warm, grown, began = 0, 0, time.perf_counter()
    async for progress in audit(settings, [], tally, time.time(), Rules(within=30 * DAY)):
        size = process.memory_info().rss
        warm = max(warm, size) if progress.rows <= WARM else warm
        grown = max(grown, size - warm)
    return Measured(tally, time.perf_counter() - began, grown)


def _right(measured: Measured, count: int) -> None:
    tally = measured.tally
    print(f"\n{count} rows in {measured.seconds:.1f} s: {count / measured.seconds:.0f} rows/s, +{measured.grown >> 10} KiB")
    assert count == tally.rows
    assert count // 10 == tally.counts[Code.EXPIRING] == tally.counts[Code.OWNER_INACTIVE]
    assert KEPT == len([finding for finding in tally.findings() if finding.code is Code.EXPIRING])
    assert measured.grown < FLAT


async def test_a_process_does_not_grow_with_the_table(database: str, tmp_path: pathlib.Path) -> None:
    _right(await _measured(database, tmp_path, 200_000), 200_000)


@pytest.mark.bench  # minutes, and 3 GB of disk
@pytest.mark.timeout(1800)
async def test_nor_with_ten_million_rows(database: str, tmp_path: pathlib.Path) -> None:
    _right(await _measured(database, tmp_path, 10_000_000), 10_000_000)
