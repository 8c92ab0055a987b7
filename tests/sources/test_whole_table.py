"""The audit's pass over the table, on a real PostgreSQL."""

from __future__ import annotations

import time

import psutil
import pytest

from proxy.core.token import OwnerState
from proxy.sources.doorkeeper.audit import TableAudit
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.options import Options, Owner
from tests.sources.conftest import tables_in
from tests.sources.doorkeeper_tables import NULLABLE_PREVIOUS, OLD, UUID_KEYS, WITH_TIME_ZONE


async def rows(audit):
    batches = [batch async for batch in audit.batches()]
    return {row.token.row: row for batch in batches for row in batch.rows}, batches


async def test_living_rows_with_kin_grant_and_owner(tables):
    application, owner = await tables.application(), await tables.owner(active=False)
    common = {"application_id": application, "resource_owner_id": owner}
    old = await tables.token("old", created_at="=timestamp '2026-01-01'", **common)
    new = await tables.token("new", created_at="=timestamp '2026-02-01'", expires_in=10**9, **common)
    await tables.token("dead", revoked_at="=timestamp '2026-01-01'", **common)
    await tables.token("expired", created_at="=timestamp '2020-01-01'", expires_in=60, **common)
    later = await tables.token("later", revoked_at="=timestamp '2999-01-01'", application_id=application)
    await tables.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) "
        f"VALUES ({owner}, {application}, 'g', 1)"
    )
    found, batches = await rows(TableAudit(Options(tables.dsn, owner=Owner("users", active="active"))))
    assert {old, new, later} == set(found)
    assert 5 == sum(batch.read for batch in batches)
    assert found[old].newest_at == found[new].token.created_at == found[new].newest_at
    assert (True, True, False) == (found[old].granted, found[new].granted, found[later].granted)
    assert (OwnerState.INACTIVE, OwnerState.NONE) == (found[old].token.owner_state, found[later].token.owner_state)
    assert (False, "acme") == (found[old].token.refreshable, found[old].token.tenant)


@pytest.mark.parametrize("schema", [OLD, NULLABLE_PREVIOUS, UUID_KEYS, WITH_TIME_ZONE])
async def test_every_generation_of_the_schema(database, schema):
    async with tables_in(database, schema) as tables:
        await tables.token("T", application_id=await tables.application())
        audit = TableAudit(Options(database))
        found, batches = await rows(audit)
    assert 1 == len(found)
    nullable = schema is NULLABLE_PREVIOUS
    assert (nullable, int(nullable)) == ("previous_refresh_token_nullable" in audit.flags, batches[0].previous_null)


async def test_no_secret_leaves_the_database(tables):
    await tables.token("planted-secret", application_id=await tables.application(), refresh_token="planted-refresh")
    _, batches = await rows(TableAudit(Options(tables.dsn)))
    assert "planted" not in repr(batches)


async def test_a_database_that_cannot_be_read_is_a_trouble(database):
    with pytest.raises(Trouble):
        await rows(TableAudit(Options(database)))
    with pytest.raises(Trouble):
        await rows(TableAudit(Options("postgresql://127.0.0.1:1/nothing", connect_timeout=1)))


async def passed(tables, count):
    """Rows per second over `count` rows, and by how many bytes this process grew meanwhile."""
    application = await tables.application()
    await tables.execute(
        "INSERT INTO oauth_access_tokens (application_id, resource_owner_id, token, created_at, expires_in) "
        f"SELECT {application}, n, 'token-' || n, now(), 315360000 FROM generate_series(1, {count}) AS n"
    )
    process, seen, grown = psutil.Process(), 0, 0
    before, began = process.memory_info().rss, time.perf_counter()
    async for batch in TableAudit(Options(tables.dsn)).batches():
        seen += len(batch.rows)
        grown = max(grown, process.memory_info().rss - before)
    assert count == seen
    return seen / (time.perf_counter() - began), grown


async def test_memory_does_not_grow_with_the_table(tables):
    rate, grown = await passed(tables, 100_000)
    print(f"{rate:.0f} rows/s, {grown >> 20} MiB")
    assert grown < 48 << 20


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_a_million_rows(tables):
    rate, grown = await passed(tables, 1_000_000)
    print(f"{rate:.0f} rows/s, {grown >> 20} MiB")
    assert grown < 48 << 20
