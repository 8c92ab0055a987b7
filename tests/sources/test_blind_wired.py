"""A table that decides, an endpoint that is compared with it, and a backend: the wired program names who was blind."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.scenarios.world import World, refused, until, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine

pytestmark = pytest.mark.slow

SOURCES: Final = """\
[[source]]
kind = "doorkeeper_postgres"
name = "table"
dsn = "@production@"
surroundings_timeout = 5
query_timeout = 5
[[source]]
kind = "introspection"
name = "endpoint"
cross_check = "table"
url = "http://127.0.0.1:{port}/introspect"
client_id = "scim-witness"
client_secret = "the-secret-of-the-client"
"""


class Endpoint:
    """Calls every token active, or with `blind` none."""

    blind = False

    async def answer(self, _: web.Request) -> web.Response:
        return web.json_response({"active": not self.blind, "client_id": "acme"})


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


@pytest.fixture
async def checked(
    tmp_path: pathlib.Path, postgres: PostgresServer, store: StoreServer
) -> AsyncIterator[tuple[World, Endpoint]]:
    endpoint, app = Endpoint(), web.Application()
    app.router.add_post("/introspect", endpoint.answer)
    server = TestServer(app)
    await server.start_server()
    store.flush()
    async with world(tmp_path, postgres, store.url) as made:
        made.also_close(server.close)
        await made.build(source=SOURCES.format(port=server.port))
        yield made, endpoint


async def cause(w: World, incident: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def surveyed() -> bool:
        shown = await w.command("incidents", "show", incident) or {}
        found.update(shown.get("cause", {}))
        return any(note["name"] == "surroundings" for note in shown.get("notes", ()))

    await until(surveyed)
    return found


async def test_the_backend_asks_the_endpoint_and_the_table_knows_better(checked: tuple[World, Endpoint]) -> None:
    w, endpoint = checked
    token = await w.customer()
    await w.works(token)
    endpoint.blind = True
    w.backend.script = refused()
    found = await cause(w, await w.fails(token))
    assert ("introspection_blind", "likely") == (found["code"], found["confidence"])


async def test_blind_all_the_time_it_is_not_why_the_backend_refuses_now(checked: tuple[World, Endpoint]) -> None:
    w, endpoint = checked
    endpoint.blind = True
    token = await w.customer()
    await w.works(token)

    async def told() -> bool:
        return "sources_disagree" in (w.directory / "proxy.log").read_text()

    await until(told)
    await w.works(token)
    w.backend.script = refused()
    found = await cause(w, await w.fails(token))
    assert "backend_disagrees" == found["code"]
