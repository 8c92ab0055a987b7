"""Tokens in use are read again without a connection to spare, and whatever becomes of a connection, a source or a row."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from proxy.core.token import Known, Reading, Unavailable, Unknown
from proxy.sources.doorkeeper.options import Owner, TenantFrom
from proxy.sources.first_match import FirstMatch
from proxy.sources.fresh import Fresh
from proxy.wire.outages import TOLD_EVERY, Outages
from tests.sources.conftest import secret
from tests.sources.test_doorkeeper_faults import PATIENCE
from tests.sources.test_fresh import ALIVE, Clock, Scripted, T

UNHURRIED = {"query_timeout": PATIENCE, "connect_timeout": PATIENCE}
TABLES = ("oauth_access_tokens", "oauth_applications", "oauth_access_grants", "users")


async def revoked_as_the_re_read_sees_it(source, tables) -> None:
    row = (await source.read(secret("t"))).state
    assert isinstance(row, Known)
    await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
    again = (await source.reread([row]))[row.row].state
    assert isinstance(again, Known), again
    assert again.revoked_at is not None


async def test_a_role_that_may_have_one_connection_only(postgres, tables, opened):
    await tables.token("t", application_id=await tables.application())
    role = await postgres.create_role(options="LOGIN CONNECTION LIMIT 1")
    await tables.execute(f'GRANT SELECT ON {", ".join(TABLES)} TO "{role}"')
    name = await tables.connection.fetchval("SELECT current_database()")
    await revoked_as_the_re_read_sees_it(opened(postgres.dsn(name, user=role), **UNHURRIED), tables)


async def test_a_user_of_mariadb_who_may_have_one_connection_only(mariadb, mysql_tables, opened):
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    database = await mysql_tables.execute("SELECT DATABASE()")
    await mysql_tables.execute("CREATE USER alone@'%' IDENTIFIED BY 'alone' WITH MAX_USER_CONNECTIONS 1")
    await mysql_tables.execute(f"GRANT SELECT ON {database}.* TO alone@'%'")
    await revoked_as_the_re_read_sees_it(
        opened(mariadb.dsn(database, user="alone", password="alone"), **UNHURRIED), mysql_tables
    )
    await mysql_tables.execute("DROP USER alone@'%'")


async def test_one_account_that_the_vendors_sql_cannot_take_keeps_no_other_from_being_read(tables, opened):
    application = await tables.application()
    owners = [await tables.owner(account="1") for _ in range(20)]
    names = [f"t{owner}" for owner in owners]
    for name, owner in zip(names, owners, strict=True):
        await tables.token(name, application_id=application, resource_owner_id=owner)
    source = opened(tables.dsn, owner=Owner("users", active="account::int = 1"), **UNHURRIED)
    rows = [(await source.read(secret(name))).state for name in names]
    await tables.execute("UPDATE users SET account = 'one' WHERE id = $1", owners[7])
    looks = [reading.state for reading in await asyncio.gather(*(source.read(secret(name)) for name in names))]
    assert (19, 1) == tuple(len([s for s in looks if isinstance(s, kind)]) for kind in (Known, Unavailable))
    await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
    again = [reading.state for reading in (await source.reread(rows)).values()]
    assert [Unavailable("error", "InvalidTextRepresentationError 22P02")] == [s for s in again if not isinstance(s, Known)]
    assert 19 == len([s for s in again if isinstance(s, Known) and s.revoked_at is not None])


async def test_the_same_in_mariadb(mysql_tables, opened):
    application = await mysql_tables.application()
    owners = [await mysql_tables.owner(account=str(number)) for number in range(20)]
    names = [f"t{owner}" for owner in owners]
    for name, owner in zip(names, owners, strict=True):
        await mysql_tables.token(name, application_id=application, resource_owner_id=owner)
    source = opened(
        mysql_tables.dsn,
        owner=Owner("users", tenant="(SELECT x.email FROM users AS x WHERE x.account = sw_account.account)"),
        tenant_from=TenantFrom.OWNER,
        **UNHURRIED,
    )
    rows = [(await source.read(secret(name))).state for name in names]
    await mysql_tables.owner(account="7")
    await mysql_tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
    again = [reading.state for reading in (await source.reread(rows)).values()]
    assert [Unavailable("error", "OperationalError 1242")] == [s for s in again if not isinstance(s, Known)]
    assert 19 == len([s for s in again if isinstance(s, Known) and s.revoked_at is not None])


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_connection_that_is_never_made_is_not_waited_for_longer_than_a_query(opened, scheme):
    """As behind a firewall that drops what it does not like."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        source = opened(f"{scheme}://u:p@127.0.0.1:{port}/d", query_timeout=0.1, connect_timeout=10 * PATIENCE)
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                assert (await source.reread([ALIVE]))[ALIVE.row].state == Unavailable(
                    "starting", "no connection to the database yet"
                )


async def test_one_source_does_not_wait_for_another_one_that_does_not_answer():
    clock = Clock()
    first, second = Scripted(clock), Scripted(clock)
    first.name, second.name = "first", "second"
    first.gate.clear()
    whole = FirstMatch([first, second])
    rows = [Known(row=f"{name}:1", tenant="a", created_at=0.0) for name in ("first", "second")]
    async with asyncio.timeout(PATIENCE):
        again = asyncio.create_task(whole.reread(rows))
        while not second.calls:
            await asyncio.sleep(0)
        first.gate.set()
        assert {"first:1": Unknown(), "second:1": Unknown()} == {key: reading.state for key, reading in (await again).items()}


async def test_that_it_does_not_go_on_is_told_once_a_minute_though_look_ups_are_answered(tasks):
    clock = Clock()
    source = Scripted(clock)
    source.rows[T.fingerprint] = ALIVE
    fresh, outages = Fresh(source, tasks, monotonic=clock), Outages(clock)
    await fresh.read(T)
    source.down = True
    with capture_logs() as events:
        for _ in range(3):
            await fresh.refresh()
            for reading in fresh.take_silent().values():
                outages.not_read_again(reading)
            outages.saw(Reading(Unknown(), source.name, "primary", 1.0))
        clock.mono += TOLD_EVERY
        await fresh.refresh()
        for reading in fresh.take_silent().values():
            outages.not_read_again(reading)
    assert [("tokens_not_read_again", "scripted", "refused")] * 2 == [(e["event"], e["source"], e["why"]) for e in events]
