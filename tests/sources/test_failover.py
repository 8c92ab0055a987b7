"""The primary is lost and a replica takes over, by a list of hosts or behind an address that moves; lag; a locked table."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, TokenState, Unavailable, Unknown
from proxy.core.verdict import Allow, Reason, Unable
from proxy.edge.judge import Judge
from proxy.sources.fresh import Fresh
from tests.faults.relay import Relay
from tests.servers.postgres import PASSWORD, SUPERUSER, Installation, PostgresServer
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import MODERN
from tests.sources.test_doorkeeper_faults import PATIENCE, until_known

pytestmark = pytest.mark.slow


@pytest.fixture
async def pair(postgres_installation: Installation, own_postgres: PostgresServer):
    """A primary with one token, and a replica that has it too."""
    async with tables_in(own_postgres.dsn()) as tables:
        await tables.token("t", application_id=await tables.application())
    with postgres_installation.replica(own_postgres) as replica:
        await caught_up(own_postgres, replica)
        yield own_postgres, replica


async def caught_up(primary: PostgresServer, replica: PostgresServer) -> None:
    """Wait until the replica has replayed everything."""
    async with asyncio.timeout(PATIENCE):
        one, other = await primary.connect(), await replica.connect()
        place = await one.fetchval("SELECT pg_current_wal_lsn()")
        while not await other.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", place):
            await asyncio.sleep(0.02)
        await one.close()
        await other.close()


async def promote(replica: PostgresServer) -> None:
    connection = await replica.connect()
    assert await connection.fetchval("SELECT pg_promote()")
    await connection.close()


@contextlib.asynccontextmanager
async def asked_all_the_time(source, token: str) -> AsyncIterator[Callable[[], list[TokenState]]]:
    """Second looks at a token, one after the other, as refusals would make them."""
    states: list[TokenState] = []

    async def ask() -> None:
        while True:
            states.append((await source.second_look(secret(token))).state)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(ask())
    try:
        yield lambda: states
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lost_and_promoted(source, primary: PostgresServer, replica: PostgresServer, moved: Callable[[], None]) -> None:
    row = await until_known(source, "t")
    async with asked_all_the_time(source, "t") as states:
        primary.kill()
        await until(lambda: bool(states()) and isinstance(states()[-1], Unavailable))
        await promote(replica)
        moved()
        await until(lambda: states()[-1] == row)
    assert {type(state) for state in states()} <= {Known, Unavailable}, "never Unknown: that would be a 401"
    async with tables_in(replica.dsn(), "SELECT 1") as tables:
        await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
    again = (await source.reread([row]))[row.row].state
    assert isinstance(again, Known)
    assert again.revoked_at is not None, "re-reads go to the new primary as well"


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("wanted", ["read-write", "primary"])
async def test_a_list_of_hosts_is_followed_to_the_one_that_is_primary(pair, opened, wanted):
    primary, replica = pair
    hosts = f"127.0.0.1:{replica.port},127.0.0.1:{primary.port}"
    source = opened(
        f"postgresql://{SUPERUSER}:{PASSWORD}@{hosts}/postgres?target_session_attrs={wanted}",
        query_timeout=0.5,
        connect_timeout=1,
    )
    await lost_and_promoted(source, primary, replica, lambda: None)


async def test_an_address_that_moves_is_followed(pair, opened):
    """As a name in DNS or a virtual address does."""
    primary, replica = pair
    async with Relay(primary.port) as relay:
        dsn = f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{relay.port}/postgres"
        source = opened(dsn, query_timeout=0.5, connect_timeout=1)

        def moved() -> None:
            relay.to = replica.port

        await lost_and_promoted(source, primary, replica, moved)


async def test_a_replica_that_lags_is_overruled_by_the_primary(pair, opened):
    primary, replica = pair
    source = opened(primary.dsn(), replica=replica.dsn())
    row = await until_known(source, "t")
    pause = await replica.connect()
    await pause.execute("SELECT pg_wal_replay_pause()")
    async with tables_in(primary.dsn(), "SELECT 1") as tables:
        await tables.token("new", application_id=1)
        await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01' WHERE token = 't'")
    first, second = await source.read(secret("new")), await source.second_look(secret("new"))
    assert (first.state, first.via) == (Unknown(), "replica")
    assert (type(second.state), second.via) == (Known, "primary")
    stale = (await source.read(secret("t"))).state
    assert stale == row, "the replica still holds it alive"
    again = (await source.reread([row]))[row.row].state
    assert isinstance(again, Known)
    assert again.revoked_at is not None, "and the next re-read sees the revocation"
    await pause.execute("SELECT pg_wal_replay_resume()")
    await pause.close()


async def test_a_server_of_another_history_is_asked_for_every_row(postgres_installation, own_postgres, opened):
    """As after a restore, or when a promoted replica gives the numbers of lost transactions to others."""
    with postgres_installation.server() as other:
        written = []
        for server, change in ((own_postgres, "scopes = 'scim'"), (other, "revoked_at = '2026-01-01'")):
            async with tables_in(server.dsn()) as tables:
                await tables.token("t", application_id=await tables.application())
                await tables.execute(f"UPDATE oauth_access_tokens SET {change}")
                written.append(await tables.connection.fetchval("SELECT xmin::text FROM oauth_access_tokens"))
        assert written[0] == written[1]
        async with Relay(own_postgres.port) as relay:
            source = opened(
                f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{relay.port}/postgres",
                query_timeout=PATIENCE,
                connect_timeout=PATIENCE,
            )
            row = await until_known(source, "t")
            assert (await source.reread([row]))[row.row].state == row
            relay.to = other.port
            relay.reset()
            again = (await source.reread([row]))[row.row].state
            assert isinstance(again, Known)
            assert again.revoked_at is not None


async def test_what_the_primary_ended_is_not_let_in_by_a_replica_that_never_heard_of_it(pair, opened, tasks):
    """The primary dies with a revocation that it had not passed on. We had seen it: until there is a primary, that is a 503."""
    primary, replica = pair
    source = opened(primary.dsn(), replica=replica.dsn(), query_timeout=PATIENCE, connect_timeout=PATIENCE)
    await until_known(source, "t")
    ahead = 0.0
    fresh = Fresh(source, tasks, monotonic=lambda: time.monotonic() + ahead)
    judge = Judge(fresh, Policy())
    assert isinstance((await judge.from_source(secret("t"), OTHER_READ)).verdict, Allow)
    pause = await replica.connect()
    await pause.execute("SELECT pg_wal_replay_pause()")
    async with tables_in(primary.dsn(), "SELECT 1") as tables:
        await tables.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01' WHERE token = 't'")
    await fresh.refresh()
    primary.kill()
    ahead = 10.0
    assert isinstance((await source.read(secret("t"))).state, Known), "the replica answers, and holds it alive"
    assert Unable(Reason.SOURCE_UNAVAILABLE) == (await judge.from_source(secret("t"), OTHER_READ)).verdict
    await pause.close()


async def test_a_locked_table_is_a_time_out_that_the_server_ends_by_itself(own_postgres, opened):
    async with tables_in(own_postgres.dsn(), MODERN) as tables:
        await tables.token("t", application_id=await tables.application())
        source = opened(own_postgres.dsn(), query_timeout=0.5)
        row = await until_known(source, "t")
        async with tables.connection.transaction():
            await tables.execute("LOCK TABLE oauth_access_tokens IN ACCESS EXCLUSIVE MODE")
            states = [(await source.second_look(secret("t"))).state, (await source.reread([row]))[row.row].state]
            assert [type(state) for state in states] == [Unavailable] * 2
            await until_nobody_waits(tables.connection)
        assert await until_known(source, "t") == row


async def until_nobody_waits(connection: asyncpg.Connection) -> None:
    """A statement whose client has gone must not go on waiting: at the server its own limit ends it."""
    async with asyncio.timeout(PATIENCE):
        while await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scim-witness' AND state = 'active'"
        ):
            await asyncio.sleep(0.02)
            _ = await connection.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction it stays as first seen
