"""The audit's pass over the table, on a real MariaDB; the same as on PostgreSQL."""

from __future__ import annotations

import psutil
import pytest

from proxy.core.token import OwnerState
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.mysql_audit import MysqlTableAudit, WholeTable
from proxy.sources.doorkeeper.mysql_schema import MysqlShape, inspection, shape_from
from proxy.sources.doorkeeper.options import Options, Owner
from tests.sources.mysql_tables import MODERN, UUID_KEYS, WHOLE_SECONDS, MysqlTables

pytestmark = pytest.mark.mariadb


async def rows(audit):
    batches = [batch async for batch in audit.batches()]
    return {row.token.row: row for batch in batches for row in batch.rows}, batches


async def test_living_rows_with_kin_grant_and_owner(mysql_tables):
    application, owner = await mysql_tables.application(), await mysql_tables.owner(active=False)
    common = {"application_id": application, "resource_owner_id": owner}
    old = await mysql_tables.token("old", created_at="='2026-01-01'", **common)
    new = await mysql_tables.token("new", created_at="='2026-02-01'", expires_in=10**9, **common)
    await mysql_tables.token("dead", revoked_at="='2026-01-01'", **common)
    await mysql_tables.token("expired", created_at="='2020-01-01'", expires_in=60, **common)
    later = await mysql_tables.token("later", revoked_at="='2999-01-01'", application_id=application)
    await mysql_tables.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) "
        f"VALUES ({owner}, {application}, 'g', 1)"
    )
    audit = MysqlTableAudit(Options(mysql_tables.dsn, owner=Owner("users", active="active")), batch=2)
    found, batches = await rows(audit)
    assert {old, new, later} == set(found)
    assert [2, 2, 1] == [batch.read for batch in batches]
    assert found[old].newest_at == found[new].token.created_at == found[new].newest_at
    assert (True, True, False) == (found[old].granted, found[new].granted, found[later].granted)
    assert (OwnerState.INACTIVE, OwnerState.NONE) == (found[old].token.owner_state, found[later].token.owner_state)
    assert {"acme"} == {row.token.tenant for row in found.values()}
    assert ((), True) == (audit.flags, audit.estimate is not None)


@pytest.mark.parametrize(
    "schema", [MODERN, WHOLE_SECONDS, UUID_KEYS, MODERN.replace("varchar(255) NOT NULL DEFAULT ''", "varchar(255)")]
)
async def test_every_generation_of_the_schema(mariadb_database, schema):
    tables = await MysqlTables.create(mariadb_database, schema)
    application = await tables.application()
    row = await tables.token("t", application_id=application, created_at="='2026-02-01 10:00:00'")
    audit = MysqlTableAudit(Options(tables.dsn))
    found, _ = await rows(audit)
    tables.close()
    assert {row} == set(found)
    assert found[row].newest_at == found[row].token.created_at == 1_769_940_000.0


def test_no_secret_leaves_the_database():
    columns = ("id", "token", "created_at", "expires_in", "revoked_at", "refresh_token", "application_id", "resource_owner_id")
    records = [("tokens", name, "varchar", 1, 1, 0, 5, "utf8mb4", 6) for name in columns]
    shape: MysqlShape = shape_from([*records, *(("applications", n, "varchar", 1, 1, 0, 5, "", None) for n in ("id", "name"))],
                                   Options("mysql://x"))  # fmt: skip
    assert "sw_token.token" not in WholeTable(shape, Options("mysql://x")).whole
    assert "UNION ALL" in inspection(Options("mysql://x"))


@pytest.mark.parametrize("dsn", ["mysql://tester@127.0.0.1:1/x", "mysql://tester:maria@127.0.0.1:{port}/mysql", "nonsense"])
async def test_a_database_that_cannot_be_read_is_a_trouble(mariadb, dsn):
    with pytest.raises(Trouble):
        _ = await rows(MysqlTableAudit(Options(dsn.format(port=mariadb.port))))


async def test_memory_does_not_grow_with_the_table(mysql_tables):
    application = await mysql_tables.application()
    many = "INSERT INTO oauth_access_tokens (token, application_id, resource_owner_id, created_at, scopes) SELECT "
    await mysql_tables.execute(f"{many} CONCAT('t', seq), {application}, seq % 500, utc_timestamp(6), REPEAT('scim ', 20) "
                               "FROM seq_1_to_100000")  # fmt: skip
    process, most, read = psutil.Process(), 0, 0
    audit = MysqlTableAudit(Options(mysql_tables.dsn), batch=1_000)
    before = 0
    async for batch in audit.batches():
        read += batch.read
        before = before or process.memory_info().rss
        most = max(most, process.memory_info().rss)
    assert 100_000 == read
    assert most - before < 30 << 20, "a buffered result would be four times that"
