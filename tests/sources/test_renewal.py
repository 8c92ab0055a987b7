"""An old connection is made anew, so that a server that is no longer the one is left though it answers; none is lost by it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest

from proxy.core.token import Known
from proxy.sources.doorkeeper import mysql_connection, postgres_connection
from proxy.sources.doorkeeper.source import Doorkeeper
from tests.faults.relay import Relay
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import Tables
from tests.sources.mysql_tables import MysqlTables
from tests.sources.test_doorkeeper_faults import PATIENCE, until_known

pytestmark = pytest.mark.slow

UNHURRIED = {"query_timeout": PATIENCE, "connect_timeout": PATIENCE}
Place = tuple[Tables | MysqlTables, int]


class Moving:
    """The same token in two servers, one after the other behind one address."""

    def __init__(self, driver: ModuleType, places: list[Place], relay: Relay, dsn: str) -> None:
        self.driver = driver
        self.places = places
        self.relay = relay
        self.dsn = dsn

    async def move(self) -> None:
        """The address leads to the second server from now on, where the token was revoked; the first goes on answering."""
        await self.places[1][0].execute("UPDATE oauth_access_tokens SET revoked_at = '2026-01-01'")
        self.relay.to = self.places[1][1]


@pytest.fixture
async def on_postgres(postgres: PostgresServer, own_postgres: PostgresServer) -> AsyncIterator[Moving]:
    name = f"moving_{secrets.token_hex(4)}"
    for server in (postgres, own_postgres):
        await server._execute(f'CREATE DATABASE "{name}"')
    async with (
        tables_in(postgres.dsn(name)) as first,
        tables_in(own_postgres.dsn(name)) as second,
        Relay(postgres.port) as relay,
    ):
        for tables in (first, second):
            await tables.token("t", application_id=await tables.application())
        dsn = postgres.dsn(name, tcp=True).replace(f":{postgres.port}/", f":{relay.port}/")
        yield Moving(postgres_connection, [(first, postgres.port), (second, own_postgres.port)], relay, dsn)


@pytest.fixture
async def on_mariadb(mariadb: MariadbServer, own_mariadb: MariadbServer) -> AsyncIterator[Moving]:
    name = f"moving_{secrets.token_hex(4)}"
    places: list[Place] = []
    for server in (mariadb, own_mariadb):
        await server._execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        tables = await MysqlTables.create(server.dsn(name))
        await tables.token("t", application_id=await tables.application())
        places.append((tables, server.port))
    async with Relay(mariadb.port) as relay:
        yield Moving(mysql_connection, places, relay, mariadb.dsn(name).replace(f":{mariadb.port}/", f":{relay.port}/"))
    for place, _ in places:
        place.connection.close()


@pytest.fixture(params=["on_postgres", "on_mariadb"])
def moving(request) -> Moving:
    found: Moving = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def old(monkeypatch):
    """Makes the connections of a source as old as they may get."""

    def make(source: Doorkeeper, driver: ModuleType, wait: float = PATIENCE) -> list[Any]:
        monkeypatch.setattr(driver, "RENEW_WAIT", wait)
        database: Any = source._primary.database
        lanes = [lane for lane in (*database._lookups, database._refresh) if lane.connected]
        for lane in lanes:
            lane._renew_at = 0.0
        return lanes

    return make


async def test_a_server_that_is_no_longer_the_one_is_left_though_it_answers(moving, opened, old):
    """A primary that was demoted while it ran, as MySQL's are, or a name that leads elsewhere."""
    source = opened(moving.dsn, **UNHURRIED)
    row = await until_known(source, "t")
    assert (await source.reread([row]))[row.row].state == row
    await moving.move()
    assert (await source.second_look(secret("t"))).state == row, "the old connections are young, and serve"
    old(source, moving.driver)
    for reading in (await source.second_look(secret("t")), (await source.reread([row]))[row.row]):
        assert isinstance(reading.state, Known)
        assert reading.state.revoked_at is not None


@pytest.mark.parametrize("way", ["nobody answers there", "nobody is there"])
async def test_where_no_other_connection_is_to_be_had_the_old_one_serves_on(moving, opened, old, way):
    source = opened(moving.dsn, **UNHURRIED)
    row = await until_known(source, "t")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        moving.relay.to = silent.getsockname()[1] if way == "nobody answers there" else free_port()
        (lane,) = old(source, moving.driver, wait=0.05)
        kept = lane._connection
        for _ in range(3):
            assert (await source.second_look(secret("t"))).state == row
            assert lane._connection is kept


async def test_a_connection_that_something_on_the_way_forgot_while_it_lay_idle_costs_no_request(moving, opened, old):
    source = opened(moving.dsn, **UNHURRIED)
    row = await until_known(source, "t")
    moving.relay._dead |= moving.relay._open
    old(source, moving.driver)
    assert (await source.second_look(secret("t"))).state == row
