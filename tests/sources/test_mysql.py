"""What is particular to MySQL and MariaDB: zones, collations, fractions, character sets, and a server on bad days."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import secrets
import time

import pymysql
import pytest

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, OwnerState, Unavailable, Unknown
from proxy.core.verdict import Reason, decide
from proxy.sources.doorkeeper import mysql, mysql_connection
from proxy.sources.doorkeeper.batches import QUEUE_LIMIT
from proxy.sources.doorkeeper.mysql_connection import Target
from proxy.sources.doorkeeper.options import Hashing, Owner, TenantFrom
from tests.core.verdict_table import CASES, NOW
from tests.servers.mariadb import MariadbServer
from tests.sources.conftest import secret
from tests.sources.doorkeeper_tables import digest
from tests.sources.mysql_tables import LATIN, MODERN, TIMESTAMPS, UUID_KEYS, WHOLE_SECONDS, MysqlTables
from tests.sources.test_doorkeeper_faults import closes_what_comes_late

pytestmark = pytest.mark.mariadb
PATIENCE = 60.0
TOKEN = "Tk-4cLmQ8xYpRw2Nd7sVbJh5Ze9uGf3AtKoXyEiCqMn"


async def until_known(source, token: str) -> Known:
    deadline = time.monotonic() + PATIENCE
    while True:
        state = (await source.read(secret(token))).state
        if isinstance(state, Known):
            return state
        assert isinstance(state, Unavailable), "an outage must never look like an unknown token"
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.02)


def written(offset: float) -> dt.datetime:
    return (NOW + dt.timedelta(microseconds=round(offset * 1e6))).replace(tzinfo=None)


@pytest.mark.parametrize("hashing", [Hashing.PLAIN, Hashing.SHA256])
@pytest.mark.parametrize("schema", [MODERN, TIMESTAMPS], ids=["datetime", "timestamp"])
@pytest.mark.parametrize("zone", ["-05:00", "+09:00"])
async def test_verdict_by_verdict_in_any_zone(own_zone, opened, zone, schema, hashing):
    server = await own_zone(zone)
    tables = await MysqlTables.create(server.dsn(await server.create_database()), schema)
    store = digest if hashing is Hashing.SHA256 else str
    application = await tables.application()
    cases = [case for case in CASES if not any(math.isinf(at) for at in (case.created, case.revoked or 0))]  # no infinity here
    if schema is TIMESTAMPS:
        cases = [case for case in cases if written(case.created).year < 2038]
    for case in cases:
        times = {"created_at": written(case.created)}
        if case.revoked is not None:
            times["revoked_at"] = written(case.revoked)
        row = {"application_id": application, "expires_in": case.expires_in, "scopes": case.scopes}
        await tables.token(store(case.name), **row, **times)
    source = opened(tables.dsn, hashing=hashing)
    verdicts = {}
    for case in cases:
        state = (await source.read(secret(case.name))).state
        assert isinstance(state, Known)
        assert (await source.reread([state]))[state.row].state == state
        verdicts[case.name] = decide(state, NOW.timestamp(), 0.0, Policy(read_scopes=case.required), OTHER_READ).reason
    assert {case.name: case.expected for case in cases} == verdicts
    assert (await source.read(secret("nobody"))).clock_offset == pytest.approx(0, abs=5)
    tables.close()


@pytest.fixture
async def own_zone(mariadb):
    """The shared server, whose sessions begin in a zone."""

    async def in_zone(zone: str):
        await mariadb._execute(f"SET GLOBAL time_zone = '{zone}'")
        return mariadb

    yield in_zone
    await mariadb._execute("SET GLOBAL time_zone = '+00:00'")


async def test_whole_seconds_are_read_and_told(mariadb_database, opened):
    tables = await MysqlTables.create(mariadb_database, WHOLE_SECONDS)
    await tables.token("t", application_id=await tables.application(), revoked_at="='2026-05-17 10:00:00'")
    source = opened(tables.dsn)
    state = await until_known(source, "t")
    assert state.revoked_at == dt.datetime(2026, 5, 17, 10, tzinfo=dt.UTC).timestamp()
    await tables.token("u", application_id=1, revoked_at="='2026-05-17 10:00:00'")
    await tables.token("v", application_id=1, revoked_at="='2026-05-17 10:00:01'")
    around = await source.surroundings(secret("t"), state)
    assert (around.same_instant_count, "revoked_at_in_seconds" in around.schema_flags) == (1, True)
    tables.close()


async def test_a_zero_date_is_none_as_for_rails(mysql_tables, opened):
    await mysql_tables.execute("SET sql_mode = ''")
    await mysql_tables.token(
        "t", application_id=await mysql_tables.application(), revoked_at="='0000-00-00 00:00:00'", expires_in=None
    )
    state = await until_known(opened(mysql_tables.dsn), "t")
    assert decide(state, NOW.timestamp(), 0.0, Policy(), OTHER_READ).reason is Reason.ACTIVE


@pytest.mark.parametrize("presented", [TOKEN.lower(), TOKEN.swapcase(), TOKEN + " ", TOKEN.replace("4c", "4ç"), TOKEN + "\0"])
async def test_a_collation_does_not_make_tokens_equal(mysql_tables, opened, presented):
    await mysql_tables.token(TOKEN, application_id=await mysql_tables.application())
    source = opened(mysql_tables.dsn)
    await until_known(source, TOKEN)
    assert (await source.read(secret(presented))).state == Unknown()
    assert (await source.second_look(secret(presented))).state == Unknown()


async def test_other_case_and_lost_ends_are_near_misses(mysql_tables, opened):
    await mysql_tables.token(TOKEN, application_id=await mysql_tables.application())
    source = opened(mysql_tables.dsn)
    for presented, change in ((TOKEN.swapcase(), "case_changed"), (TOKEN[:-3], "truncated"), (TOKEN[3:], "truncated")):
        around = await source.surroundings(secret(presented), Unknown())
        assert around.error is None
        assert [(m.change, m.fingerprint) for m in around.near_misses] == [(change, secret(TOKEN).fingerprint)]


HOSTILE = ["'", "\\", "\\'", "' OR '1'='1", "%", "_", "%s", "`", '"', "\n", "\x1a", "\U0001f600", "x" * 8_192, "; SELECT 1"]


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,PIPES_AS_CONCAT"])
async def test_no_token_is_ever_sql(mariadb, mysql_tables, opened, mode):
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    await mariadb._execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        source = opened(mysql_tables.dsn)
        await until_known(source, "t")
        for presented in HOSTILE:
            assert (await source.read(secret(presented))).state == Unknown()
            assert (await source.surroundings(secret(presented), Unknown())).error is None
    finally:
        await mariadb._execute("SET GLOBAL sql_mode = DEFAULT")


async def test_a_narrow_character_set_costs_nobody_else_an_answer(mariadb_database, opened):
    tables = await MysqlTables.create(mariadb_database, LATIN)
    await tables.token("t", application_id=await tables.application())
    source = opened(tables.dsn)
    await until_known(source, "t")
    states = await asyncio.gather(*(source.read(secret(token)) for token in ("\U0001f600", "t", "ä")))
    assert [type(reading.state) for reading in states] == [Unknown, Known, Unknown]
    tables.close()


async def test_uuid_keys_work(mariadb_database, opened):
    tables = await MysqlTables.create(mariadb_database, UUID_KEYS)
    owner = await tables.owner()
    key = await tables.token("t", application_id=await tables.application(), resource_owner_id=owner)
    source = opened(tables.dsn, owner=Owner("users", active="active"))
    state = await until_known(source, "t")
    assert (state.row, state.owner_state) == (key, OwnerState.ACTIVE)
    assert (await source.reread([state]))[key].state == state
    assert (await source.surroundings(secret("t"), state)).error is None
    tables.close()


@pytest.mark.parametrize(
    "active, state",
    [
        ("active", OwnerState.ACTIVE),
        ("deactivated_at IS NOT NULL", OwnerState.INACTIVE),
        ("account LIKE 'ac%'", OwnerState.ACTIVE),
    ],
)
async def test_owners_and_tenants_by_the_vendors_own_sql(mysql_tables, opened, active, state):
    owner = await mysql_tables.owner(account="acme-account")
    application = await mysql_tables.application()
    await mysql_tables.token("t", application_id=application, resource_owner_id=owner)
    await mysql_tables.token("orphan", application_id=application, resource_owner_id=owner + 99)
    by_owner = opened(mysql_tables.dsn, owner=Owner("users", active=active, tenant="account"), tenant_from=TenantFrom.OWNER)
    row = await until_known(by_owner, "t")
    assert (row.tenant, row.owner_state) == ("acme-account", state)
    assert (await until_known(by_owner, "orphan")).owner_state is OwnerState.DELETED
    query = "SELECT u.account FROM users u JOIN oauth_access_tokens k ON k.resource_owner_id = u.id WHERE k.id = $1"
    by_query = opened(mysql_tables.dsn, tenant_from=TenantFrom.QUERY, tenant_query=query)
    assert (await until_known(by_query, "t")).tenant == "acme-account"


async def test_polymorphic_owners_of_one_number_are_two(mysql_tables, opened):
    await mysql_tables.execute("ALTER TABLE oauth_access_tokens ADD COLUMN resource_owner_type varchar(255)")
    mine = {"application_id": await mysql_tables.application(), "resource_owner_id": await mysql_tables.owner(active=False)}
    old = await mysql_tables.token("old", **mine, created_at="='2026-05-03'", resource_owner_type="User")
    await mysql_tables.token("theirs", **mine, created_at="='2026-05-04'", resource_owner_type="Machine")
    await mysql_tables.token("new", **mine, created_at="='2026-05-05'", resource_owner_type="User")
    source = opened(mysql_tables.dsn, owner=Owner("users", active="active", type="User"))
    state = await until_known(source, "new")
    assert state.owner_state is OwnerState.INACTIVE
    assert (await until_known(source, "theirs")).owner_state is OwnerState.NOT_READ
    around = await source.surroundings(secret("new"), state)
    assert [(s.relation, s.row) for s in around.siblings] == [("older", old)]
    assert around.error is None


async def test_look_ups_walk_an_index(mysql_tables, opened):
    application = await mysql_tables.application()
    for number in range(200):
        await mysql_tables.token(f"t{number}", application_id=application)
    source = opened(mysql_tables.dsn, owner=Owner("users", active="active"))
    row = await until_known(source, "t7")
    await mysql_tables.execute("ANALYZE TABLE oauth_access_tokens")  # else the plan is made from what was counted some time ago
    statements = source._primary.database._statements[1]
    for sql in (statements.by_forms(["t7", "t8"]), statements.by_keys([row.row])):
        async with mysql_tables.connection.cursor() as cursor:
            await cursor.execute("EXPLAIN " + sql)
            plan = {line[2]: line[3] for line in await cursor.fetchall()}
        assert plan["sw_token"] in {"range", "const", "ref", "eq_ref"}, plan


async def test_a_role_that_may_only_read_and_sessions_that_cannot_write(mariadb, mysql_tables, opened):
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    database, user = mysql_tables.dsn.rpartition("/")[2], f"r_{secrets.token_hex(4)}"
    await mariadb._execute(f"CREATE USER {user} IDENTIFIED BY 'pw'")
    columns = "id, token, created_at, expires_in, revoked_at, scopes, application_id, resource_owner_id"
    await mariadb._execute(f"GRANT SELECT ({columns}) ON {database}.oauth_access_tokens TO {user}")
    source = opened(mariadb.dsn(database, user=user, password="pw"))
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert "the tenant hangs on it" in state.detail
    await mariadb._execute(f"GRANT SELECT (id, name, uid) ON {database}.oauth_applications TO {user}")
    assert (await until_known(source, "t")).refreshable is False
    found = {finding.level: finding.what for finding in await source.check()}
    assert "fault" not in found
    own = opened(mysql_tables.dsn)
    await until_known(own, "t")
    assert any("the role may" in f.what and f.level == "warning" for f in await own.check())
    connection = next(lane._connection for lane in own._primary.database._lookups if lane._connection is not None)
    cursor = await connection.cursor()
    with pytest.raises(pymysql.err.MySQLError, match="READ ONLY"):
        await cursor.execute("DELETE FROM oauth_access_tokens")


async def test_a_migration_under_our_feet_is_followed(mysql_tables, opened):
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    source = opened(mysql_tables.dsn)
    row = await until_known(source, "t")
    await mysql_tables.execute("ALTER TABLE oauth_access_tokens DROP COLUMN previous_refresh_token, MODIFY scopes text")
    assert await until_known(source, "t") == row
    assert (await source.reread([row]))[row.row].state == row
    await mysql_tables.execute("ALTER TABLE oauth_access_tokens DROP COLUMN revoked_at")
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert "revoked_at" in state.detail


async def test_many_rows_are_read_again_in_parts(mysql_tables, opened, monkeypatch):
    monkeypatch.setattr(mysql, "KEYS_AT_ONCE", 7)
    application = await mysql_tables.application()
    for number in range(20):
        await mysql_tables.token(f"t{number}", application_id=application)
    source = opened(mysql_tables.dsn)
    rows = [await until_known(source, f"t{number}") for number in range(20)]
    await mysql_tables.execute("DELETE FROM oauth_access_tokens WHERE token = 't3'")
    again = await source.reread(rows)
    assert [type(again[row.row].state) for row in rows] == [Unknown if n == 3 else Known for n in range(20)]


async def a_token(server: MariadbServer) -> str:
    dsn = server.dsn(await server.create_database())
    tables = await MysqlTables.create(dsn)
    await tables.token("t", application_id=await tables.application())
    tables.close()
    return dsn


async def test_a_killed_server_is_unavailable_and_comes_back_by_itself(own_mariadb, opened):
    source = opened(await a_token(own_mariadb))
    row = await until_known(source, "t")
    own_mariadb.kill()
    readings = [await source.read(secret("t")), await source.second_look(secret("t")), (await source.reread([row]))[row.row]]
    for reading in readings:
        assert isinstance(reading.state, Unavailable)
        assert reading.state.why in {"refused", "starting"}
    assert (await source.surroundings(secret("t"), row)).error is not None
    assert [finding.level for finding in await source.check()] == ["fault"]
    own_mariadb.start()
    assert await until_known(source, "t") == row
    own_mariadb.restart()
    assert await until_known(source, "t") == row


async def test_a_frozen_server_is_unavailable_within_the_deadline_and_comes_back(own_mariadb, opened):
    source = opened(await a_token(own_mariadb), query_timeout=0.3, connect_timeout=0.3)
    row = await until_known(source, "t")
    own_mariadb.freeze()
    async with asyncio.timeout(PATIENCE):
        readings = await asyncio.gather(*(source.read(secret(f"g{n}")) for n in range(QUEUE_LIMIT + 500)))
        again = await source.reread([row])
        around = await source.surroundings(secret("t"), row)
    own_mariadb.thaw()
    assert {type(reading.state) for reading in (*readings, again[row.row])} == {Unavailable}
    assert "overload" in {reading.state.why for reading in readings}
    assert around.error is not None
    assert await until_known(source, "t") == row


async def test_a_connection_that_is_made_while_the_source_closes_is_not_left_open(mysql_tables, opened, monkeypatch):
    await closes_what_comes_late(opened(mysql_tables.dsn), monkeypatch, mysql_connection, "open_connection")


async def test_a_slow_server_is_unavailable_and_its_statement_is_ended(mysql_tables, opened):
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    source = opened(mysql_tables.dsn, query_timeout=0.5, tenant_from=TenantFrom.QUERY, tenant_query="SELECT SLEEP(60) + $1")
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert state.why == "timeout"


@pytest.mark.parametrize(
    "why, dsn",
    [
        ("refused", "mysql://nobody:wrong@127.0.0.1:{port}/mysql"),
        ("refused", "mysql://tester:maria@127.0.0.1:{port}/no_such_database"),
        ("refused", "mysql://tester@127.0.0.1:1/mysql"),
        ("refused", "mysql://tester@no-such-host.invalid/mysql"),
        ("error", "mysql://tester@[::1/mysql"),
        ("error", "mysql://tester:maria@127.0.0.1:{port}/mysql"),
        ("error", "mysql://tester:maria@127.0.0.1:{port}/mysql?ssl_mode=sometimes"),
        ("refused", "mysql://tester:maria@127.0.0.1:{port}/mysql?ssl_mode=required"),
    ],
    ids=["password", "database", "port", "host", "syntax", "no tables", "ssl_mode", "no TLS there"],
)
async def test_whatever_is_wrong_with_the_dsn_is_unavailable_and_no_password_is_told(mariadb, opened, why, dsn):
    source = opened(dsn.format(port=mariadb.port))
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert state.why == why, state
    findings = await source.check()
    assert findings[-1].level == "fault"
    assert "wrong" not in f"{state} {findings}"


async def test_a_server_that_speaks_another_tongue_is_unavailable(opened):
    answers = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(200), b"\x05\x00\x00\x00\x0a5.5\x00", b"\xff" * 300]

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[0])
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for answer in list(answers):
        answers[0] = answer
        source = opened(f"mysql://u:p@127.0.0.1:{port}/d", connect_timeout=1)
        state = (await source.read(secret("t"))).state
        assert isinstance(state, Unavailable), answer
    server.close()
    await server.wait_closed()


async def test_long_guesses_fill_no_query_so_that_it_fails_for_everybody(own_mariadb, opened):
    """400 of 8 KB in one query would be 6 MB, and many a server takes no more than 1 or 4 at once."""
    tables = await MysqlTables.create(own_mariadb.dsn(await own_mariadb.create_database()))
    await tables.token("t", application_id=await tables.application())
    await tables.execute("SET GLOBAL max_allowed_packet = 1048576")
    source = opened(tables.dsn, query_timeout=30)
    row = await until_known(source, "t")
    looks = [source.read(secret(f"{number:04}{'x' * 8_000}")) for number in range(400)]
    *guesses, mine = [reading.state for reading in await asyncio.gather(*looks, source.read(secret("t")))]
    assert ([Unknown()] * 400, row) == (guesses, mine)
    tables.close()


async def test_a_connection_that_mysql_ended_because_it_lay_idle_costs_no_request(mariadb, mysql_tables, opened):
    """Since 8.0.24 MySQL answers the next query with error 4031 and closes; MariaDB, which is asked here, just closes."""
    await mysql_tables.token("t", application_id=await mysql_tables.application())
    words = b"\xff" + (4031).to_bytes(2, "little") + b"#HY000The client was disconnected by the server because of inactivity."
    ended = len(words).to_bytes(3, "little") + b"\x01" + words
    lay_idle: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer in lay_idle:
                clients[writer].write(ended)
                break
            writer.write(data)
        writer.close()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", mariadb.port)
        clients[to_server] = writer
        await asyncio.gather(carry(reader, to_server), carry(from_server, writer), return_exceptions=True)
        del clients[to_server]

    clients: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
    async with await asyncio.start_server(between, "127.0.0.1", 0) as server:
        source = opened(
            mysql_tables.dsn.replace(f":{mariadb.port}/", f":{server.sockets[0].getsockname()[1]}/"),
            query_timeout=30,
            connect_timeout=30,
        )
        row = await until_known(source, "t")
        lay_idle.extend(clients)
        assert (await source.second_look(secret("t"))).state == row
        await source.close()
        while clients:
            await asyncio.sleep(0.01)


def test_a_target_does_not_print_its_password():
    target = Target("mysql://u:p%40ss@db.example.com:3307/app?unix_socket=/s", 1, 1)
    assert "ss" not in repr(target).replace("class", "")
    assert {"password": "p@ss", "port": 3307, "db": "app", "unix_socket": "/s"}.items() <= target.arguments().items()


async def test_a_grant_of_the_same_application_and_owner_is_told(mysql_tables, opened):
    acme, owner = await mysql_tables.application("Acme"), await mysql_tables.owner()
    await mysql_tables.token("mine", application_id=acme, resource_owner_id=owner)
    await mysql_tables.token("another's", application_id=acme, resource_owner_id=owner + 1)
    await mysql_tables.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) VALUES ($1, $2, 'g', 600)",
        owner, acme,
    )  # fmt: skip
    source = opened(mysql_tables.dsn)
    states = {token: (await source.read(secret(token))).state for token in ("mine", "another's")}
    told = [(await source.surroundings(secret(token), state)).granted for token, state in states.items()]
    assert [True, False] == told
    await mysql_tables.execute("UPDATE oauth_access_grants SET created_at = created_at - INTERVAL 1 DAY")
    assert (await source.surroundings(secret("mine"), states["mine"])).granted is False, "of another sign-in"
