"""The world of a scenario."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.scenarios.world import World, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine


@pytest.fixture(scope="session")
def scenario_store() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


@pytest.fixture
async def scene(tmp_path: pathlib.Path, postgres: PostgresServer, scenario_store: StoreServer) -> AsyncIterator[World]:
    scenario_store.flush()
    async with world(tmp_path, postgres, scenario_store.url) as made:
        yield made
