"""Behind a real PgBouncer in transaction mode, whose few server connections go from one client to the next."""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import socket
from collections.abc import Iterator

import asyncpg
import pytest

from proxy.core.token import Known, Unavailable, Unknown
from tests.servers.postgres import PASSWORD, SUPERUSER, PostgresServer
from tests.servers.process import ServerProcess, accepts, free_port, missing, room, unprivileged
from tests.sources.conftest import secret
from tests.sources.test_doorkeeper_faults import PATIENCE, a_token, until_known

pytestmark = pytest.mark.pgbouncer


class Bouncer(ServerProcess):
    """One PgBouncer before one server, with two server connections for everybody."""

    def __init__(self, directory: pathlib.Path, server: PostgresServer) -> None:
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            missing("Debian's pgbouncer is not installed")
        self.port = free_port()
        users, config = directory / "users.txt", directory / "pgbouncer.ini"
        users.write_text(f'"{SUPERUSER}" "{PASSWORD}"\n')
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 2\nserver_login_retry = 0.2\n"
            "query_wait_timeout = 2\nmax_client_conn = 100\n"
        )
        command = [program, str(config)]
        address = ("127.0.0.1", self.port)
        super().__init__(command, directory=directory, ready=lambda: accepts(socket.AF_INET, address), owner=unprivileged())

    @property
    def dsn(self) -> str:
        return f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"


@pytest.fixture
def bouncer(own_postgres: PostgresServer) -> Iterator[Bouncer]:
    with room(*unprivileged()) as directory:
        process = Bouncer(directory, own_postgres)
        process.start()
        yield process
        process.kill()


async def test_many_replicas_share_two_connections(own_postgres, bouncer, opened):
    await a_token(own_postgres)
    sources = [opened(bouncer.dsn, pgbouncer=True, query_timeout=5) for _ in range(8)]
    rows = await asyncio.gather(*(until_known(source, "t") for source in sources))
    async with asyncio.timeout(PATIENCE):
        for _ in range(5):
            looks = [source.read(secret(token)) for source in sources for token in ("t", "unknown", "t")]
            states = [reading.state for reading in await asyncio.gather(*looks)]
            assert [Known, Unknown, Known] * len(sources) == [type(state) for state in states]
            again = await asyncio.gather(*(source.reread([row]) for source, row in zip(sources, rows, strict=True)))
            assert [rows[0]] * len(sources) == [found[rows[0].row].state for found in again]
    around = await sources[0].surroundings(secret("Bearer t"), Unknown())
    assert around.error is None
    connection = await own_postgres.connect()
    assert await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL") <= 2
    limits = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    assert limits == [], "no transaction is left open"
    await connection.close()


async def test_nothing_of_ours_stays_in_a_session_that_the_next_client_gets(own_postgres, bouncer, opened):
    await a_token(own_postgres)
    source = opened(bouncer.dsn, pgbouncer=True)
    await until_known(source, "t")
    other = await asyncpg.connect(bouncer.dsn, statement_cache_size=0)
    settings = [await other.fetchval(f"SHOW {name}") for name in ("statement_timeout", "transaction_read_only")]
    assert ["0", "off"] == settings
    await other.close()


async def test_prepared_statements_by_mistake_are_never_a_refusal(own_postgres, bouncer, opened):
    """`statement_cache` left on: PgBouncer refuses the start-up parameters, which is said; no token is called unknown."""
    await a_token(own_postgres)
    source = opened(bouncer.dsn, pgbouncer=False)
    states = [(await source.second_look(secret("t"))).state for _ in range(5)]
    assert {type(state) for state in states} <= {Known, Unavailable}


async def test_the_server_dies_behind_it_and_comes_back(own_postgres, bouncer, opened):
    await a_token(own_postgres)
    source = opened(bouncer.dsn, pgbouncer=True, query_timeout=0.5, connect_timeout=1)
    row = await until_known(source, "t")
    own_postgres.kill()
    async with asyncio.timeout(PATIENCE):
        states = [(await source.second_look(secret("t"))).state for _ in range(8)]
        assert {Unavailable} == {type(state) for state in states}
        assert "breaker" in {state.why for state in states if isinstance(state, Unavailable)}
    own_postgres.start()
    assert await until_known(source, "t") == row


async def test_it_dies_itself_and_comes_back(own_postgres, bouncer, opened):
    await a_token(own_postgres)
    source = opened(bouncer.dsn, pgbouncer=True, query_timeout=0.5, connect_timeout=1)
    row = await until_known(source, "t")
    bouncer.kill()
    assert isinstance((await source.second_look(secret("t"))).state, Unavailable)
    bouncer.start()
    assert await until_known(source, "t") == row
