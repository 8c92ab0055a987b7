"""Real servers for every test that asks for one. A server is shared by the tests of one worker unless its name says `own`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.scenarios.table import pytest_terminal_summary
from tests.servers.mariadb import MariadbServer, mariadb_server
from tests.servers.postgres import Installation, PostgresServer, installation
from tests.servers.valkey import Engine, EngineName, StoreServer, engine

if TYPE_CHECKING:
    from tests.servers.collector import Collector

__all__ = ["pytest_terminal_summary"]  # a hook, which is found here only

# The tests are for the sources; .ci/run sets it to 0 and runs those of the road against the compiled wheel too.
os.environ.setdefault("SCIM_WITNESS_PURE", "1")
assert "proxy" not in sys.modules, "imported before this line, it may have taken what is compiled"

# A busy machine draws slowly, and no test asserts on wall time. The same examples each time, so that a red run is red again;
# `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """structlog's settings belong to the process: a program of one test must not decide what the next one's log shows."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_installation() -> Iterator[Installation]:
    """PostgreSQL's binaries and an initialised data directory."""
    with installation() as ready:
        yield ready


@pytest.fixture(scope="session")
def postgres(postgres_installation: Installation) -> Iterator[PostgresServer]:
    """A running PostgreSQL. Do not stop, kill or freeze it: that is what `own_postgres` is for."""
    with postgres_installation.server() as server:
        yield server


@pytest.fixture
def own_postgres(postgres_installation: Installation) -> Iterator[PostgresServer]:
    """A running PostgreSQL for this test alone."""
    with postgres_installation.server() as server:
        yield server


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """The DSN of a fresh, empty database, as its owner."""
    name = await postgres.create_database()
    yield postgres.dsn(name)
    await postgres.drop_database(name)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """A running MariaDB, for tests marked `mariadb`. Do not stop, kill or freeze it: `own_mariadb` is for that."""
    with mariadb_server() as server:
        yield server


@pytest.fixture
def own_mariadb() -> Iterator[MariadbServer]:
    """A running MariaDB for this test alone."""
    with mariadb_server() as server:
        yield server


@pytest.fixture
async def mariadb_database(mariadb: MariadbServer) -> AsyncIterator[str]:
    """The DSN of a fresh, empty MariaDB database."""
    name = await mariadb.create_database()
    yield mariadb.dsn(name)
    await mariadb.drop_database(name)


@pytest.fixture(scope="session", params=["bundled", pytest.param("debian", marks=pytest.mark.redis_server)])
def store_engine(request: pytest.FixtureRequest) -> Engine:
    """The program behind the store; a test that asks for any store runs once with each."""
    name: EngineName = request.param
    return engine(name)


@pytest.fixture(scope="session")
def _shared_store(store_engine: Engine) -> Iterator[StoreServer]:
    with store_engine.server(tcp=True) as server:
        yield server


@pytest.fixture
def store(_shared_store: StoreServer) -> StoreServer:
    """A running, empty store. Do not stop, kill or freeze it: that is what `own_store` is for."""
    _shared_store.flush()
    return _shared_store


@pytest.fixture
def valkey_url(store: StoreServer) -> str:
    """The URL of an empty store."""
    return store.unix_url


@pytest.fixture
def own_store(store_engine: Engine) -> Iterator[StoreServer]:
    """A running store for this test alone, on TCP and on a unix socket."""
    with store_engine.server(tcp=True) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of traces."""
    from tests.servers.collector import running

    with running() as server:
        yield server
