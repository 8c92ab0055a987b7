"""The password of the database is changed as operators do it: another role, the file that holds the DSN, the old role gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer
from tests.sources.doorkeeper_tables import MODERN, Tables
from tests.supervise.deployment import GOOD, REVOKED, Load

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connected = await asyncpg.connect(database)
    await connected.execute(MODERN)
    tables = Tables(database, connected)
    application = await tables.application()
    await tables.token(GOOD, application_id=application)
    await tables.token(REVOKED, application_id=application, revoked_at="=now() AT TIME ZONE 'utc'")
    yield connected
    await connected.close()


async def reader(postgres: PostgresServer, connection: asyncpg.Connection[Any], password: str) -> str:
    role = await postgres.create_role("reader", password=password)
    await connection.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
    return role


@pytest.mark.parametrize("workers", [2])
async def test_a_changed_dsn_file_costs_nothing(backend, deploy, postgres, connection, workers):
    name = await connection.fetchval("SELECT current_database()")
    first = await reader(postgres, connection, "first-password")
    deployment = deploy(backend, workers=workers, watch_every=0.2)
    dsn = deployment.directory / "dsn"
    dsn.write_text(postgres.dsn(name, user=first, password="first-password", tcp=True))
    source = f'[source]\nkind = "doorkeeper_postgres"\ndsn_file = "{dsn}"\n'
    text = deployment.config.read_text()
    deployment.config.write_text(text[: text.index("[source]")] + source + text[text.index("[evidence]") :])
    await deployment.start()
    async with Load(deployment.data) as load:
        await load.more()
        dsn.write_text(postgres.dsn(name, user=first, password="a-wrong-password", tcp=True))
        refused = await deployment.event("settings_refused")
        assert "doorkeeper" in refused["why"]
        assert "password" not in refused["why"].replace("password authentication failed", "")
        await load.more()
        second = await reader(postgres, connection, "second-password")
        dsn.write_text(postgres.dsn(name, user=second, password="second-password", tcp=True))
        await deployment.event("settings_applied")
        await connection.execute(f'ALTER ROLE "{first}" NOLOGIN')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", first)
        await load.more(120)
    assert ({}, []) == (load.wrong(), load.broken)
    assert "second-password" not in deployment.log.read_text() + deployment.output()
    assert 0 == await deployment.stop()
    for role in (first, second):
        await connection.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
