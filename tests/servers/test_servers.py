"""The servers that other tests trust: fresh for each test, reachable both ways, breakable and whole again."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions

from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_an_empty_database(database: str, attempt: int) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("CREATE TABLE mine (id bigint)")
        assert await connection.fetchval("SELECT count(*) FROM mine") == 0
    finally:
        await connection.close()


async def test_a_role_of_its_own_reaches_its_database_over_tcp_with_its_password(postgres: PostgresServer) -> None:
    role = await postgres.create_role(password="s3:cret/@")
    name = await postgres.create_database(owner=role, timezone="Pacific/Auckland")
    connection = await asyncpg.connect(postgres.dsn(name, user=role, password="s3:cret/@", tcp=True))
    try:
        assert await connection.fetchrow("SELECT current_user::text, current_setting('timezone')") == (
            role,
            "Pacific/Auckland",
        )
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn(name, user=role, password="wrong", tcp=True))
    await postgres.drop_database(name)


async def test_the_superuser_comes_in_over_tcp(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.dsn(tcp=True))
    try:
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


async def test_postgres_keeps_its_data_through_kill_and_freeze(own_postgres: PostgresServer) -> None:
    connection = await own_postgres.connect()
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    own_postgres.kill()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    own_postgres.start()

    connection = await own_postgres.connect()
    assert await connection.fetchval("SELECT n FROM kept") == 7
    own_postgres.freeze()
    asked = asyncio.create_task(connection.fetchval("SELECT n FROM kept"))
    done, _ = await asyncio.wait([asked], timeout=0.2)
    assert not done
    own_postgres.thaw()
    assert await asked == 7
    await connection.close()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_an_empty_store(valkey_url: str, attempt: int) -> None:
    async with redis.asyncio.from_url(valkey_url) as client:
        assert await client.dbsize() == 0
        await client.set("sw:mine", attempt)


async def test_a_store_keeps_its_data_through_kill_and_freeze(own_store: StoreServer) -> None:
    async with redis.asyncio.from_url(own_store.url) as client:
        await client.set("sw:kept", "7")
        own_store.kill()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("sw:kept")
        own_store.start()
        assert await client.get("sw:kept") == b"7"
    async with redis.asyncio.from_url(own_store.unix_url, socket_timeout=0.2) as client:
        own_store.freeze()
        with pytest.raises((redis.exceptions.TimeoutError, redis.exceptions.ConnectionError)):
            await client.get("sw:kept")
        own_store.thaw()
        assert await client.get("sw:kept") == b"7"


@pytest.mark.mariadb
@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_an_empty_mariadb_database(mariadb: MariadbServer, mariadb_database: str, attempt: int) -> None:
    connection = await mariadb.connect(mariadb_database.rpartition("/")[2])
    async with connection.cursor() as cursor:
        await cursor.execute("SHOW TABLES")
        assert await cursor.fetchall() == ()
        await cursor.execute("CREATE TABLE mine (id bigint)")
    connection.close()


@pytest.mark.mariadb
async def test_mariadb_keeps_its_data_through_kill_and_freeze(own_mariadb: MariadbServer) -> None:
    connection = await own_mariadb.connect("mysql")
    async with connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE kept (n int) ENGINE=InnoDB")
        await cursor.execute("INSERT INTO kept VALUES (7)")
    connection.close()
    own_mariadb.kill()
    own_mariadb.start()
    connection = await own_mariadb.connect("mysql")
    try:
        async with connection.cursor() as cursor:
            own_mariadb.freeze()
            asked = asyncio.create_task(cursor.execute("SELECT n FROM kept"))
            done, _ = await asyncio.wait([asked], timeout=0.2)
            assert not done
            own_mariadb.thaw()
            await asked
            assert await cursor.fetchall() == ((7,),)
    finally:
        connection.close()
