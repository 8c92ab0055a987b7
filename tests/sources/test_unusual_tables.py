"""Tables that hide rows, stand in another database, blank a token or have columns of fixed length: no refusal."""

from __future__ import annotations

import pytest

from proxy.core.finding import Level
from proxy.core.token import Known, Unavailable
from proxy.sources.doorkeeper.options import Hashing
from tests.servers.postgres import PostgresServer
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import MODERN, Tables, digest
from tests.sources.test_doorkeeper_faults import PATIENCE

UNHURRIED = {"query_timeout": PATIENCE, "connect_timeout": PATIENCE, "surroundings_timeout": PATIENCE}
TABLES = "oauth_access_tokens, oauth_applications, oauth_access_grants, users"


async def name_of(tables: Tables) -> str:
    return str(await tables.connection.fetchval("SELECT current_database()"))


async def known(source, token: str) -> Known:
    state = (await source.read(secret(token))).state
    assert isinstance(state, Known), state
    return state


@pytest.mark.parametrize("pgbouncer", [False, True])
async def test_rows_that_a_policy_hides_are_not_rows_that_are_gone(postgres: PostgresServer, tables, opened, pgbouncer):
    await tables.token("t", application_id=await tables.application())
    role = await postgres.create_role()
    await tables.execute(f'GRANT SELECT ON {TABLES} TO "{role}"')
    source = opened(postgres.dsn(await name_of(tables), user=role), pgbouncer=pgbouncer, **UNHURRIED)
    row = await known(source, "t")
    await tables.execute("ALTER TABLE oauth_access_tokens ENABLE ROW LEVEL SECURITY")
    hidden = [(await source.second_look(secret("t"))).state, (await source.reread([row]))[row.row].state]
    assert [type(state) for state in hidden] == [Unavailable] * 2
    assert all("row-level security" in state.detail for state in hidden)
    assert Level.FAULT in {finding.level for finding in await source.check()}
    await tables.execute(f'ALTER ROLE "{role}" BYPASSRLS')
    assert await known(source, "t") == row


@pytest.fixture
async def elsewhere(postgres: PostgresServer, tables):
    """A database that shows the tables of another one: postgres_fdw."""
    name = await postgres.create_database()
    connection = await postgres.connect(name)
    await connection.execute(f"""
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw
          OPTIONS (host '{postgres.directory}', port '{postgres.port}', dbname '{await name_of(tables)}');
        CREATE USER MAPPING FOR CURRENT_USER SERVER there OPTIONS (user 'postgres', password_required 'false');
        IMPORT FOREIGN SCHEMA public FROM SERVER there INTO public""")
    await connection.close()
    return postgres.dsn(name)


async def test_a_revocation_in_a_foreign_table_is_seen_by_the_re_read(tables, elsewhere, opened):
    await tables.token("t", application_id=await tables.application())
    source = opened(elsewhere, **UNHURRIED)
    row = await known(source, "t")
    await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
    again = (await source.reread([row]))[row.row].state
    assert isinstance(again, Known)
    assert again.revoked_at is not None


PARTLY_FOREIGN = """
CREATE TABLE whole (LIKE oauth_access_tokens); ALTER TABLE oauth_access_tokens INHERIT whole;
CREATE TABLE clients (LIKE oauth_applications)
"""


async def test_a_revocation_in_a_foreign_part_of_a_table_is_seen_by_the_re_read(tables, elsewhere, opened):
    await tables.token("t", application_id=await tables.application())
    async with tables_in(elsewhere, PARTLY_FOREIGN):
        source = opened(elsewhere, tokens="whole", applications="clients", **UNHURRIED)
        row = await known(source, "t")
        await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
        again = (await source.reread([row]))[row.row].state
    assert isinstance(again, Known)
    assert again.revoked_at is not None


async def test_a_token_that_a_vendor_blanks_keeps_no_other_from_being_read_again(tables, opened):
    application = await tables.application()
    for token in ("t", "u"):
        await tables.token(token, application_id=application)
    source = opened(tables.dsn, **UNHURRIED)
    blanked, other = await known(source, "t"), await known(source, "u")
    await tables.execute("ALTER TABLE oauth_access_tokens ALTER token DROP NOT NULL")
    await tables.execute("UPDATE oauth_access_tokens SET token = NULL WHERE token = 't'")
    again = await source.reread([blanked, other])
    assert {other.row: other} == {key: reading.state for key, reading in again.items()}


async def test_the_same_in_mariadb(mysql_tables, opened):
    application = await mysql_tables.application()
    keys = [await mysql_tables.token(token, application_id=application) for token in ("t", "u")]
    source = opened(mysql_tables.dsn, **UNHURRIED)
    rows = [await known(source, token) for token in ("t", "u")]
    await mysql_tables.execute("ALTER TABLE oauth_access_tokens MODIFY token varchar(255) NULL")
    await mysql_tables.execute("UPDATE oauth_access_tokens SET token = NULL WHERE token = 't'")
    again = await source.reread(rows)
    assert {keys[1]: rows[1]} == {key: reading.state for key, reading in again.items()}


async def test_columns_of_fixed_length_hold_whole_tokens_and_keys(database, opened):
    fixed = MODERN.replace("token varchar NOT NULL, refresh", "token char(80) NOT NULL, refresh").replace(
        "oauth_access_tokens (id bigserial", "oauth_access_tokens (id char(40) DEFAULT gen_random_uuid()::text"
    )
    async with tables_in(database, fixed) as tables:
        await tables.token(digest("t"), application_id=await tables.application())
        source = opened(tables.dsn, hashing=Hashing.SHA256, **UNHURRIED)
        row = await known(source, "t")
        assert (await source.reread([row]))[row.row].state == row
        assert (await source.surroundings(secret("t"), row)).error is None
