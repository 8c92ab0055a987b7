"""The database is frozen, killed, absent, changed under our feet or flooded: never an exception, never an Unknown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import pytest

from proxy.core.token import Known, Unavailable, Unknown
from proxy.sources.doorkeeper import batches
from proxy.sources.doorkeeper.database import Trouble
from tests.servers.postgres import PostgresServer
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import MODERN

PATIENCE = 60.0


async def until_known(source, token: str) -> Known:
    deadline = time.monotonic() + PATIENCE
    while True:
        state = (await source.read(secret(token))).state
        if isinstance(state, Known):
            return state
        assert isinstance(state, Unavailable), "an outage must never look like an unknown token"
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.02)


async def a_token(server, schema: str = MODERN) -> None:
    async with tables_in(server.dsn(), schema) as tables:
        await tables.token("t", application_id=await tables.application())


async def test_a_killed_server_is_unavailable_and_comes_back_by_itself(own_postgres, opened):
    await a_token(own_postgres)
    source = opened(own_postgres.dsn())
    row = await until_known(source, "t")
    own_postgres.kill()
    for reading in (
        await source.read(secret("t")),
        await source.second_look(secret("t")),
        (await source.reread([row]))[row.row],
    ):
        assert isinstance(reading.state, Unavailable)
        assert reading.state.why in {"refused", "starting"}
    around = await source.surroundings(secret("t"), row)
    assert around.error is not None
    own_postgres.start()
    assert await until_known(source, "t") == row
    assert (await source.reread([row]))[row.row].state == row


async def test_a_frozen_server_is_unavailable_within_the_deadline_and_comes_back(own_postgres, opened):
    await a_token(own_postgres)
    source = opened(own_postgres.dsn(), query_timeout=0.3, connect_timeout=0.3)
    row = await until_known(source, "t")
    own_postgres.freeze()
    async with asyncio.timeout(PATIENCE):
        readings = await asyncio.gather(*(source.read(secret("t")) for _ in range(50)), source.second_look(secret("u")))
        again = await source.reread([row])
        around = await source.surroundings(secret("t"), row)
    assert {type(reading.state) for reading in (*readings, again[row.row])} == {Unavailable}
    assert around.error is not None
    own_postgres.thaw()
    assert await until_known(source, "t") == row


async def closes_what_comes_late(source, monkeypatch, module, name) -> None:
    """`module.name` opens a connection, and the source is closed before it gets it."""
    made, late, go, connect = [], asyncio.Event(), asyncio.Event(), getattr(module, name)

    async def slowly(*args, **kwargs):
        made.append(await connect(*args, **kwargs))
        late.set()
        await go.wait()
        return made[-1]

    monkeypatch.setattr(module, name, slowly)
    reading = asyncio.create_task(source.read(secret("t")))
    await late.wait()
    await source.close()
    go.set()
    assert isinstance((await reading).state, Unavailable)
    closed = getattr(made[0], "is_closed", None)
    assert closed() if closed else made[0].closed


async def test_a_restart_costs_no_request_that_comes_after_it(own_postgres, opened):
    await a_token(own_postgres)
    source = opened(own_postgres.dsn())
    row = await until_known(source, "t")
    own_postgres.restart()
    assert (await source.read(secret("t"))).state == row
    assert (await source.reread([row]))[row.row].state == row


async def test_a_connection_that_is_made_while_the_source_closes_is_not_left_open(own_postgres, opened, monkeypatch):
    await a_token(own_postgres)
    await closes_what_comes_late(opened(own_postgres.dsn()), monkeypatch, asyncpg, "connect")


async def test_no_server_at_start_is_unavailable_and_then_it_works(own_postgres, opened):
    await a_token(own_postgres)
    own_postgres.stop()
    source = opened(own_postgres.dsn())
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert state.why == "refused"
    assert [finding.level for finding in await source.check()] == ["fault"]
    own_postgres.start()
    await until_known(source, "t")


@pytest.mark.parametrize(
    "why, dsn",
    [
        ("refused", "postgresql://nobody:wrong@127.0.0.1:{port}/postgres"),
        ("refused", "postgresql://postgres:postgres@127.0.0.1:{port}/no_such_database"),
        ("refused", "postgresql://postgres@127.0.0.1:1/postgres"),
        ("refused", "postgresql://postgres@no-such-host.invalid/postgres"),
        ("error", "postgresql://postgres@[::1/postgres"),
        ("error", "postgresql://postgres:postgres@127.0.0.1:{port}/postgres"),
        ("refused", "postgresql://postgres:wrong@127.0.0.1:{port}/postgres?sslmode=require"),
        ("error", "postgresql://postgres:wrong@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert="),
        ("refused", "postgresql://postgres:postgres@127.0.0.1:{port}/postgres?pool=5"),
    ],
    ids=["password", "database", "port", "host", "syntax", "no tables", "no TLS there", "no authority", "another's option"],
)
async def test_whatever_is_wrong_with_the_dsn_is_unavailable_and_no_password_is_told(postgres, opened, why, dsn):
    source = opened(dsn.format(port=postgres.port))
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert state.why == why
    findings = await source.check()
    assert findings[-1].level == "fault"
    assert findings[-1].fix
    assert "wrong" not in f"{state} {findings}"


@pytest.mark.parametrize(
    "said, fix, option",
    [
        ("the server offers no TLS, though the DSN asks for it", "switch TLS on", "sslmode=require"),
        ("the DSN asks to verify the server's certificate", "correct what stands behind ?", "sslmode=verify-full&sslrootcert="),
        ('unrecognized configuration parameter "pool"', "correct what stands behind ?", "pool=5"),
    ],
)
async def test_doctor_is_told_which_part_of_the_dsn_is_wrong(postgres, opened, monkeypatch, tmp_path, said, fix, option):
    monkeypatch.setenv("HOME", str(tmp_path))  # where libpq looks for ~/.postgresql/root.crt
    (fault,) = await opened(f"{postgres.dsn(tcp=True)}?{option}").check()
    assert said in fault.what
    assert fault.fix.startswith(fix)


async def test_a_migration_under_our_feet_is_followed(database, opened):
    async with tables_in(database) as tables:
        await tables.token("t", application_id=await tables.application())
        source = opened(tables.dsn)
        row = await until_known(source, "t")
        await tables.execute("ALTER TABLE oauth_access_tokens DROP COLUMN previous_refresh_token, ALTER scopes TYPE text")
        assert await until_known(source, "t") == row
        assert (await source.reread([row]))[row.row].state == row
        await tables.execute("ALTER TABLE oauth_access_tokens DROP COLUMN revoked_at")
        state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert "revoked_at" in state.detail


async def test_a_table_that_may_not_be_read_is_unavailable(postgres, opened):
    name = await postgres.create_database()
    async with tables_in(postgres.dsn(name)):
        source = opened(postgres.dsn(name, user=await postgres.create_role()))
        state = (await source.read(secret("t"))).state
        assert isinstance(state, Unavailable)
        assert "cannot be read by this role" in state.detail
        await source.close()
    await postgres.drop_database(name)


def count_statements(server: PostgresServer, marker: str) -> int:
    return server.log.read_text(errors="replace").count(marker)


async def test_a_flood_of_guesses_costs_few_queries_and_one_at_a_time_per_lane(postgres_installation, opened):
    with postgres_installation.server({"log_statement": "all"}) as server:
        await a_token(server)
        source = opened(server.dsn(), query_timeout=30)
        await until_known(source, "t")
        before = count_statements(server, "sw_token.token = ANY")
        guesses = [secret(f"guess-{number}") for number in range(20_000)]
        readings = []
        for first in range(0, len(guesses), batches.QUEUE_LIMIT):
            readings += await asyncio.gather(*map(source.read, guesses[first : first + batches.QUEUE_LIMIT]))
        queries = count_statements(server, "sw_token.token = ANY") - before
    assert {type(reading.state) for reading in readings} == {Unknown}
    assert queries <= 20_000 / batches.BATCH_LIMIT + 4


async def test_more_than_may_wait_is_an_overload_and_not_a_refusal(own_postgres, opened):
    await a_token(own_postgres)
    source = opened(own_postgres.dsn(), query_timeout=0.5, connect_timeout=0.5)
    await until_known(source, "t")
    own_postgres.freeze()
    async with asyncio.timeout(PATIENCE):
        readings = await asyncio.gather(*(source.read(secret(f"g{number}")) for number in range(batches.QUEUE_LIMIT + 2_000)))
    own_postgres.thaw()
    whys = [reading.state.why for reading in readings if isinstance(reading.state, Unavailable)]
    assert len(whys) == len(readings)
    assert whys.count("overload") >= 900


async def test_the_replica_serves_reads_and_the_primary_refusals(postgres, opened):
    """Two databases play a pair with a lag: the replica lacks a new token and a revocation."""
    names = [await postgres.create_database(prefix) for prefix in ("primary", "replica")]
    async with tables_in(postgres.dsn(names[0])) as primary, tables_in(postgres.dsn(names[1])) as replica:
        for tables in (primary, replica):
            await tables.token("revoked", application_id=await tables.application())
        await primary.execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
        await primary.token("new", application_id=1)
        source = opened(primary.dsn, replica=replica.dsn)
        first, second = await source.read(secret("new")), await source.second_look(secret("new"))
        assert (first.state, first.via, type(second.state), second.via) == (Unknown(), "replica", Known, "primary")
        stale = (await source.read(secret("revoked"))).state
        assert isinstance(stale, Known)
        assert stale.revoked_at is None
        again = (await source.reread([stale]))[stale.row].state
        assert isinstance(again, Known)
        assert again.revoked_at is not None
        await replica.connection.close()
        await postgres.drop_database(names[1])
        fallen_back = await source.read(secret("new"))
        assert (type(fallen_back.state), fallen_back.via) == (Known, "primary")
        await source.close()
    await postgres.drop_database(names[0])


async def test_a_batch_that_fails_tells_everyone_who_waits_and_the_next_one_goes_on(tasks):
    asked: list[Sequence[str]] = []

    async def ask(lane: int, forms: Sequence[str]) -> list[str]:
        asked.append(forms)
        if len(asked) == 1:
            raise Trouble("timeout")
        return ["row"]

    queue = batches.Batches[list[str]](ask, 1, tasks, "test")
    first = await asyncio.gather(queue.get(["a"]), queue.get(["b"]), return_exceptions=True)
    assert [error.why for error in first if isinstance(error, Trouble)] == ["timeout", "timeout"]
    assert await queue.get(["c"]) == ["row"]
    assert asked == [["a", "b"], ["c"]]


async def test_our_statements_cannot_write(tables, opened):
    await tables.token("t", application_id=await tables.application())
    source = opened(tables.dsn)
    await until_known(source, "t")
    connection = next(lane._connection for lane in source._primary.database._lookups if lane._connection is not None)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("DELETE FROM oauth_access_tokens")
